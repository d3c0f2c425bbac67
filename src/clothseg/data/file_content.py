"""Whether a file that was fetched is what its name says."""

from __future__ import annotations

import os
from pathlib import Path

from clothseg.data import archive_contents

START_BYTES = 512
"""How many bytes from the start of a file `find_wrong_start` wants to see."""

_PAGE_STARTS = (b"<!doctype html", b"<html")
_BLOCK = 1 << 20


def find_wrong_start(start: bytes, name: str) -> str | None:
    """Return why a file that begins with `start` cannot be the one called `name`, or None."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(_PAGE_STARTS):
        return "it is a web page"
    if name.endswith(".zip") and not start.startswith(b"PK"):
        return f"it is no zip archive (it starts with {start[:16]!r})"
    if name.endswith(".json") and not text.startswith(b"{"):
        return f"it is no JSON object (it starts with {start[:16]!r})"
    return None


def find_defect(path: Path, name: str, *, end_to_end: bool) -> str | None:
    """Return what keeps the file at `path` from being a whole file of the kind that `name` ends in, or None.

    Args:
        path: the file.
        name: what it is or will be called; .zip and .json are looked into, anything else is taken as it is.
        end_to_end: read all of a JSON file, not only its two ends: 5 s for 500 MB. Nothing else tells a file that was
            cut off behind some inner bracket.
    """
    with path.open("rb") as stream:
        wrong_start = find_wrong_start(stream.read(START_BYTES), name)
    if wrong_start:
        return wrong_start
    if name.endswith(".zip"):
        return archive_contents.find_defect(path)
    if name.endswith(".json") and not (_ends_with_brace(path) and (not end_to_end or _brackets_close(path))):
        return "it is a JSON file without its end"
    return None


def _ends_with_brace(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-min(path.stat().st_size, START_BYTES), os.SEEK_END)
        return stream.read().rstrip().endswith(b"}")


def _brackets_close(path: Path) -> bool:
    """Count the brackets outside of strings, a block at a time; a parser would take gigabytes for the same answer."""
    depth = 0
    in_string = False
    carried = b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            block = (carried + block).replace(rb"\\", b"")
            carried = b"\\" if block.endswith(b"\\") else b""  # what it escapes is in the next block
            pieces = block.removesuffix(b"\\").replace(rb"\"", b"").split(b'"')
            outside = b"".join(pieces[in_string::2])
            in_string ^= len(pieces) % 2 == 0
            depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
    return depth == 0 and not in_string
