"""Measures samples from shards, in a folder and behind a web server, against the same samples from files.

Run it on a prepared dataset: uv run python benchmarks/shards.py --data-path data
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from table import Row, heading, show

from clothseg.data.datamodule import ClothSegmentationData
from clothseg.data.dataset import start_worker
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.pack import pack
from clothseg.data.shard_files import ShardSource

SIZE = 512
BATCH_SIZE = 8
ROUNDS = 3
SHARD_BYTES = 16_000_000
CACHE_BYTES = 10**9
WAYS = {
    "shards in a folder": 0.95,
    "shards in the cache": 0.95,
    "shards downloaded on the way": 0.8,
}
"""What is measured, and the least samples per second and core against files that is aimed at."""
PACKAGES = ("torch", "fsspec", "aiohttp", "simplejpeg", "numpy")


@dataclass(frozen=True)
class Seconds:
    """What a sample costs."""

    processor: float
    """Processor time of one core; waiting for other programs does not count."""
    clock: float


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine by a process of its own; yield the address."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        port = re.search(r"port (\d+)", process.stdout.readline())
        assert port is not None
        try:
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            process.terminate()


def measure(data_path: Path, shards: ShardSource | None) -> Seconds:
    """Load one epoch of augmented samples on one thread, as a loader process does."""
    torch.set_num_threads(1)
    start_worker()
    data = ClothSegmentationData(data_path, img_size=SIZE, batch_size=BATCH_SIZE, num_workers=0, shards=shards)
    count, start, clock = 0, time.process_time(), time.perf_counter()
    for batch in data.train_dataloader():
        count += len(batch["name"])
    return Seconds((time.process_time() - start) / count, (time.perf_counter() - clock) / count)


def measure_packing(folder: Path, output: Path) -> tuple[float, int]:
    """Pack a dataset; return the processor time of a photo in seconds, and how many shards there are."""
    start = time.process_time()
    index = pack(folder, output, shard_bytes=SHARD_BYTES)
    seconds = time.process_time() - start
    shards = [shard for split in index.splits.values() for shard in split]
    return seconds / sum(shard.count for shard in shards), len(shards)


def best_of_rounds(data_path: Path, work: Path, address: str) -> dict[str, Seconds]:
    """Measure every way in turn, each in a process of its own; return the best round of each."""
    best = dict.fromkeys(("files", *WAYS), Seconds(float("inf"), float("inf")))
    for number in range(ROUNDS):
        sources = {
            "files": None,
            "shards in a folder": ShardSource(str(work / "shards"), work / "unused", CACHE_BYTES, 2),
            "shards downloaded on the way": ShardSource(address, work / f"cache-{number}", CACHE_BYTES, 2),
            "shards in the cache": ShardSource(address, work / f"cache-{number}", CACHE_BYTES, 2),
        }
        for name, source in sources.items():
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                one = pool.submit(measure, data_path, source).result()
            best[name] = Seconds(min(best[name].processor, one.processor), min(best[name].clock, one.clock))
    return best


def main() -> int:
    """Measure, print one table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Samples from shards against samples from files, per core.")
    parser.add_argument("--data-path", type=Path, default=Path("data"), help="folder of the prepared dataset")
    data_path = parser.parse_args().data_path
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        packing, num_shards = measure_packing(data_path / DATASET_FOLDER, work / "shards")
        with web_server(work / "shards") as address:
            best = best_of_rounds(data_path, work, address)
    plain = best["files"]
    rows = [
        Row(
            f"sample at {SIZE} px, files | {name}",
            f"{1 / plain.processor:.0f}/s and core, {1 / plain.clock:.0f}/s",
            f"{1 / best[name].processor:.0f}/s and core, {1 / best[name].clock:.0f}/s",
            plain.processor / best[name].processor,
            f">= {target}",
            plain.processor / best[name].processor >= target,
        )
        for name, target in WAYS.items()
    ]
    title = f"Samples at {SIZE} px, one thread, {num_shards} shards; packing takes {packing * 1e3:.2f} ms a photo"
    return show(heading(title, PACKAGES), rows)


if __name__ == "__main__":
    raise SystemExit(main())
