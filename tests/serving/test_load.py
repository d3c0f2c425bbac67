"""32 clients at once, some of them broken, slow or disconnecting: what each is answered, and what it costs."""

import contextlib
import io
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from clothseg.encoding import encode_jpeg, encode_png
from tests.conftest import HANG_SECONDS
from tests.export.small_model import photo_of
from tests.prediction.test_faults import BROKEN
from tests.serving.conftest import linux_only
from tests.serving.running_server import JPEG, RunningServer, head_of, read_all

CLIENTS, REQUESTS = 32, 16
SIZES = ((90, 60), (64, 64), (200, 150), (31, 200), (480, 320), (1, 1), (300, 420), (800, 600))


@pytest.fixture(scope="module")
def photos(offline):
    """(JPEG or PNG, its mask from the offline predictor)."""
    contents = [(encode_jpeg if number % 2 else encode_png)(photo_of(*size)) for number, size in enumerate(SIZES)]
    return [(content, offline.predict(content).mask) for content in contents]


class Crowd:
    """Clients that ask a server and note what they are answered.

    Args:
        server: who is asked.
        photos: good ones, with their masks.
    """

    def __init__(self, server, photos):
        self.server = server
        self.photos = photos
        self.answers = Counter()
        self.wrong = []
        self._lock = threading.Lock()

    def ask(self, requests):
        """Let all clients ask `requests` times each."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            for client in [clients.submit(self._one_client, number, requests) for number in range(CLIENTS)]:
                client.result()

    def _one_client(self, number, requests):
        # One connection for all requests: an answer too many or too few would show as the wrong photo's.
        rng = random.Random(number)
        with self.server.client() as client:
            for _ in range(requests):
                chance = rng.random()
                if chance < 0.80:
                    kind, problem = self._good(client, rng)
                elif chance < 0.95:
                    kind, problem = self._bad(client, rng)
                else:
                    kind, problem = self._slow_or_gone(rng)
                with self._lock:
                    self.answers[kind] += 1
                    if problem:
                        self.wrong.append(problem)

    def _good(self, client, rng):
        content, mask = rng.choice(self.photos)
        answer = client.post("/v1/segment?output=mask", content=content, headers={"Content-Type": "image/png"})
        return f"good {answer.status_code}", self._check(answer, mask)

    def _check(self, answer, mask):
        if answer.status_code == 503:
            return "" if answer.headers.get("retry-after") else "503 without Retry-After"
        if answer.status_code != 200:
            return f"a good photo was answered {answer.status_code}: {answer.text}"
        with Image.open(io.BytesIO(answer.content)) as image:
            return "" if np.array_equal(np.array(image), mask) else f"another mask for {mask.shape}"

    def _bad(self, client, rng):
        name = rng.choice([*BROKEN, "type", "form", "bytes", "parameter"])
        photo = self.photos[0][0]
        if name == "type":
            answer, allowed = client.post("/v1/segment", content=photo, headers={"Content-Type": "text/html"}), {415}
        elif name == "form":
            answer, allowed = client.post("/v1/segment", files={"picture": photo}), {422}
        elif name == "bytes":
            answer, allowed = client.post("/v1/segment", content=bytes(1_100_000), headers=JPEG), {413}
        elif name == "parameter":
            answer, allowed = client.post("/v1/segment?output=cutout&label=lamp", content=photo, headers=JPEG), {422}
        else:
            answer, allowed = client.post("/v1/segment", content=BROKEN[name][0], headers=JPEG), {400, 413}
        is_right = answer.status_code in allowed | {503}
        return f"bad {answer.status_code}", "" if is_right else f"{name} was answered {answer.status_code}"

    def _slow_or_gone(self, rng):
        content, mask = rng.choice(self.photos)
        half = len(content) // 2
        way = rng.choice(["slow", "gone in the upload", "gone before the answer"])
        with self.server.connected() as connection:
            connection.sendall(head_of(content, more="Connection: close\r\nAccept: image/png\r\n"))
            connection.sendall(content[:half])
            if way == "gone in the upload":
                return way, ""
            time.sleep(0.3 if way == "slow" else 0)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answers early where it takes no more
                connection.sendall(content[half:])
            if way == "gone before the answer":
                return way, ""
            head, _, body = read_all(connection).partition(b"\r\n\r\n")
        status, _, headers = head.decode().partition("\r\n")
        pairs = [line.split(": ", 1) for line in headers.split("\r\n")]
        answer = httpx.Response(int(status.split()[1]), headers=pairs, content=body)
        return f"slow {answer.status_code}", self._check(answer, mask)


@linux_only
@pytest.mark.processes
def test_a_crowd_is_served(model_path, photos):
    limits = ("--queue", 24, "--max-bytes", 1_000_000, "--deadline", HANG_SECONDS, "--upload-grace", HANG_SECONDS)
    with RunningServer("--model", model_path, "--workers", 2, *limits) as server:
        crowd = Crowd(server, photos)
        crowd.ask(REQUESTS // 2)  # until each worker has seen each size, its memory grows
        before = server.kilobytes()
        crowd.ask(REQUESTS)
        after = server.kilobytes()
        assert crowd.wrong == []
        kinds = {kind.split()[-1] for kind in crowd.answers} & {"500", "501", "502", "504"}
        assert not kinds, crowd.answers
        assert crowd.answers["good 200"] > 0.5 * CLIENTS * REQUESTS, crowd.answers
        assert after < 1.05 * before, f"{before} kB became {after} kB"
        server.wait_until(lambda: server.metric("clothseg_held_bytes") == server.metric("clothseg_in_flight") == 0)
        assert server.metric("clothseg_worker_restarts_total") == 0

        killed = server.workers()[0]
        killer = threading.Timer(0.3, os.kill, (killed, signal.SIGKILL))
        killer.start()
        crowd.ask(REQUESTS // 4)
        killer.join()
        server.wait_until(lambda: server.metric("clothseg_worker_restarts_total") == 1)
        server.wait_until(lambda: server.metric("clothseg_workers_ready") == 2)
        assert crowd.wrong == []
        assert killed not in server.workers()

        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
        assert "Traceback" not in server.messages()
        with pytest.raises(ConnectionRefusedError):
            server.connected()
        print(dict(crowd.answers), f"{before} kB, then {after} kB")
