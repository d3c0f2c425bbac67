"""In a log, progress is plain lines: as long as they are, none too often, and one at the end."""

import doctest
import io
import re
import sys

from clothseg import progress


def test_examples_in_docstrings():
    assert doctest.testmod(progress).failed == 0


def test_a_log_has_few_lines_that_never_wrap(capsys, monkeypatch):
    clock = iter(range(0, 1000, 3))  # seconds: three between two looks at the clock
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setenv("COLUMNS", "20")
    title = "Painting masks of a split with a long name"
    with progress.show_step(title) as advance:
        for done in range(1, 41):
            advance(done * 100, 4000)
    with progress.show_step("Fetching a.zip", unit="bytes") as advance:
        for done in range(1, 9):
            advance(done << 20, None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 40 * 3 // 12 + 1 + 8 * 3 // 12 + 1
    assert re.fullmatch(rf"{title}: \d+ of 4000 photos, [\d.]+ per second, .* left", lines[0])
    assert re.fullmatch(rf"{title}: 4,000 photos in [\d.]+ s", lines[10])
    assert [line.split(" in ")[0] for line in lines[-2:]] == ["Fetching a.zip: 7 MB", "Fetching a.zip: 8 MB"]


def test_a_rate_counts_only_what_was_done_since():
    assert progress.progress_line(90, 100, 10.0, before=70) == "90 of 100 photos, 2.0 per second, 5 s left"
    assert progress.progress_line(5, 10, 100.0, unit="batches") == "5 of 10 batches, 20 s each, 1 min 40 s left"
    assert progress.progress_line(5, 10, 1.0, before=5) == "5 of 10 photos"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_a_bar_and_a_hidden_step_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for unit, last in (("photos", r"40/40"), ("bytes", r"40\.0/40\.0 MiB")):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        with progress.show_step("Painting masks", unit=unit) as advance:
            for done in range(1, 41):
                advance(done << 20 if unit == "bytes" else done, 40 << 20 if unit == "bytes" else 40)
        shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue())  # without colours
        assert re.search(rf"Painting masks .*{last}", shown)
    before = terminal.getvalue()
    with progress.hide_step("Painting masks") as advance:
        advance(1, 2)
    assert terminal.getvalue() == before
