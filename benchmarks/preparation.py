"""Measures painting masks and opening annotation files against the plain way, in the same run.

Run it on a prepared dataset: uv run python benchmarks/preparation.py --data-path data
Opening is measured on a file of 600 MB that is written for it when asked: add --large-file
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from table import Row, heading, show

from clothseg.data.annotations import open_annotations
from clothseg.data.imaterialist import COLUMNS, write_coco
from clothseg.data.links import PhotoNames
from clothseg.data.manifest import DATASET_FOLDER, Manifest, names_by_stem
from clothseg.data.painting import paint_group
from clothseg.data.processes import GROUP_SIZE
from clothseg.data.records import PhotoTask, check_records
from clothseg.data.source import VAL, local_path
from clothseg.errors import ClothsegError
from clothseg.pictures import PHOTO_SUFFIXES

ROUNDS = 5
MEMORY_DISK = Path("/dev/shm")
"""Where masks are written if it is there: the disk is the same for both ways and would only blur the ratio."""
LARGE_BYTES = 600_000_000
PACKAGES = ("pycocotools", "opencv-python-headless", "numpy", "msgspec", "isal")


def plain_masks(annotations: Path, folder: Path, target: Path) -> Callable[[], int]:
    """Return the plain way: `annToMask` for each instance, boolean painting, `cv2.imwrite`."""
    content = json.loads(annotations.read_bytes())
    classes = Manifest.read(folder).classes
    class_ids = {row["id"]: classes.id_for_category(row["name"], row["supercategory"]) for row in content["categories"]}
    by_image = defaultdict(list)
    for one in content["annotations"]:
        by_image[one["image_id"]].append(one)

    def paint() -> int:
        for image in content["images"]:
            height, width = image["height"], image["width"]
            mask = np.zeros((height, width), dtype=np.uint8)
            for one in sorted(by_image[image["id"]], key=lambda one: -one["area"]):
                mask[annotation_to_mask(one["segmentation"], height, width) == 1] = class_ids[one["category_id"]]
            cv2.imwrite(str(target / f"{Path(image['file_name']).stem}.png"), mask)
        return len(content["images"])

    return paint


def annotation_to_mask(segmentation: Any, height: int, width: int) -> Any:
    """Return (height, width) 0 or 1, as `COCO.annToMask` does."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation)


def encoded_pixels(segmentation: Any, height: int, width: int) -> str:
    """Return an outline as iMaterialist's pairs of start and length."""
    mask = annotation_to_mask(segmentation, height, width).ravel("F")
    edges = np.flatnonzero(np.diff(mask, prepend=0, append=0).astype(np.int8))
    return " ".join(f"{start + 1} {end - start}" for start, end in edges.reshape(-1, 2).tolist())


def tasks_of(folder: Path, annotations: Path | None = None) -> tuple[list[PhotoTask], Path, int]:
    """Return the photos of the validation split to paint, their folder and the number of classes."""
    manifest = Manifest.read(folder)
    split = manifest.splits["val"]
    file = open_annotations(annotations or local_path(folder, VAL.annotations))
    photos = PhotoNames(names_by_stem(folder / split.photos, PHOTO_SUFFIXES), folder / split.photos)
    tasks = check_records(file, manifest.classes, photos, strict_categories=False).tasks
    return tasks, folder / split.photos, len(manifest.classes)


def measure_painting(way: str, folder: Path, target: Path) -> float:
    """Return the seconds of processor time per mask on one core; waiting for other programs does not count."""
    cv2.setNumThreads(1)
    if way == "plain":
        paint = plain_masks(local_path(folder, VAL.annotations), folder, target)
    else:
        tasks, photos, num_classes = tasks_of(folder)

        def paint() -> int:
            for first in range(0, len(tasks), GROUP_SIZE):
                paint_group(photos, target, num_classes, tasks[first : first + GROUP_SIZE])
            return len(tasks)

    best = float("inf")
    for _ in range(3):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        began = time.process_time()
        count = paint()
        best = min(best, (time.process_time() - began) / count)
    return best


