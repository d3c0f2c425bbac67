"""An exported model as a file: ONNX that describes itself, ends in its own SHA-256, and is read without torch or onnx.

An ONNX file is one protobuf message, and more fields may be appended to a message. A model file is:

1. what the exporter wrote: the graph and its weights;
2. a metadata entry `clothseg`: JSON with the format's version, the model's description and how the export was checked;
3. a metadata entry `clothseg.sha256`: the SHA-256 of every byte before this entry, and nothing after it.

The last entry has a fixed length, so any byte that changes, is lost or is added is detected. Any reader of ONNX
reads the file as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clothseg.errors import ModelError, SettingError, command, one_line, read_input
from clothseg.model.description import ModelDescription
from clothseg.transforms import AREA

FORMAT = 2
"""Version of the JSON in the metadata; a later version is refused. 2 says that photos are resized in another way, which
readers of 1 would not do; everything else is still written as 1."""

LARGEST_BF16_CHANGE = 0.002
"""auto takes bfloat16 only where the export's check on real photos changed mIoU by less than this …"""

LARGEST_BF16_SHARE = 0.02
"""… and gave fewer of the pixels another class: mIoU does not show gains and losses that cancel out."""

_HINT = f'Make one from a checkpoint with "{command("export", "CKPT")}", or use another model'

# Source: onnx.proto of ONNX 1.17: field numbers of ModelProto, GraphProto, TensorProto and StringStringEntryProto.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALIZER = 5
_TENSOR_DATA_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW = 2, 4, 8, 9
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_FLOAT_TYPES: Mapping[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}

# Source: protobuf.dev/programming-guides/encoding: the wire types, which say how a field ends.
_VARINT, _EIGHT_BYTES, _WITH_LENGTH, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and verified."""

    content: bytes = field(repr=False)
    """The file: ONNX, ready for any runtime."""
    description: ModelDescription
    check: Mapping[str, Any]
    """What the export found when it compared the model with torch; `docs/how-to/export.md` names its keys."""
    sha256: str
    """Of the whole file, in hexadecimal."""

    @classmethod
    def read(cls, path: Path, *, checks_weights: bool = True) -> ModelFile:
        """Read a model file and verify every byte of it.

        `checks_weights` looks for NaN and infinity, which takes as long as the SHA-256.

        Raises:
            MissingModelError: there is no such file.
            ModelError: a folder, empty, cut off, changed, no ONNX, not clothseg's, of a later version, or with weights
                that are NaN or infinite.
        """
        content = read_input(path, "Model", _HINT, error=ModelError)
        if not content:
            raise ModelError(f"Model is empty (0 bytes): {path}. {_HINT}")
        try:
            return cls.from_bytes(content, checks_weights=checks_weights)
        except ModelError as error:
            raise ModelError(f"Model {path} {one_line(error)}. {_HINT}") from error

    @classmethod
    def from_bytes(cls, content: bytes, *, checks_weights: bool = True) -> ModelFile:
        """Read what `add_metadata` returned.

        Raises:
            ModelError: as `read`; the message is completed with the name of the file.
        """
        is_whole, sha256 = _check_sha256(content)
        try:
            entries = _metadata(content)
        except _NoMessageError as error:
            raise ModelError("is cut off, damaged, or no ONNX file") from error
        if "clothseg" not in entries:
            raise ModelError("was not written by clothseg: it does not name its classes")
        if not is_whole:
            raise ModelError("is cut off or damaged: its SHA-256 is not at its end")
        description, check = _described(entries["clothseg"])
        wrong = _first_without_numbers(content) if checks_weights else None
        if wrong is not None:
            raise ModelError(f"has weights that are NaN or infinite, first in {wrong}")
        return cls(content, description, check, sha256)

    def precision_of_rest(self, precision: str) -> str:
        """Return in what all else than convolutions in int8 computes: `precision`, or auto where that is int8.

        Raises:
            SettingError: int8 was asked for, and the model was not exported so.
        """
        if precision != "int8":
            return precision
        if self.description.precision != "int8":
            hint = command("export", "MODEL", "--precision", "int8", "--photos", "DIR")
            raise SettingError(f"The model computes in fp32, not in int8. Make an int8 model of it with: {hint}")
        return "auto"

    @property
    def allows_bf16(self) -> bool:
        """Whether the export's check on real photos showed that bfloat16 changes next to nothing."""
        limits = {"bf16_miou_change": LARGEST_BF16_CHANGE, "bf16_share_differing": LARGEST_BF16_SHARE}
        values = [(self.check.get(name), limit) for name, limit in limits.items()]
        return all(isinstance(value, int | float) and abs(value) < limit for value, limit in values)


def add_metadata(graph: bytes, description: ModelDescription, check: Mapping[str, Any]) -> bytes:
    """Return the content of a model file: a serialised ONNX ModelProto, its description, and how it was checked.

    `check` has plain values, and those of bfloat16 only if that was on real photos; see `ModelFile.allows_bf16`.
    """
    is_ours = description.input_size is None and description.interpolation == AREA
    values = {"format": 1 if is_ours else FORMAT, "description": description.to_dict(), "check": dict(check)}
    content = graph + _entry("clothseg", json.dumps(values, ensure_ascii=False, allow_nan=False))
    return content + _sha256_entry(hashlib.sha256(content).hexdigest())


