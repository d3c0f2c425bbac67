"""Measures the server against a plain FastAPI + torch endpoint: same weights, same photos, alternately in one run.

Needs no data: uv run python benchmarks/serving.py
With a trained model and real photos:

    uv run python benchmarks/serving.py --ckpt checkpoints/last.ckpt --model model.onnx --photos data/fashionist/test

Each client sends its next photo when it has the answer to the one before. The clients run on the same machine and take
a share of its cores from both servers.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil
from table import Row, heading, num_cores, show

PACKAGES = ("torch", "openvino", "fastapi", "uvicorn", "opencv-python-headless", "pillow")
NUM_DRAWN = 24
_START_SECONDS = 120


class Server(NamedTuple):
    """A server that runs."""

    address: str
    """Where photos are posted to."""
    pid: int


class Measured(NamedTuple):
    """What clients saw."""

    rate: float
    """Answers per second."""
    latencies: tuple[float, float, float]
    """Seconds: p50, p95, p99."""


def free_port() -> int:
    """Return a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(words: Sequence[str], port: int, path: str, environment: dict[str, str]) -> Iterator[Server]:
    """Run a server as long as the block."""
    process = subprocess.Popen(
        [sys.executable, *words], env=os.environ | environment, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + _START_SECONDS
        while not _answers(f"{address}/readyz"):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"Error: {' '.join(words)} does not answer")
            time.sleep(0.1)
        yield Server(address + path, process.pid)
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).status_code in (200, 404)  # the plain server has no such page
    except httpx.TransportError:
        return False


def measure(server: Server, photos: list[bytes], clients: int, seconds: float) -> Measured:
    """Let `clients` ask a server for `seconds`."""
    latencies: list[float] = []
    numbers = itertools.count()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=300, trust_env=False) as client:
            while not stop.is_set():
                photo = photos[next(numbers) % len(photos)]
                start = time.perf_counter()
                client.post(server.address, files={"photo": ("photo.jpg", photo, "image/jpeg")}).raise_for_status()
                latencies.append(time.perf_counter() - start)

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        stop.wait(seconds)
        stop.set()
        for one in asking:
            one.result()
    rate = len(latencies) / (time.perf_counter() - start)
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).tolist()
    return Measured(rate, (p50, p95, p99))


def memory(server: Server) -> float:
    """Return the MB that a server and its workers hold."""
    process = psutil.Process(server.pid)
    return float(sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6)


def read_photos(folder: Path | None) -> list[bytes]:
    """Return JPEGs: those of a folder, or drawn ones."""
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:NUM_DRAWN]]
    from clothseg.data.sample import draw_photo
    from clothseg.encoding import encode_jpeg

    return [encode_jpeg(draw_photo(0, "val", number).pixels) for number in range(NUM_DRAWN)]


def rows(clients: int, plain: Measured, name: str, ours: Measured) -> Iterator[Row]:
    """Yield the lines of one number of clients and one precision."""
    who = f"{clients} client{'s' * (clients > 1)}, {name}"
    yield Row(f"{who}: requests/s", f"{plain.rate:.1f}", f"{ours.rate:.1f}", ours.rate / plain.rate)
    for percentile, before, after in zip((50, 95, 99), plain.latencies, ours.latencies, strict=True):
        yield Row(f"{who}: p{percentile}, ms", f"{1000 * before:.0f}", f"{1000 * after:.0f}", before / after)


def main() -> int:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(description="The server against a plain FastAPI + torch endpoint.")
    parser.add_argument("--ckpt", type=Path, help="checkpoint; without it, random weights")
    parser.add_argument("--model", type=Path, help="its export")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs; without it, drawn ones")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--workers", type=int, default=num_cores())
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--architecture", default="unet")
    parser.add_argument("--encoder-name", default="mit_b1")
    parser.set_defaults(size=(512, 512), decoder_width=1.0)
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    table = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if arguments.ckpt is None or arguments.model is None:
            from forward import prepare

            arguments.ckpt, arguments.model = prepare(arguments, Path(folder))
        checkpoint, model = str(arguments.ckpt.resolve()), str(arguments.model.resolve())
        port = free_port()
        servers = {
            "plain": stack.enter_context(serving(["plain_prediction.py", checkpoint, str(port)], port, "/segment", {}))
        }
        for precision in arguments.precisions:
            port = free_port()
            words = ["-m", "clothseg.cli", "serve", "--model", model, "--port", str(port), "--queue", "256"]
            words += ["--workers", str(arguments.workers), "--precision", precision, "--deadline", "300"]
            servers[precision] = stack.enter_context(serving(words, port, "/v1/segment", {}))
        for server in servers.values():
            measure(server, photos, 1, 1)  # NumPy's late imports fail in the plain way where threads come first
            measure(server, photos, max(arguments.clients), 3)
        for clients in arguments.clients:
            rounds: dict[str, list[Measured]] = {name: [] for name in servers}
            for _ in range(arguments.rounds):
                for name, server in servers.items():
                    rounds[name].append(measure(server, photos, clients, arguments.seconds))
            best = {name: max(found, key=lambda one: one.rate) for name, found in rounds.items()}
            for precision in arguments.precisions:
                table += rows(clients, best["plain"], precision, best[precision])
        sizes = {name: memory(server) for name, server in servers.items()}
        for precision in arguments.precisions:
            shown = f"{sizes['plain']:.0f}", f"{sizes[precision]:.0f}"
            table.append(Row(f"memory after, {precision}, MB", *shown, sizes["plain"] / sizes[precision]))
    title = f"Serving with {arguments.workers} workers, {len(photos)} photos of {model}"
    return show(heading(title, PACKAGES), table)


if __name__ == "__main__":
    sys.exit(main())