def write_rows(folder: Path, target: Path) -> None:
    """Write the validation annotations as iMaterialist's rows, with their labels beside them."""
    content = json.loads(local_path(folder, VAL.annotations).read_bytes())
    images = {image["id"]: image for image in content["images"]}
    with (target / "train.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(COLUMNS)
        for one in content["annotations"]:
            image, outline = images[one["image_id"]], one["segmentation"]
            size = image["height"], image["width"]
            rows.writerow([image["file_name"], encoded_pixels(outline, *size), *size, one["category_id"]])
    (target / "label_descriptions.json").write_text(json.dumps({"categories": content["categories"]}), encoding="utf-8")


def measure_rows(way: str, folder: Path, target: Path) -> float:
    """Return the seconds of processor time per photo from annotations to masks: official (`plain`) or as rows."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        if way == "ours":
            write_coco(target / "train.csv", target / "instances.json", progress=lambda done, total: None)
        tasks, photos, num_classes = tasks_of(folder, target / "instances.json" if way == "ours" else None)
        for first in range(0, len(tasks), GROUP_SIZE):
            paint_group(photos, target, num_classes, tasks[first : first + GROUP_SIZE])
        best = min(best, (time.process_time() - began) / len(tasks))
    return best


def measure_opening(way: str, path: Path) -> tuple[float, float]:
    """Return the seconds for opening an annotation file, and by how many MB this process grew."""
    before = peak_memory()
    began = time.perf_counter()
    content = open_annotations(path) if way == "ours" else json.loads(path.read_bytes())
    seconds = time.perf_counter() - began
    assert content
    return seconds, peak_memory() - before


def peak_memory() -> float:
    """Return the most MB of memory that this process ever held."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def write_large_file(path: Path, source: Path) -> None:
    """Write an annotation file of 600 MB by repeating the records of a real one under new ids."""
    content = json.loads(source.read_bytes())
    images: list[dict[str, Any]] = []
    size = 0
    head = json.dumps({"info": {}, "licenses": [], "categories": content["categories"]})[:-1]
    with path.open("w", encoding="utf-8") as stream:
        stream.write(head + ', "annotations": [')
        copy = 0
        while size < LARGE_BYTES:
            for one in content["annotations"]:
                number = len(content["annotations"]) * copy + one["id"]
                row = one | {"id": number, "image_id": copy * 10**6 + one["image_id"]}
                size += stream.write(("" if size == 0 else ", ") + json.dumps(row))
            images += [
                one | {"id": copy * 10**6 + one["id"], "file_name": f"{copy}_{one['file_name']}"}
                for one in content["images"]
            ]
            copy += 1
        stream.write(f'], "images": {json.dumps(images)}}}')


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, so that no measurement sees what another left behind."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def painting_row(folder: Path, scratch: Path) -> Row:
    """Compare painting on one core."""
    best = {"plain": float("inf"), "ours": float("inf")}
    for _ in range(ROUNDS):
        for way in best:
            best[way] = min(best[way], in_process(measure_painting, way, folder, scratch / way))
    ratio = best["plain"] / best["ours"]
    texts = {way: f"{seconds * 1e3:.2f} ms, {1 / seconds:.0f}/s" for way, seconds in best.items()}
    return Row("mask of a photo, one core", texts["plain"], texts["ours"], ratio, ">= 5", ratio >= 5)


def rows_row(folder: Path, scratch: Path) -> Row:
    """Compare iMaterialist's rows with the official annotation file of the same instances."""
    write_rows(folder, scratch)
    seconds = {way: in_process(measure_rows, way, folder, scratch) for way in ("plain", "ours")}
    ratio = seconds["plain"] / seconds["ours"]
    texts = {way: f"{value * 1e3:.2f} ms" for way, value in seconds.items()}
    return Row(
        "photo, annotations to mask: official | rows of iMaterialist", *texts.values(), ratio, ">= 0.8", ratio >= 0.8
    )


def opening_row(path: Path) -> Row:
    """Compare opening an annotation file with `json.loads`."""
    found = {way: in_process(measure_opening, way, path) for way in ("plain", "ours")}
    texts = {way: f"{seconds:.2f} s, +{megabytes:,.0f} MB" for way, (seconds, megabytes) in found.items()}
    ratio = found["plain"][0] / found["ours"][0]
    is_met = ratio >= 10 and found["ours"][1] < 1000
    name = f"annotation file of {path.stat().st_size / 1e6:.0f} MB"
    return Row(name, texts["plain"], texts["ours"], ratio, ">= 10, < 1 GB", is_met)


def rows(folder: Path, *, large_file: bool) -> list[Row]:
    """Measure everything; with `large_file` also opening a file of 600 MB, which is written for it."""
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as name:
        measured = [painting_row(folder, Path(name)), rows_row(folder, Path(name))]
    if large_file:
        with tempfile.TemporaryDirectory() as name:
            large = Path(name, "large.json")
            write_large_file(large, local_path(folder, VAL.annotations))
            measured.append(opening_row(large))
    return measured


def main() -> int:
    """Measure, print one table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Preparation of data against the plain way.")
    parser.add_argument("--data-path", type=Path, default=Path("data"), help="folder of a prepared Fashionpedia mirror")
    parser.add_argument("--large-file", action="store_true", help="also open an annotation file of 600 MB")
    arguments = parser.parse_args()
    try:
        measured = rows(arguments.data_path / DATASET_FOLDER, large_file=arguments.large_file)
    except ClothsegError as error:
        raise SystemExit(f"Error: {error}") from error
    return show(heading("Preparing data", PACKAGES), measured)


if __name__ == "__main__":
    raise SystemExit(main())
