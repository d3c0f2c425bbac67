"""What the server refuses: photos and clients beyond its limits, and requests without an API key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from clothseg.errors import SettingError
from clothseg.serving.errors import Problem

MIN_BYTES_PER_SECOND = 32_000
"""Below this rate an upload is refused after the grace period, and a client that reads its response is disconnected."""
KEYS_VARIABLE = "CLOTHSEG_API_KEYS"
"""Environment variable with keys, separated by spaces or commas."""

_MIN_KEY_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server accepts of photos, clients and time.

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
    """Seconds an upload may take, plus one for each 32,000 bytes received; the request's head has only these."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise SettingError(f"--{field.name.replace('_', '-')} is {value!r}. Allowed: numbers above 0")

    @property
    def max_uploads(self) -> int:
        """Photos that may be uploaded, queued or segmented at the same time; slow clients are among them."""
        return 4 * self.queue

    @property
    def max_held_bytes(self) -> int:
        """Bytes of photos in memory at the same time, uploading or queued; few photos are as large as `max_bytes`."""
        return max(2, self.queue // 4) * self.max_bytes

    @property
    def max_batch_bytes(self) -> int:
        """Bytes of all photos of one request together: half of what is held, so that others still get in."""
        return self.max_held_bytes // 2


class Keys:
    """The API keys that are accepted; without any, everyone is.

    Only digests are stored. They have one length, so the time of a comparison does not depend on a key's length.

    Raises:
        SettingError: a key is too short, or not plain ASCII.

    >>> bool(Keys([])), bool(Keys(["a-long-secret"]))
    (False, True)
    """

    def __init__(self, keys: Iterable[str]) -> None:
        given = list(keys)
        if any(len(key) < _MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() for key in given):
            raise SettingError(
                f"An API key is shorter than {_MIN_KEY_LENGTH} characters or not plain ASCII. Make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        self._digests = [_digest(key) for key in given]

    @classmethod
    def collect(cls, flags: Iterable[str], environment: Mapping[str, str]) -> Keys:
        """Return the keys of the command line and of the environment variable."""
        return cls([*flags, *environment.get(KEYS_VARIABLE, "").replace(",", " ").split()])

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, headers: Mapping[str, str]) -> None:
        """Accept a request with a known key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        Raises:
            Problem: the request has no key, or an unknown one.
        """
        if not self._digests:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not given:
            challenge = {"WWW-Authenticate": 'Bearer realm="clothseg"'}
            raise Problem("key-missing", "Send Authorization: Bearer KEY, or X-API-Key: KEY", headers=challenge)
        digest = _digest(given)
        # All keys are compared, also after a match: the time must not depend on which one it was.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise Problem("key-wrong", "This key is not one of the server's. Ask its operator for one")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
