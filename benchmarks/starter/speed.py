"""Measures how long a model takes on this machine: a photo with a loaded model, and the whole command.

    uv run python benchmarks/starter/speed.py MODEL

The photos are drawn by our own generator, 720 x 480 pixels. Writes results/speed.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from results import RESULTS, ROOT

import clothseg
from clothseg.data.sample import sample_picture
from clothseg.encoding import encode_jpeg
from clothseg.errors import SettingError
from clothseg.pictures import write_whole

sys.path.insert(0, str(Path(__file__).parents[1]))
from table import heading


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Return the median time of `work`, after one run that does not count."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(taken), 1)


def rows(model: Path, times: int) -> list[dict[str, Any]]:
    """Return what was measured: a photo as JPEG in, its mask out; then the whole command."""
    photo = encode_jpeg(sample_picture(), 90)
    found: list[dict[str, Any]] = []
    for precision in ("fp32", "bf16"):
        try:
            predictor = clothseg.load(model, precision=precision)
        except SettingError as error:  # no bfloat16 here
            found.append({"what": f"a photo, {precision}", "milliseconds": None, "reason": str(error)})
            continue
        taken = milliseconds(partial(predictor.predict, photo), times)
        found.append({"what": f"a photo, model loaded, {predictor.runtime_name}", "milliseconds": taken})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(photo)
        words = ["infer.py", str(path), "--ckpt", str(model.resolve()), "--output", f"{folder}/output"]

        def run() -> None:
            subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)

        taken = milliseconds(run, max(3, times // 5))
        found.append({"what": "the whole command infer.py on one photo, from a cold start", "milliseconds": taken})
    return found


def main() -> int:
    """Write results/speed.json."""
    parser = argparse.ArgumentParser(description="Measure how long a model takes on this machine.")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--times", type=int, default=30, help="runs of which the median counts")
    parser.add_argument("--note", default="", help="what else ran on the machine at the same time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    arguments = parser.parse_args()
    path = arguments.model.resolve()
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    _, machine, _ = heading("", ("openvino", "numpy", "opencv-python-headless")).splitlines()
    values = {
        "command": f"uv run python benchmarks/starter/speed.py {shown}",
        "machine": machine,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "note": arguments.note,
        "sha256": clothseg.load(arguments.model).model["sha256"],
        "photo": "720 x 480 pixels, JPEG",
        "times": arguments.times,
        "rows": rows(arguments.model, arguments.times),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / "speed.json"
    write_whole(target, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
    for row in values["rows"]:
        print(f"{row['what']}: {row['milliseconds']} ms")
    print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
