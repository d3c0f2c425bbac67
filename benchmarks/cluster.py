"""Measures prediction on a Ray cluster of two nodes on this machine, one core each, with one worker and with two.

Every process of a node is kept to the node's core, as on a machine with no other; the command itself is not. Start-up
is told apart: loading Ray and the model is paid once a run, whatever the number of photos. Run it on a machine that
does nothing else:

    uv run python benchmarks/cluster.py --count 200
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import heading
from PIL import Image
from rich.console import Console

from clothseg.cluster.cluster import joined, set_environment
from clothseg.cluster.predict_command import Predict
from clothseg.cluster.search import find
from clothseg.prediction.outputs import Outputs

PACKAGES = ("ray", "openvino", "opencv-python-headless", "numpy")
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "before.jpg"
NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 200_000_000, "node_ip_address": "127.0.0.2"}


def draw(folder: Path, count: int) -> None:
    """Write photos of one size: parts of the drawn picture."""
    folder.mkdir()
    with Image.open(PICTURE) as whole:
        for number in range(count):
            left, top = number % 60, number * 7 % 120
            whole.crop((left, top, left + 400, top + 600)).save(folder / f"{number}.jpg", quality=90)


def measured(photos: Path, output: Path, workers: int) -> tuple[float, float]:
    """Return the seconds until the first photo is reported, and photos a second over the last three quarters."""
    command = Predict(
        (str(photos),), output=str(output), outputs=Outputs(json=True), engine="ray", workers=workers, precision="fp32"
    )
    found, _ = find([str(photos)], [], output=output)
    start = time.perf_counter()
    with command._opened(Console(stderr=True), found) as run:
        times = [time.perf_counter() - start for _ in run.reports(resume=False)]
    assert len(times) == len(found)
    quarter = len(times) // 4
    return times[0], (len(times) - 1 - quarter) / (times[-1] - times[quarter])


def files(folder: Path) -> dict[str, bytes]:
    """Return what was written, but for the journal."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".clothseg")}


def main() -> None:
    """Measure both, and print what they come to."""
    parser = argparse.ArgumentParser(description="Prediction on a cluster, with one worker and with two.")
    parser.add_argument("--count", type=int, default=200, help="how many photos")
    parser.add_argument("--rounds", type=int, default=2, help="times to measure each; the best counts")
    arguments = parser.parse_args()
    set_environment()
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    cores = sorted(os.sched_getaffinity(0))
    for core, options in zip(cores, ({"include_dashboard": False}, {}), strict=False):
        os.sched_setaffinity(0, {core})  # what is started now keeps to it
        cluster.add_node(**NODE, **options)
    os.sched_setaffinity(0, cores)
    rates: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    written = []
    try:
        with tempfile.TemporaryDirectory() as name, joined(cluster.address):
            photos = Path(name, "photos")
            draw(photos, arguments.count)
            for number in range(arguments.rounds):
                for workers, seen in rates.items():
                    output = Path(name, f"{workers}-{number}")
                    seen.append(measured(photos, output, workers))
                    written.append(files(output))
    finally:
        cluster.shutdown()
    print(heading(f"Prediction of {arguments.count} photos on two nodes, best of {arguments.rounds}", PACKAGES))
    for workers, seen in rates.items():
        start, rate = min(one for one, _ in seen), max(one for _, one in seen)
        print(f"{workers} worker{'s'[: workers - 1]}: first photo after {start:.1f} s, then {rate:.2f} photos a second")
    ratio = max(one for _, one in rates[2]) / max(one for _, one in rates[1])
    same = all(one == written[0] for one in written)
    print(
        f"ratio {ratio:.2f}; files {'the same' if same else 'DIFFERENT'}; load of the machine {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
