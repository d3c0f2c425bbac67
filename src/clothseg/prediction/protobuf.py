"""The fields of a protobuf message, as far as a model file needs them: a page of code in place of a package."""

from __future__ import annotations

from collections.abc import Iterator

# Source: protobuf.dev/programming-guides/encoding: the wire types, which say how a field ends.
_VARINT, _EIGHT_BYTES, _WITH_LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class NoMessageError(ValueError):
    """Bytes that are no protobuf message, or only a part of one."""


def fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of each field of the message from `start` to `end`.

    Start and end are those of the field's own content: of a number, a text or another message.

    Raises:
        NoMessageError: there is no message, or it is cut off.

    >>> message = with_length(1, b"key") + with_length(2, b"value")
    >>> [(number, message[first:last]) for number, first, last in fields(message, 0, len(message))]
    [(1, b'key'), (2, b'value')]
    """
    while start < end:
        tag, start = read_varint(content, start)
        number, kind = tag >> 3, tag & 7
        if kind == _WITH_LENGTH:
            length, start = read_varint(content, start)
            after = start + length
        elif kind == _VARINT:
            _, after = read_varint(content, start)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            after = start + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise NoMessageError(f"unknown wire type {kind}")
        if after > end or number == 0:
            raise NoMessageError(f"field {number} does not end where its message does")
        yield number, start, after
        start = after


def with_length(number: int, content: bytes) -> bytes:
    """Return a field that holds a text or another message."""
    return _varint(number << 3 | _WITH_LENGTH) + _varint(len(content)) + content


def read_varint(content: bytes, place: int) -> tuple[int, int]:
    """Return the number at `place` and the place after it.

    Raises:
        NoMessageError: it does not end within ten bytes or within the content.
    """
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            break
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
    raise NoMessageError("a number does not end")


def _varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits to a byte, lowest first, the eighth set where more follow."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
