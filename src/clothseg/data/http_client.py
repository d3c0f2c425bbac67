"""One response of an HTTP server: requested with timeouts, refused if it cannot be the file, and read in blocks."""

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
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from clothseg.errors import one_line

_BLOCK = 1 << 20
_RETRY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_PAGE_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a server, and how often to try again."""

    timeout: float = 20.0
    """Seconds for connecting, for the first response, and for each silence after it."""
    slowest: int = 1024
    """Bytes per second, over `timeout` seconds, below which a server counts as stalled."""
    attempts: int = 5
    """Attempts in a row that receive less than `new_bytes`."""
    new_bytes: int = 1 << 20
    """An attempt after which there are this many bytes more than ever before starts the count again."""
    first_wait: float = 0.5
    """Seconds before the second attempt; they double with each one after it, plus a random share of up to a half."""
    longest_wait: float = 30.0
    """Most seconds before the next attempt, also where the server requests more."""

    def seconds_before(self, attempt: int, requested: float = 0.0) -> float:
        """Return the seconds to wait before an attempt (2 is the second); `requested` are those of Retry-After.

        Random, so that many machines that lost one server do not all return at once; from a generator of its own, so
        that it does not change the caller's random numbers.
        """
        spread = random.Random().uniform(1.0, 1.5)  # noqa: S311 (not for security)
        return min(max(self.first_wait * 2.0 ** (attempt - 2) * spread, requested), self.longest_wait)


class RetryableError(Exception):
    """This attempt failed in a way that the next one may not."""

    def __init__(self, reason: str, *, requested_wait: float = 0.0, discard: bool = False) -> None:
        super().__init__(reason)
        self.requested_wait = requested_wait
        self.discard = discard
        """The bytes downloaded so far are of no use."""


class RefusedError(Exception):
    """The server's response is not the file, and would not be at the next attempt."""


def open_response(address: str, headers: Mapping[str, str], retries: RetryPolicy) -> http.client.HTTPResponse:
    """Request `address` and return the response, status 200 or 206, to be closed by the caller.

    Raises:
        RetryableError: the server cannot be reached, or is temporarily unavailable.
        RefusedError: a response that will stay the same: another status, a web page, an encoding that was not
            requested, a redirect that gives up encryption, or a certificate that is not trusted.
    """
    all_headers = {"User-Agent": "clothseg", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(address, headers=all_headers)  # noqa: S310 (http and https only, checked before)
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        response: http.client.HTTPResponse = opener.open(request, timeout=retries.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _status_error(address, error) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise RefusedError(
                f"Cannot fetch {address}: its certificate is not trusted ({reason.verify_message}). Correct the clock, "
                "or name your network's certificates in the variable SSL_CERT_FILE"
            ) from error
        raise RetryableError(_reason(reason, retries)) from error
    try:
        _check_response(address, response)
    except BaseException:
        response.close()
        raise
    return response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("https", req.type):
            fp.close()
            raise RefusedError(
                f"Refused: {req.full_url} redirects to {newurl}, which is not encrypted, so that anybody in between "
                "could change it"
            )
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if redirected is not None and redirected.host != req.host:
            redirected.remove_header("Authorization")  # a token is for the server that it was meant for
        return redirected


def _status_error(address: str, error: urllib.error.HTTPError) -> Exception:
    reason = f"the server answers {error.code} {error.reason}"
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return RetryableError(reason, discard=True)
    if error.code in _RETRY_STATUSES:
        requested = error.headers.get("Retry-After", "")
        return RetryableError(reason, requested_wait=float(requested) if requested.isdecimal() else 0.0)
    return RefusedError(f"Cannot fetch {address}: {reason}")


def _check_response(address: str, response: http.client.HTTPResponse) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if response.headers.get_content_type() in _PAGE_TYPES:
        problem = "a web page instead of the file. A login page of your network? Open the address in a browser"
    elif response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        problem = f"{response.status} {response.reason} instead of the file"
    elif encoding.lower() != "identity":
        problem = f"the file in the encoding {encoding}, which was not requested"
    else:
        return
    raise RefusedError(f"Cannot fetch {address}: the server sends {problem}")


def read_blocks(response: http.client.HTTPResponse, retries: RetryPolicy) -> Iterator[bytes]:
    """Yield the bytes as they come, until the server has no more.

    Raises:
        RetryableError: the connection broke off, was silent for `retries.timeout` seconds, or was too slow.
    """
    since, received = time.monotonic(), 0
    try:
        while block := response.read1(_BLOCK):
            received += len(block)
            seconds = time.monotonic() - since
            if seconds > retries.timeout:
                if received < retries.slowest * seconds:
                    raise RetryableError(f"the server stalls: {received:,} bytes in {seconds:.1f} s")
                since, received = time.monotonic(), 0
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise RetryableError(_reason(error, retries)) from error


def _reason(reason: object, retries: RetryPolicy) -> str:
    if isinstance(reason, TimeoutError):
        return f"no response for {retries.timeout:g} s"
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection broke off"
    return one_line(reason) if isinstance(reason, BaseException) else str(reason)
