"""HTTP connections that do not wait for ever: for the head of a request, or for a client to read its answer."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from clothseg.serving.limits import LOWEST_RATE

_READING_SECONDS = 15.0


class ImpatientProtocol(H11Protocol):
    """uvicorn's protocol, which itself sets a time only for connections that are idle after an answer.

    Args:
        head_seconds: how long a client may take to send the head of a request, and to stop sending after an early
            answer.
        options: uvicorn's own.
    """

    def __init__(self, *, head_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._head_seconds = head_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the head of the first request."""
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._reading_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take data, and see whose turn it is then."""
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        """Let the clock run for as long as no request is being answered, and stop it otherwise."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif not is_answering and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._head_seconds, self.transport.abort)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request; uvicorn's own clock for idle connections runs, too."""
        super().on_response_complete()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def pause_writing(self) -> None:
        """Begin to watch a client that reads more slowly than we write."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._reading_timer = self.loop.call_later(_READING_SECONDS, self._check_reading)

    def resume_writing(self) -> None:
        """Stop watching it."""
        super().resume_writing()
        if self._reading_timer is not None:
            self._reading_timer.cancel()

    def _check_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < LOWEST_RATE * _READING_SECONDS:
            self.transport.abort()
            return
        self._unread = unread
        self._reading_timer = self.loop.call_later(_READING_SECONDS, self._check_reading)
