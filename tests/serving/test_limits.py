"""What slow, disconnected or too many clients get from a real server."""

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving.conftest import assert_problem, linux_only
from tests.serving.running_server import JPEG, RunningServer, head_of, read_all

pytestmark = linux_only

GRACE = 4
"""Seconds that an upload or a head may take."""


@pytest.fixture(scope="module")
def small(model_path):
    """A server with room for few photos."""
    with RunningServer("--model", model_path, "--queue", 2, "--upload-grace", GRACE) as running:
        yield running


@pytest.fixture
def stopped(small):
    """The same with its worker stopped; it continues afterwards."""
    (worker,) = small.workers()
    os.kill(worker, signal.SIGSTOP)
    yield small
    os.kill(worker, signal.SIGCONT)
    small.wait_until(lambda: small.metric("clothseg_queue_depth") == small.metric("clothseg_in_flight") == 0)


def test_a_full_queue_refuses_at_once_and_says_when_to_ask_again(stopped, photo):
    with ThreadPoolExecutor(3) as clients:
        accepted = [clients.submit(stopped.post, photo)]
        stopped.wait_until(lambda: stopped.metric("clothseg_in_flight") == 1)
        accepted += [clients.submit(stopped.post, photo) for _ in range(2)]
        stopped.wait_until(lambda: stopped.metric("clothseg_queue_depth") == 2)
        answer = stopped.post(photo)  # the worker is still stopped, so that this waits for no photo
        assert_problem(answer, 503, "busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        os.kill(stopped.workers()[0], signal.SIGCONT)
        assert [one.result().status_code for one in accepted] == [200, 200, 200]


def test_a_disconnected_client_leaves_the_queue(stopped, photo):
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(stopped.post, photo)
        stopped.wait_until(lambda: stopped.metric("clothseg_in_flight") == 1)
        gone = [stopped.connected() for _ in range(2)]
        for connection in gone:
            connection.sendall(head_of(photo) + photo)
        stopped.wait_until(lambda: stopped.metric("clothseg_queue_depth") == 2)
        for connection in gone:
            connection.close()
        stopped.wait_until(lambda: stopped.metric("clothseg_queue_depth") == 0)
        os.kill(stopped.workers()[0], signal.SIGCONT)
        assert first.result().status_code == 200
        assert stopped.metric("clothseg_held_bytes") == 0


def test_slow_clients_are_given_up(small, photo):
    """An upload that drips is answered; a connection without a whole head is closed."""
    start, stop = time.monotonic(), threading.Event()
    with small.connected() as upload, small.connected() as silent, small.connected() as head:
        head.sendall(b"GET /healthz HTTP/1.1\r\nA: ")
        upload.sendall(head_of(photo))

        def drip():
            for byte in photo:
                if stop.wait(0.1):
                    return
                with contextlib.suppress(ConnectionError):  # the server has given up by then
                    upload.sendall(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            received = read_all(upload)
        finally:
            stop.set()
            dripping.join()
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"slow-upload" in received
        for connection in (silent, head):
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert time.monotonic() - start > 0.9 * GRACE


def test_an_upload_that_breaks_off_leaves_nothing(small, photo):
    with small.connected() as connection:
        connection.sendall(head_of(photo) + photo[:100])
        small.wait_until(lambda: small.metric("clothseg_held_bytes") == 100)
    small.wait_until(lambda: small.metric("clothseg_held_bytes") == 0)
    assert small.post(photo).status_code == 200


def test_a_head_that_is_too_long_is_refused(small):
    with small.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000)
        assert read_all(connection).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


def test_an_upload_may_wait_for_100_continue(small, photo):
    """As curl does with large bodies; one that is refused is never sent."""
    with small.connected() as connection:
        connection.sendall(head_of(photo, more="Expect: 100-continue\r\nConnection: close\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(photo)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    with small.connected() as connection:
        connection.sendall(head_of(photo, 10**9, more="Expect: 100-continue\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_requests_one_after_the_other_share_a_connection(small, photo):
    with small.client() as client:
        answers = [client.post("/v1/segment", content=photo, headers=JPEG) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
