"""How much the server takes on: bytes, pixels, photos that wait, seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from clothseg.errors import SettingError

LOWEST_RATE = 32_000
"""Bytes per second below which an upload, or a client's reading of an answer, is given up after the grace."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server refuses, so that no client can take it from the others.

    Raises:
        SettingError: a value is not above 0.
    """

    max_bytes: int = 20_000_000
    """Largest photo in bytes, as it is sent; larger ones are answered 413."""
    max_pixels: int = 50_000_000
    """Largest photo in pixels, read from its header; larger ones are answered 413."""
    queue: int = 32
    """Photos that may wait for a worker; the next is answered 503 with Retry-After."""
    deadline: float = 30.0
    """Seconds until a waiting client is answered 503, and until a worker that hangs on a photo is replaced."""
    upload_grace: float = 10.0
    """Seconds an upload may take, plus one for each 32,000 bytes of it that have come; its head has these alone."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise SettingError(f"--{field.name.replace('_', '-')} is {value!r}. Allowed: numbers above 0")

    @property
    def max_uploads(self) -> int:
        """Photos that may be on their way in, waiting or worked on at once; slow clients are among them."""
        return 4 * self.queue

    @property
    def max_held_bytes(self) -> int:
        """Bytes of photos that may be in memory at once, in uploads and in the queue; not every photo is a largest."""
        return max(2, self.queue // 4) * self.max_bytes
