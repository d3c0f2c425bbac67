"""One answer of an http server: asked for with timeouts, refused where it cannot be the file, read while it flows."""

from __future__ import annotations

# The standard library's client: it knows the machine's proxies and certificates, and what is needed beyond it (ranges,
# what to refuse, when to try again) would have to be written around any other client as well.
import http.client
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from clothseg.errors import ClothsegError, MachineError, one_line

_BLOCK = 1 << 20
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)
_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Patience:
    """How long a server may keep us waiting."""

    timeout: float = 20.0
    """Seconds for connecting, for the first answer, and for each silence after it."""
    slowest: int = 1024
    """Bytes per second, over `timeout` seconds, below which a server counts as stalled."""
    attempts: int = 5
    """Attempts in a row that bring less than `new_bytes`."""
    new_bytes: int = 1 << 20
    """An attempt that brings this many bytes more than there ever were starts the count anew."""
    first_wait: float = 0.5
    """Seconds before the second attempt; twice as many before each one after it, and up to half of that by chance."""
    longest_wait: float = 30.0
    """Seconds before the next attempt at most, also where the server asks for more."""

    @property
    def longest(self) -> float:
        """Seconds without `new_bytes` after which all attempts are used up: each connects, waits, flows and stalls."""
        return self.attempts * 4 * self.timeout + (self.attempts - 1) * self.longest_wait

    def seconds_before(self, attempt: int, asked: float = 0.0) -> float:
        """Return how long to wait before an attempt (2 is the second); `asked` are the seconds the server wants."""
        # By chance, so that many machines that lost one server do not all come back at once; its own source of it, so
        # that no seed of the caller's is used up.
        spread = random.Random().uniform(1.0, 1.5)  # noqa: S311 (no secret hangs on it)
        return min(max(self.first_wait * 2.0 ** (attempt - 2) * spread, asked), self.longest_wait)


class AnotherTry(Exception):  # noqa: N818 (no error yet: it becomes one when the attempts are used up)
    """This attempt failed in a way that the next one may not."""

    def __init__(self, reason: str, asked_wait: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_wait = asked_wait


class RangeGoneError(AnotherTry):
    """The server does not have the range that was asked for; the bytes fetched so far are of no use."""


def open_answer(address: str, headers: Mapping[str, str], patience: Patience) -> http.client.HTTPResponse:
    """Ask for `address` and return the answer, status 200 or 206, to be closed by the caller.

    Raises:
        AnotherTry: the server could not be reached, or says that it is out of order just now.
        MachineError: an answer that will stay the same: another status, a web page, an encoding that was not asked for,
            a redirect that gives up encryption, or a certificate that is not trusted.
    """
    all_headers = {"User-Agent": "clothseg", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(address, headers=all_headers)  # noqa: S310 (http and https only, checked before)
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        answer: http.client.HTTPResponse = opener.open(request, timeout=patience.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _status_failure(address, error) from error
    except ClothsegError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise MachineError(
                f"Cannot fetch {address}: its certificate is not trusted ({reason.verify_message}). Correct the clock, "
                "or name your network's certificates in the variable SSL_CERT_FILE"
            ) from error
        raise AnotherTry(_in_words(reason, patience)) from error
    try:
        _refuse_what_is_no_file(address, answer)
    except BaseException:
        answer.close()
        raise
    return answer


def read_blocks(answer: http.client.HTTPResponse, patience: Patience, *, first: int) -> Iterator[bytes]:
    """Yield the bytes as they come, at least `first` of them to start with, until the server has no more.

    Raises:
        AnotherTry: the connection broke off, was silent for `patience.timeout` seconds, or trickled.
    """
    since, received, held = time.monotonic(), 0, b""
    while block := _read_block(answer, patience):
        received += len(block)
        seconds = time.monotonic() - since
        if seconds > patience.timeout:
            if received < patience.slowest * seconds:
                raise AnotherTry(f"the server stalls: {received:,} bytes in {seconds:.1f} s")
            since, received = time.monotonic(), 0
        held += block
        if len(held) >= first:
            yield held
            first, held = 1, b""
    if held:
        yield held


def _read_block(answer: http.client.HTTPResponse, patience: Patience) -> bytes:
    try:
        return answer.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise AnotherTry(_in_words(error, patience)) from error


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("https", req.type):
            fp.close()
            raise MachineError(
                f"Refused: {req.full_url} leads to {newurl}, which is not encrypted, so that anybody on the way could "
                "change it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _status_failure(address: str, error: urllib.error.HTTPError) -> Exception:
    reason = f"the server answers {error.code} {error.reason}"
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        return RangeGoneError(reason)
    if error.code in _WORTH_ANOTHER_TRY:
        asked = error.headers.get("Retry-After", "")
        return AnotherTry(reason, float(asked) if asked.isdecimal() else 0.0)
    return MachineError(f"Cannot fetch {address}: {reason}")


def _refuse_what_is_no_file(address: str, answer: http.client.HTTPResponse) -> None:
    encoding = answer.headers.get("Content-Encoding", "identity")
    if answer.headers.get_content_type() in _PAGES:
        problem = "a web page instead of the file. A login page of your network? Open the address in a browser"
    elif answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        problem = f"{answer.status} {answer.reason} instead of the file"
    elif encoding.lower() != "identity":
        problem = f"the file in the encoding {encoding}, which was not asked for"
    else:
        return
    raise MachineError(f"Cannot fetch {address}: the server sends {problem}")


def _in_words(reason: object, patience: Patience) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer for {patience.timeout:g} s"
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection broke off"
    return one_line(reason) if isinstance(reason, BaseException) else str(reason)