def _sha256_entry(digest: str) -> bytes:
    return _entry("clothseg.sha256", digest)


def _check_sha256(content: bytes) -> tuple[bool, str]:
    """Return whether the file ends in its SHA-256, and that of the whole file, for which its bytes are read once only.

    Raises:
        ModelError: it is that of other content.
    """
    length = len(_sha256_entry(64 * "0"))
    entry = content[-length:]
    if not entry.startswith(_sha256_entry(64 * "0")[:-64]):
        return False, ""
    digest = hashlib.sha256(memoryview(content)[:-length])
    if entry != _sha256_entry(digest.hexdigest()):
        raise ModelError("is damaged: it does not match its SHA-256")
    digest.update(entry)
    return True, digest.hexdigest()


def _entry(key: str, value: str) -> bytes:
    parts = _with_length(_ENTRY_KEY, key.encode()) + _with_length(_ENTRY_VALUE, value.encode())
    return _with_length(_MODEL_METADATA, parts)


def _metadata(content: bytes) -> dict[str, bytes]:
    """Return the metadata entries of an ONNX file."""
    entries = {}
    for number, start, end in _fields(content, 0, len(content)):
        if number == _MODEL_METADATA:
            parts = {part: content[first:last] for part, first, last in _fields(content, start, end)}
            entries[parts.get(_ENTRY_KEY, b"").decode(errors="replace")] = parts.get(_ENTRY_VALUE, b"")
    return entries


def _described(entry: bytes) -> tuple[ModelDescription, Mapping[str, Any]]:
    try:
        values = json.loads(entry)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"has a description that is no JSON ({one_line(error)})") from error
    version = values.get("format") if isinstance(values, Mapping) else None
    if isinstance(version, int) and version > FORMAT:
        raise ModelError(
            f"was written by a later clothseg (format {version}, this one reads {FORMAT}): pip install -U clothseg"
        )
    if version not in (1, FORMAT) or not isinstance(values.get("check"), Mapping):
        raise ModelError(f"has a description of an unknown form ({version!r})")
    return ModelDescription.from_dict(values.get("description")), values["check"]


def _first_without_numbers(content: bytes) -> str | None:
    """Return the name of the first weight tensor with NaN or infinity, or None.

    Runtimes do not report them: their maximum of NaN and 0 may be 0, so a broken layer gives plausible masks.
    """
    for number, start, end in _fields(content, 0, len(content)):
        if number != _MODEL_GRAPH:
            continue
        for part, first, last in _fields(content, start, end):
            if part == _GRAPH_INITIALIZER and not _has_numbers(content, first, last):
                name = next((content[a:b] for n, a, b in _fields(content, first, last) if n == _TENSOR_NAME), b"")
                return name.decode(errors="replace")
    return None


def _has_numbers(content: bytes, start: int, end: int) -> bool:
    parts = {number: (first, last) for number, first, last in _fields(content, start, end)}
    if _TENSOR_DATA_TYPE not in parts:
        return True
    kind = _FLOAT_TYPES.get(_read_varint(content, parts[_TENSOR_DATA_TYPE][0])[0])
    if kind is None:
        return True
    for number in (_TENSOR_RAW, _TENSOR_FLOATS):
        first, last = parts.get(number, (0, 0))
        values = np.frombuffer(content, kind, (last - first) // kind.itemsize, first)
        if not np.isfinite(values).all():
            return False
    return True


class _NoMessageError(ValueError):
    """Bytes that are not a complete protobuf message."""


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of each field of the message from `start` to `end`.

    Start and end are those of the field's own content: of a number, a text or another message.

    Raises:
        _NoMessageError: there is no message, or it is cut off.

    >>> message = _with_length(1, b"key") + _with_length(2, b"value")
    >>> [(number, message[first:last]) for number, first, last in _fields(message, 0, len(message))]
    [(1, b'key'), (2, b'value')]
    """
    while start < end:
        tag, start = _read_varint(content, start)
        number, kind = tag >> 3, tag & 7
        if kind == _WITH_LENGTH:
            length, start = _read_varint(content, start)
            after = start + length
        elif kind == _VARINT:
            _, after = _read_varint(content, start)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            after = start + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise _NoMessageError(f"unknown wire type {kind}")
        if after > end or number == 0:
            raise _NoMessageError(f"field {number} does not end where its message does")
        yield number, start, after
        start = after


def _with_length(number: int, content: bytes) -> bytes:
    """Return a field that contains a text or another message."""
    return _varint(number << 3 | _WITH_LENGTH) + _varint(len(content)) + content


def _read_varint(content: bytes, offset: int) -> tuple[int, int]:
    """Return the number at `offset` and the offset after it.

    Raises:
        _NoMessageError: it does not end within ten bytes or within the content.
    """
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(content):
            break
        byte = content[offset]
        value |= (byte & 0x7F) << shift
        offset += 1
        if byte < 0x80:
            return value, offset
    raise _NoMessageError("a number does not end")


def _varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits to a byte, lowest first, the eighth set where more follow."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
