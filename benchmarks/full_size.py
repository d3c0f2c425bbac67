"""Runs every step on a dataset of Fashionpedia's size, made from a mirror, and prints the time and memory of each.

uv run python benchmarks/full_size.py --source MIRROR --folder DIR    (needs about 15 GB in DIR, which it deletes again)
Photos and outlines repeat those of the mirror; each photo has other quantisation tables, so no two have equal pixels.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preparation import encoded_pixels
from table import heading

from clothseg.data.imaterialist import COLUMNS
from clothseg.data.source import SPLITS, OfficialSplit

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"train": (45_623, 333_401), "val": (1_158, 8_781)}
"""Photos and instances. Source: Jia et al., Fashionpedia (ECCV 2020); the instances of val are as many per photo."""
TRAIN_SECONDS = 120
"""After which the training gets SIGTERM; it saves its checkpoint then."""
NETWORK = ("--architecture", "fpn", "--encoder-name", "resnet18", "--encoder-weights", "none", "--decoder-width", "0.5")


def varied(photo: bytes, number: int) -> bytes:
    """Return a JPEG with one low frequency of its first quantisation table changed, so that its pixels are others."""
    position = photo.index(b"\xff\xdb") + 5 + 1 + number % 9
    value = min(255, photo[position] + 1 + number // 9)
    return photo[:position] + bytes([value]) + photo[position + 1 :]


def write_split(mirror: Path, target: Path, split: OfficialSplit) -> None:
    """Write archive and annotation file of a split at full size, and the training split's rows of iMaterialist."""
    num_photos, num_instances = SIZES[split.name]
    content = json.loads((mirror / split.annotations).read_bytes())
    by_image = defaultdict(list)
    for one in content["annotations"]:
        by_image[one["image_id"]].append(one)
    for name in split.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
    rows_folder = target.with_name("kaggle")
    rows_folder.mkdir(exist_ok=True)
    texts: dict[int, str] = {}
    images: list[dict[str, Any]] = []
    written = 0
    with (
        zipfile.ZipFile(mirror / split.archive) as photos,
        zipfile.ZipFile(target / split.archive, "w") as archive,
        (target / split.annotations).open("w", encoding="utf-8") as stream,
        (rows_folder / f"{split.name}.csv").open("w", newline="", encoding="utf-8") as rows_stream,
    ):
        rows = csv.writer(rows_stream)
        rows.writerow(COLUMNS)
        stream.write(json.dumps({"categories": content["categories"]})[:-1] + ', "annotations": [')
        for number, image in zip(range(num_photos), itertools.cycle(content["images"]), strict=False):
            name = f"{number:06}.jpg"
            photo = photos.read(f"{split.photos}/{image['file_name']}")
            archive.writestr(f"{split.photos}/{name}", varied(photo, number // len(content["images"])))
            images.append({"id": number, "file_name": name, "height": image["height"], "width": image["width"]})
            own = by_image[image["id"]]
            count = (number + 1) * num_instances // num_photos - written if own else 0
            for one in itertools.islice(itertools.cycle(own), count):
                row = {**one, "id": written, "image_id": number}
                stream.write((", " if written else "") + json.dumps(row))
                written += 1
                size = image["height"], image["width"]
                text = texts.setdefault(one["id"], "") or encoded_pixels(one["segmentation"], *size)
                texts[one["id"]] = text
                rows.writerow([name, text, *size, one["category_id"]])
        stream.write(f'], "images": {json.dumps(images)}}}')
    (rows_folder / "label_descriptions.json").write_text(json.dumps({"categories": content["categories"]}))


def memory_of(pid: int) -> float:
    """Return the MB of memory that a process and its descendants hold now; what they share counts once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return 0.0
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3
    return own + sum(memory_of(int(child)) for child in children)


def run(title: str, command: Sequence[str | Path], folder: Path, *, seconds: float = float("inf")) -> None:
    """Run a command and print a row with its seconds, processor seconds, and the most memory of all its processes."""
    began, peak = time.monotonic(), 0.0
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=log, stderr=log)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.5)
            if time.monotonic() - began > seconds:
                os.kill(process.pid, signal.SIGTERM)
                seconds = float("inf")
    _, status, usage = ended
    seconds, code = time.monotonic() - began, os.waitstatus_to_exitcode(status)
    processor = usage.ru_utime + usage.ru_stime
    print(f"| {title} | {seconds:,.0f} s | {processor:,.0f} s | {peak:,.0f} MB | {code} |", flush=True)


def main() -> None:
    """Make the dataset, run the steps, and delete it."""
    parser = argparse.ArgumentParser(description="Every step at Fashionpedia's size.")
    parser.add_argument("--source", type=Path, required=True, help="folder of a mirror")
    parser.add_argument("--folder", type=Path, required=True, help="folder to work in; it must not exist")
    parser.add_argument("--share", type=float, default=1.0, help="of the photos and instances, to try this script")
    arguments = parser.parse_args()
    for name, (num_photos, num_instances) in SIZES.items():
        SIZES[name] = int(num_photos * arguments.share), int(num_instances * arguments.share)
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True)
    try:
        for split in SPLITS:
            write_split(arguments.source, folder / "mirror", split)
        print(heading("Full size", ("torch", "msgspec", "pycocotools")))
        print("| step | time | processor time | peak memory | exit code |\n| :--- | ---: | ---: | ---: | ---: |")
        python, cli = sys.executable, [sys.executable, "-m", "clothseg.cli"]
        run("prepare", [python, ROOT / "data_prep.py", "--source", "mirror"], folder)
        run("preview and card", [*cli, "preview"], folder)
        small = [*NETWORK, "--img-size", "128", "--batch-size", "32", "--epochs", "1"]
        run("train, part of an epoch", [*cli, "train", *small], folder, seconds=TRAIN_SECONDS)
        run("evaluate", [*cli, "evaluate", "checkpoints/last.ckpt"], folder)
        run("verify", [*cli, "verify"], folder)
        rows = ["--annotations-train", "kaggle/train.csv", "--photos-train", "data/fashionist/train"]
        rows += ["--annotations-val", "kaggle/val.csv", "--photos-val", "data/fashionist/test"]
        run("prepare, rows of iMaterialist", [python, ROOT / "data_prep.py", *rows, "--data-path", "rows"], folder)
    finally:
        print((folder / "log.txt").read_text(errors="replace")[-6000:], file=sys.stderr)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
