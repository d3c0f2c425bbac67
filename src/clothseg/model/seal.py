"""A SHA-256 inside a checkpoint file, so that a flipped byte is noticed."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

from clothseg.errors import ModelError

_PREFIX = b"sha256:"
_SEAL_LENGTH = len(_PREFIX) + 64
_CHUNK = 1 << 20

# Source: PKWARE APPNOTE.TXT 6.3.10, section 4.3.16: the record that ends an archive, and the length of its comment.
_END_SIGNATURE = b"PK\5\6"
_END_LENGTH = 22
_LONGEST_END = _END_LENGTH + (1 << 16)


def seal(path: Path) -> None:
    """Write the SHA-256 of a file that `torch.save` wrote into the file itself.

    Such a file is a ZIP archive that ends with the length of an empty comment; the seal becomes that comment, which
    torch passes over. A seal beside the file could be of another version of it after a kill.
    Source: PKWARE APPNOTE.TXT 6.3.10, section 4.3.16, end of central directory record.

    Raises:
        ModelError: the file is not such an archive.
    """
    with path.open("r+b") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 2))
        if size < 2 or stream.read(2) != b"\0\0":
            raise ModelError(f"{path} has no place for a seal: it was not written by torch.save, or is sealed already")
        comment = _PREFIX + _digest(stream, size - 2).encode()
        stream.seek(size - 2)
        stream.write(struct.pack("<H", len(comment)) + comment)


def check_seal(path: Path) -> bool:
    """Tell whether a file carries a seal, and refuse it where the seal is broken.

    Returns:
        False for a file without a seal, about which nothing can be said.

    Raises:
        ModelError: the content is not what was sealed, or the seal itself is damaged.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        start = max(0, size - _LONGEST_END)
        stream.seek(start)
        tail = stream.read()
        record = tail.rfind(_END_SIGNATURE)
        if record < 0 or len(tail) < record + _END_LENGTH:
            return False  # no archive, or one that is cut off before the comment, as its reader notices
        comment = tail[record + _END_LENGTH :]
        length = struct.unpack_from("<H", tail, record + _END_LENGTH - 2)[0]
        sealed = start + record + _END_LENGTH - 2
        if not length and not comment:
            return False
        if length != len(comment) or comment != _PREFIX + _digest(stream, sealed).encode():
            raise ModelError(
                f"Checkpoint is damaged: {path} does not match its SHA-256. Use another copy or checkpoint"
            )
        return True


def _digest(stream: BinaryIO, size: int) -> str:
    """Return the SHA-256 of the first `size` bytes."""
    stream.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (chunk := stream.read(min(_CHUNK, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()
