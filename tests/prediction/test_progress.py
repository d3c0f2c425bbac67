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


@pytest.mark.parametrize("terminal", [True, False])
def test_items_pass_through(terminal, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    assert list(tracked(console, range(5), total=5)) == list(range(5))
    assert ("5/5" if terminal else "4 of 5 photos, ") in stream.getvalue()
    assert list(tracked(console, [7], total=1)) == [7]
