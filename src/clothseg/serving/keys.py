"""API keys: who may ask, compared so that neither time nor a log gives one away."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from clothseg.errors import SettingError
from clothseg.serving.errors import Problem

KEYS_VARIABLE = "CLOTHSEG_API_KEYS"
"""Environment variable with keys, separated by spaces or commas."""

_SHORTEST = 8


class Keys:
    """The keys that are let in; without any, everyone is.

    Only digests are kept: all of one length, so that the time of a comparison says nothing of a key's.

    Args:
        keys: the keys themselves.

    Raises:
        SettingError: a key is too short to be one.

    >>> bool(Keys([])), bool(Keys(["a-long-secret"]))
    (False, True)
    """

    def __init__(self, keys: Iterable[str]) -> None:
        given = list(keys)
        if any(len(key) < _SHORTEST or not key.isascii() or not key.isprintable() for key in given):
            raise SettingError(
                f"An API key is shorter than {_SHORTEST} characters or not plain ASCII. Make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        self._digests = [_digest(key) for key in given]

    @classmethod
    def collect(cls, flags: Iterable[str], environment: Mapping[str, str]) -> Keys:
        """Take the keys given as flags and those of the environment variable."""
        return cls([*flags, *environment.get(KEYS_VARIABLE, "").replace(",", " ").split()])

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, headers: Mapping[str, str]) -> None:
        """Let a request pass that bears a key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        Raises:
            Problem: it bears none, or one that is not known.
        """
        if not self._digests:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        challenge = {"WWW-Authenticate": 'Bearer realm="clothseg"'}
        if not given:
            raise Problem("key-missing", "Send Authorization: Bearer KEY, or X-API-Key: KEY", headers=challenge)
        digest = _digest(given)
        # Every key is compared, also after one has matched: the time must not tell which one it was.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise Problem("key-wrong", "This key is not one of the server's. Ask its operator for one")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
