"""Messages between the server and a worker: a JSON header and raw bytes; nothing in them can run as code."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

# A message is the lengths of header and body in bytes, both big-endian, then header and body.
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True)
class Message:
    """What goes through a pipe, either way."""

    header: Mapping[str, Any]
    """Plain values."""
    body: bytes = field(default=b"", repr=False)
    """A photo, or what was made of it."""


def _head(message: Message) -> bytes:
    header = json.dumps(message.header).encode()
    return _LENGTHS.pack(len(header), len(message.body)) + header


def write(stream: BinaryIO, message: Message) -> None:
    """Write a message and wait until it is gone."""
    stream.write(_head(message))
    stream.write(message.body)
    stream.flush()


def read(stream: BinaryIO) -> Message | None:
    """Read a message; None where the other side has closed the pipe."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, body_length = _LENGTHS.unpack(lengths)
    header, body = stream.read(header_length), stream.read(body_length)
    if len(header) < header_length or len(body) < body_length:
        return None
    return Message(json.loads(header), body)


async def send(stream: asyncio.StreamWriter, message: Message) -> None:
    """Write a message without holding up the event loop.

    Raises:
        ConnectionError: the other side has closed the pipe.
    """
    stream.write(_head(message))
    stream.write(message.body)
    await stream.drain()


async def receive(stream: asyncio.StreamReader) -> Message:
    """Read a message without holding up the event loop.

    Raises:
        asyncio.IncompleteReadError: the other side has closed the pipe.
    """
    header_length, body_length = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    header = json.loads(await stream.readexactly(header_length))
    return Message(header, await stream.readexactly(body_length))
