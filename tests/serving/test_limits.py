"""What clients that are slow, gone or too many can and cannot do."""

import contextlib
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving.conftest import linux_only
from tests.serving.running_server import RunningServer
from tests.serving.test_segment import JPEG, assert_problem

pytestmark = linux_only


@pytest.fixture(scope="module")
def small(model_path):
    """A server with room for few, and little patience."""
    flags = ("--queue", 2, "--deadline", 6, "--upload-grace", 1)
    with RunningServer("--model", model_path, *flags) as running:
        yield running


@pytest.fixture
def stopped(small):
    """The same with its worker stopped, as one that hangs; it goes on afterwards, if it still lives."""
    (worker,) = small.workers()
    os.kill(worker, signal.SIGSTOP)
    yield small
    if worker in small.workers():
        os.kill(worker, signal.SIGCONT)
    small.wait_until(lambda: small.is_ready() and small.metric("clothseg_queue_depth") == 0)


def connected(server):
    host, _, port = server.address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head_of(photo, length=None):
    length = len(photo) if length is None else length
    return (
        f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n".encode()
    )


def read_all(connection):
    """Return all that the server says; a client that goes on sending to one that has hung up is reset after it."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        if not received:
            raise
    return received


def post(server, photo):
    with server.client() as client:
        return client.post("/v1/segment?output=mask", content=photo, headers=JPEG)


def test_a_full_queue_answers_at_once_when_to_ask_again(stopped, photo):
    with ThreadPoolExecutor(3) as clients:
        taken = [clients.submit(post, stopped, photo) for _ in range(3)]  # one at the worker, two that wait
        stopped.wait_until(lambda: stopped.metric("clothseg_queue_depth") == 2)
        start = time.monotonic()
        answer = post(stopped, photo)
        assert time.monotonic() - start < 1
        assert_problem(answer, 503, "busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 6
        os.kill(stopped.workers()[0], signal.SIGCONT)
        assert [one.result().status_code for one in taken] == [200, 200, 200]


def test_a_worker_that_hangs_is_replaced_and_its_photo_answered(stopped, photo):
    (before,) = stopped.workers()
    start = time.monotonic()
    answer = post(stopped, photo)
    assert_problem(answer, 503, answer.json()["type"].rpartition(":")[2])
    assert answer.headers["retry-after"]
    assert 5.5 < time.monotonic() - start < 12
    stopped.wait_until(lambda: stopped.workers() not in ([], [before]))
    stopped.wait_until(stopped.is_ready)
    assert post(stopped, photo).status_code == 200


def test_who_hangs_up_leaves_the_queue(stopped, photo):
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(post, stopped, photo)
        stopped.wait_until(lambda: stopped.metric("clothseg_in_flight") == 1)
        gone = [connected(stopped) for _ in range(2)]
        for connection in gone:
            connection.sendall(head_of(photo) + photo)
        stopped.wait_until(lambda: stopped.metric("clothseg_queue_depth") == 2)
        for connection in gone:
            connection.close()
        stopped.wait_until(lambda: stopped.metric("clothseg_queue_depth") == 0)
        os.kill(stopped.workers()[0], signal.SIGCONT)
        assert first.result().status_code == 200
        assert stopped.metric("clothseg_held_bytes") == 0


def test_an_upload_that_drips_is_given_up(small, photo):
    with connected(small) as connection:
        connection.sendall(head_of(photo))
        stop = threading.Event()

        def drip():
            for number in range(100):
                if stop.wait(0.1):
                    return
                with contextlib.suppress(ConnectionError):  # the server has given up by then
                    connection.sendall(photo[number : number + 1])

        dripping = threading.Thread(target=drip)
        dripping.start()
        start = time.monotonic()
        received = read_all(connection)
        stop.set()
        dripping.join()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"slow-upload" in received
    assert 0.8 < time.monotonic() - start < 3


def test_an_upload_that_breaks_off_leaves_nothing(small, photo):
    with connected(small) as connection:
        connection.sendall(head_of(photo) + photo[:100])
        small.wait_until(lambda: small.metric("clothseg_held_bytes") == 100)
    small.wait_until(lambda: small.metric("clothseg_held_bytes") == 0)
    assert post(small, photo).status_code == 200


def test_a_head_that_is_too_long_is_refused(small):
    with connected(small) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000)
        assert read_all(connection).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


def test_a_head_that_does_not_come_ends_the_connection(small):
    with connected(small) as silent, connected(small) as dripping:
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nA: ")
        start = time.monotonic()
        for connection in (silent, dripping):
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
        assert 0.5 < time.monotonic() - start < 5


def test_an_upload_may_wait_to_be_invited(small, photo):
    """As curl does with large bodies; one that is refused is never sent."""
    with connected(small) as connection:
        connection.sendall(
            head_of(photo).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(photo)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    with connected(small) as connection:
        connection.sendall(head_of(photo, 10**9).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_requests_one_after_the_other_share_a_connection(small, photo):
    with small.client() as client:
        answers = [client.post("/v1/segment", content=photo, headers=JPEG) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
