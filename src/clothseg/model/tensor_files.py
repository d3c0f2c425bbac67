"""Files of tensors, read without running what is in them, and with a named error for each way they can be broken."""

import io
import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors

from clothseg.errors import ModelError, check_input, one_line, path_problem

_ZIP_START = b"PK\x03\x04"
_PICKLE_START = b"\x80"


def read_tensor_file(path: Path, *, kind: str, way_out: str) -> object:
    """Return what `torch.save` or safetensors wrote to `path`, on the CPU.

    Only tensors and plain values are read; a pickle that names anything else is refused before it can run.

    Args:
        path: the file.
        kind: what the file is meant to be, first in every error: "Checkpoint".
        way_out: what to do instead, last in every error.

    Raises:
        MissingModelError: there is no such file.
        ModelError: a folder, empty, text, cut off, damaged, or carrying code.
    """
    check_input(path, kind, way_out, error=ModelError)
    content = _read_bytes(path, kind)
    if not content:
        raise ModelError(f"{kind} {path} is empty (0 bytes). {way_out}")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(content)
        _check_whole(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _BrokenFileError as error:
        raise ModelError(f"{kind} {path} {error}. {way_out}") from None
    except pickle.UnpicklingError as error:
        raise ModelError(f"{kind} {path} {_refused_code(error)}. {way_out}") from error
    except Exception as error:  # bytes of unknown making can fail a reader in any way
        raise ModelError(f"{kind} {path} cannot be read: {one_line(error)[:200]}. {way_out}") from error


class _BrokenFileError(Exception):
    """The second half of a sentence that starts with the file's name."""


def _read_bytes(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{kind} {path} cannot be read: {path_problem(error)}. Check its permissions") from error


def _check_whole(content: bytes) -> None:
    """Refuse what is no PyTorch file, is cut off, or fails a checksum, which torch itself does not look at."""
    if content.startswith(_PICKLE_START):
        return
    if not content.startswith(_ZIP_START):
        raise _BrokenFileError("is not a PyTorch file")
    try:
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
        return f"names Python code ({named[1]}), which is never run; a model file holds tensors and plain values only"
    return "is not a file of tensors and plain values"
