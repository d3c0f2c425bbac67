"""Progress is a bar on a terminal and plain lines in a log: not wrapped, none too often, and one at the end."""

import doctest
import io
import re
import sys

import pytest
from rich.console import Console

from clothseg import progress
from clothseg.progress import tracked


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


def test_a_line_has_rate_and_time_left_and_counts_only_what_was_done_since():
    assert progress.progress_line(90, 100, 10.0, before=70) == "90 of 100 photos, 2.0 per second, 5 s left"
    assert progress.progress_line(5, 10, 100.0, unit="batches") == "5 of 10 batches, 20 s each, 1 min 40 s left"
    assert progress.progress_line(5, 10, 1.0, before=5) == "5 of 10 photos"
    assert progress.progress_line(10, 1000, 100.0) == "10 of 1000 photos, 0.1 per second, 2 h 45 min left"
    assert progress.progress_line(999, 1000, 9.99) == "999 of 1000 photos, 100.0 per second, 0 s left"


class Stream(io.StringIO):
    """Text in memory that is a terminal, or is none."""

    def __init__(self, *, terminal):
        super().__init__()
        self.isatty = lambda: terminal


def test_a_terminal_has_a_bar_and_a_hidden_step_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for unit, last in (("photos", r"40/40"), ("bytes", r"40\.0/40\.0 MiB")):
        monkeypatch.setattr(sys, "stderr", terminal := Stream(terminal=True))
        with progress.show_step("Painting masks", unit=unit) as advance:
            for done in range(1, 41):
                advance(done << 20 if unit == "bytes" else done, 40 << 20 if unit == "bytes" else 40)
        shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue())  # without colours
        assert re.search(rf"Painting masks .*{last}", shown)
    before = terminal.getvalue()
    with progress.hide_step("Painting masks") as advance:
        advance(1, 2)
    assert terminal.getvalue() == before


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("variable", [None, "FORCE_COLOR", "TTY_COMPATIBLE"])
def test_items_pass_through_with_a_bar_on_a_terminal_and_lines_in_a_log(terminal, variable, monkeypatch):
    """The variables that make rich take anything for a terminal, as those of CI services do, draw no bar in a log."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    stream = Stream(terminal=terminal)
    console = Console(file=stream, highlight=False, markup=False, width=20 if not terminal else 100)
    assert list(tracked(console, range(5), total=5)) == list(range(5))
    if terminal:
        assert "5/5" in stream.getvalue()
    else:
        lines = stream.getvalue().splitlines()
        assert "\x1b" not in stream.getvalue()
        assert [line.split(", ")[0] for line in lines] == [f"{number} of 5 photos" for number in range(1, 5)]
    assert list(tracked(console, [7], total=1)) == [7]


def test_a_log_with_forced_colours_has_a_line_in_ten_seconds_at_most(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    clock = iter(range(0, 3000, 3))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    stream = Stream(terminal=False)
    assert len(list(tracked(Console(file=stream), range(100), total=100))) == 100
    assert 20 <= len(stream.getvalue().splitlines()) <= 300 / progress.LINE_EVERY
