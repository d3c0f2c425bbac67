import doctest
import io

import pytest
from rich.console import Console

from clothseg.prediction import progress
from clothseg.prediction.progress import progress_line, tracked


def test_examples_in_docstrings():
    assert doctest.testmod(progress).failed == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((1, 2, 0.5), "1 of 2 photos, 2.0 per second, 0 s left"),
        ((10, 1000, 100.0), "10 of 1000 photos, 0.1 per second, 2 h 45 min left"),
        ((999, 1000, 9.99), "999 of 1000 photos, 100.0 per second, 0 s left"),
    ],
)
def test_lines_say_rate_and_time_left(arguments, line):
    assert progress_line(*arguments) == line


class Stream(io.StringIO):
    """Text in memory that is a terminal, or is none."""

    def __init__(self, *, terminal):
        super().__init__()
        self.isatty = lambda: terminal


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
