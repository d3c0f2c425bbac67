"""A name of its own for the outputs of each photo, wherever the photos lie."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

from clothseg.prediction.segmentation import CUTOUT_ENDING, MASK_ENDING, OVERLAY_ENDING, SOFT_MASK_ENDING

# Most file systems end names at 255 bytes; the ending and a number take the rest, a class's name in it up to 35.
_LONGEST_STEM = 200

_ENDINGS = (MASK_ENDING, OVERLAY_ENDING, CUTOUT_ENDING, SOFT_MASK_ENDING)
_OUTPUT_NAME = re.compile(
    f"(?P<stem>.+)({'|'.join(re.escape(ending.format(name='NAME')) for ending in _ENDINGS)})".replace(
        "NAME", r"[\w-]+"
    ),
    re.DOTALL,
)


def unique_stems(photos: Sequence[tuple[PurePath, str]], is_forbidden: Callable[[str], bool]) -> list[str]:
    """Return the start of the outputs' names of each photo; no two are the same, also where capitals do not count.

    A photo's is its path without its ending; with it, where photos would share one; then with the folder's name
    before it; then with a number.

    Args:
        photos: of each, its path inside the folder it was found in, and that folder's name.
        is_forbidden: says of which stems the outputs would overwrite a photo.

    >>> unique_stems([(PurePath("a.jpg"), "in"), (PurePath("a.png"), "in"), (PurePath("b.png"), "in")], lambda _: False)
    ['a.jpg', 'a.png', 'b']
    """
    details = [0] * len(photos)
    for _ in range(2):  # twice: a longer name may be the shorter one of another photo
        stems = [_stem(*photo, detail) for photo, detail in zip(photos, details, strict=True)]
        shared = Counter(map(folded, stems))
        details = [
            detail + 1 if shared[folded(stem)] > 1 or is_forbidden(stem) else detail
            for stem, detail in zip(stems, details, strict=True)
        ]
    stems = [_stem(*photo, detail) for photo, detail in zip(photos, details, strict=True)]
    return _numbered(stems, is_forbidden)


def source_stem(name: str) -> str | None:
    """Return the stem of the photo of which a file with this name would be an output, or None.

    >>> source_stem("a_mask.png"), source_stem("a.png")
    ('a', None)
    """
    found = _OUTPUT_NAME.fullmatch(name)
    return found["stem"] if found else None


def folded(path: str) -> str:
    """Return `path` as a file system sees it for which A is a, and é is e with an accent."""
    return unicodedata.normalize("NFC", path).casefold()


def _stem(relative: PurePath, base_name: str, detail: int) -> str:
    """Return the name of a photo's outputs: 0 without its ending, 1 with it, 2 with the folder's name, too."""
    path = relative.with_name(relative.stem) if detail == 0 else relative
    shortened = path.with_name(_shortened(path.name))
    return (PurePath(base_name) / shortened if detail == 2 else shortened).as_posix()


def _numbered(stems: Iterable[str], is_forbidden: Callable[[str], bool]) -> list[str]:
    """Return `stems`, with a number behind each that is still taken by an earlier one or forbidden."""
    taken: set[str] = set()
    result = []
    for stem in stems:
        name, number = stem, 1
        while folded(name) in taken or is_forbidden(name):
            number += 1
            name = f"{stem}-{number}"
        taken.add(folded(name))
        result.append(name)
    return result


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_STEM:
        return name
    start = encoded[: _LONGEST_STEM - 9].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(encoded).hexdigest()[:8]}"
