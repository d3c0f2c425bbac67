"""Connections that are given up: a head that does not come, an answer that is not read."""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from clothseg.serving.limits import MIN_BYTES_PER_SECOND
from clothseg.serving.server import READ_CHECK_SECONDS, TimeLimitedProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Connection(asyncio.Transport):
    """A connection whose client and clock are controlled by the test.

    Args:
        head_seconds: how long a head may take.
    """

    def __init__(self, *, head_seconds):
        super().__init__()
        self._now = 0.0
        asyncio.get_running_loop().time = lambda: self._now
        self.is_aborted = False
        self.unread = 0
        self.received = b""
        self.may_answer = asyncio.Event()
        config = uvicorn.Config(self._app, interface="asgi3", log_config=None, timeout_keep_alive=1000)
        self.protocol = TimeLimitedProtocol(
            head_seconds=head_seconds, config=config, server_state=ServerState(), app_state={}
        )
        self.protocol.connection_made(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.protocol.connection_lost(ConnectionResetError())

    async def _app(self, scope, receive, send):
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def pass_seconds(self, seconds):
        self._now += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    def write(self, data):
        self.received += data

    def is_closing(self):
        return self.is_aborted

    def abort(self):
        self.is_aborted = True

    def close(self):
        pass

    def get_write_buffer_size(self):
        return self.unread

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


def test_a_head_has_its_seconds_and_an_answer_does_not_count():
    async def steps():
        with Connection(head_seconds=5) as connection:
            await connection.pass_seconds(4)
            assert not connection.is_aborted
            connection.protocol.data_received(HEAD)
            await connection.pass_seconds(100)
            assert not connection.is_aborted, "the time of the answer is not the client's"
            connection.may_answer.set()
            await connection.pass_seconds(0)
            assert connection.received.startswith(b"HTTP/1.1 204 ")
            connection.protocol.data_received(HEAD[:9])
            await connection.pass_seconds(4)
            connection.protocol.data_received(HEAD[9:15])
            assert not connection.is_aborted
            await connection.pass_seconds(2)
            assert connection.is_aborted, "further bytes give no further seconds"

    asyncio.run(steps())


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_an_answer_must_be_read_at_the_lowest_rate(share):
    async def steps():
        with Connection(head_seconds=5) as connection:
            connection.protocol.data_received(HEAD)
            connection.unread = 10_000_000
            connection.protocol.pause_writing()
            for _ in range(3):
                connection.unread -= int(share * MIN_BYTES_PER_SECOND * READ_CHECK_SECONDS)
                await connection.pass_seconds(READ_CHECK_SECONDS)
            assert connection.is_aborted == (share < 1)
            connection.protocol.resume_writing()
            connection.may_answer.set()
            await connection.pass_seconds(100)
            assert connection.is_aborted == (share < 1), "what is read is watched no more"

    asyncio.run(steps())
