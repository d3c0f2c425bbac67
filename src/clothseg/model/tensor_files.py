"""Files of tensors: read without running code, protected by a SHA-256, with an error for each kind of damage."""

from __future__ import annotations

import hashlib
import io
import mmap
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors

from clothseg.errors import ModelError, one_line, read_input

_ZIP_START = b"PK\x03\x04"
_PICKLE_START = b"\x80"
_CHECKSUM_START = b"sha256:"

# Source: PKWARE APPNOTE.TXT 6.3.10, section 4.3.16: the record that ends an archive, and the length of its comment.
_END_SIGNATURE = b"PK\5\6"
_END_LENGTH = 22
_LONGEST_END = _END_LENGTH + (1 << 16)


def read_tensor_file(path: Path, *, kind: str, hint: str) -> object:
    """Return what `torch.save` or safetensors wrote to `path`, on the CPU.

    Only tensors and plain values are read; a pickle that names anything else is refused before it can run.

    Args:
        path: the file.
        kind: what the file is meant to be, first in every error: "Checkpoint".
        hint: what to do instead, last in every error.

    Raises:
        MissingModelError: there is no such file.
        ModelError: a folder, empty, text, cut off, damaged, or with code.
    """
    content = read_input(path, kind, hint, error=ModelError)
    if not content:
        raise ModelError(f"{kind} {path} is empty (0 bytes). {hint}")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(content)
        if not content.startswith(_PICKLE_START):  # the format of old files, which has no checksums
            _check_archive(content)
        with warnings.catch_warnings():  # torch's advice on pickles comes before our error
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _BrokenFileError as error:
        raise ModelError(f"{kind} {path} {error}. {hint}") from None
    except pickle.UnpicklingError as error:
        raise ModelError(f"{kind} {path} {_refused_code(error)}. {hint}") from error
    except Exception as error:  # bytes of unknown origin can fail a reader in any way
        raise ModelError(f"{kind} {path} cannot be read: {one_line(error)[:200]}. {hint}") from error


def add_checksum(path: Path) -> None:
    """Write the SHA-256 of a file that `torch.save` wrote into the file itself.

    Such a file is a ZIP archive that ends with the length of an empty comment; the checksum becomes that comment, which
    torch ignores. A checksum in a file beside it could belong to another version of it after a kill.

    Raises:
        ModelError: the file is not such an archive.
    """
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = len(content) - 2
        if content[end:] != b"\0\0":
            raise ModelError(f"{path} cannot take a checksum: torch.save did not write it, or it has one already")
        comment = _CHECKSUM_START + _sha256(content, end)
        stream.seek(end)
        stream.write(struct.pack("<H", len(comment)) + comment)


def has_checksum(content: bytes) -> bool:
    """Return whether the bytes of a file carry the checksum of `add_checksum`, and it is the right one.

    Raises:
        ValueError: the content or the checksum itself is damaged.
    """
    start = max(0, len(content) - _LONGEST_END)
    record = content.rfind(_END_SIGNATURE, start)
    comment_start = record + _END_LENGTH
    if record < 0 or len(content) < comment_start:
        return False  # no archive, or one that is cut off before the comment, which its reader notices
    length, comment = struct.unpack_from("<H", content, comment_start - 2)[0], content[comment_start:]
    if not length and not comment:
        return False
    if length != len(comment) or comment != _CHECKSUM_START + _sha256(content, comment_start - 2):
        raise ValueError("does not match its SHA-256")
    return True


def _sha256(content: bytes | mmap.mmap, end: int) -> bytes:
    with memoryview(content) as view, view[:end] as part:
        return hashlib.sha256(part).hexdigest().encode()


class _BrokenFileError(Exception):
    """The second half of a sentence that starts with the name of the file."""


def _check_archive(content: bytes) -> None:
    """Refuse what is no PyTorch file, is cut off, or fails a checksum, which torch itself does not verify."""
    if not content.startswith(_ZIP_START):
        raise _BrokenFileError("is not a PyTorch file")
    try:
        if has_checksum(content):
            return
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise _BrokenFileError(
            f"is cut off or damaged ({len(content)} bytes): {one_line(error)}; copy it again"
        ) from error
    if damaged:
        raise _BrokenFileError(f"is damaged: its part {damaged} fails its checksum; copy it again")


def _refused_code(error: pickle.UnpicklingError) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return f"names Python code ({named[1]}), which is never run; a model file has tensors and plain values only"
    return "is not a file of tensors and plain values"
