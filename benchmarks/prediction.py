"""Measures prediction against the plain way: same weights, same photos, same kinds of output, in turns in one run.

The plain way is what one would write first: torch in fp32, Pillow to resize, softmax, an argmax enlarged by repeating
pixels, an encoded mask per class by pycocotools, Pillow to draw and write. Ours also enlarges logits, so that edges are
smooth, and works out scores at the photo's size.

Run it on a checkpoint, its export and a folder of photos:

    uv run clothseg export checkpoints/last.ckpt --output model.onnx
    uv run python benchmarks/prediction.py --ckpt checkpoints/last.ckpt --model model.onnx --photos data/fashionist/test
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless", "pycocotools", "pillow", "numpy")
CONTENT_PHOTOS = 8
"""Photos whose logits are kept for the row without the network."""


class PlainWay:
    """Prediction as one would write it first."""

    def __init__(self, checkpoint: Path) -> None:
        import torch

        from clothseg.model.checkpoint import load_checkpoint

        self.torch = torch
        self.description, self.network = load_checkpoint(checkpoint)
        self.names, self.palette = self.description.classes.names, self.description.classes.palette

    def logits(self, photo: Image.Image) -> Any:
        """Return (C, h, w) logits of the photo inside its padding."""
        size = self.description.image_size
        scale = size / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        canvas = Image.new("RGB", (-(-width // 32) * 32, -(-height // 32) * 32), self.description.normalization.fill)
        canvas.paste(photo.resize((width, height), Image.Resampling.BILINEAR))
        pixels = self.torch.from_numpy(np.array(canvas)).permute(2, 0, 1)[None]
        with self.torch.inference_mode():
            return self.network(pixels)[0, :, :height, :width]

    def outputs(self, photo: Image.Image, logits: Any, stem: Path) -> Any:
        """Write mask, overlay with legend and JSON; return the mask."""
        from pycocotools import mask as coco

        probabilities = self.torch.softmax(logits, dim=0)
        small = probabilities.argmax(dim=0).to(self.torch.uint8).numpy()
        mask = np.array(Image.fromarray(small).resize(photo.size, Image.Resampling.NEAREST))
        indexed = Image.fromarray(mask, mode="L")
        indexed.putpalette(self.palette.ravel().tolist())
        indexed.save(f"{stem}_mask.png")
        pixels = np.array(photo)
        blended = np.where((mask > 0)[..., None], 0.5 * pixels + 0.5 * self.palette[mask], pixels).astype(np.uint8)
        shown = [class_id for class_id in np.unique(mask).tolist() if class_id]
        picture = Image.new("RGB", (photo.width + 200, photo.height), "white")
        picture.paste(Image.fromarray(blended))
        pen = ImageDraw.Draw(picture)
        for row, class_id in enumerate(shown):
            top = 10 + 24 * row
            color = tuple(self.palette[class_id].tolist())
            pen.rectangle((photo.width + 10, top, photo.width + 30, top + 16), fill=color)
            pen.text((photo.width + 36, top), f"{self.names[class_id]} {(mask == class_id).mean():.1%}", fill="black")
        picture.save(f"{stem}_overlay.jpg", quality=90)
        segments = []
        for class_id in shown:
            inside = mask == class_id
            rle = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
            score = float(probabilities[class_id].numpy()[small == class_id].mean())
            box = coco.toBbox(rle).tolist()
            rle["counts"] = rle["counts"].decode()
            entry = {"class_id": class_id, "label": self.names[class_id], "rle": rle, "area": int(inside.sum())}
            segments.append(entry | {"bbox": box, "score": score})
        Path(f"{stem}_results.json").write_text(json.dumps({"file": stem.name, "segments": segments}))
        return mask

    def predict(self, path: Path, output: Path) -> Any:
        """Photo in, files out; return the mask."""
        photo = Image.open(path).convert("RGB")
        return self.outputs(photo, self.logits(photo), output / path.stem)


@cache
def plain_way(checkpoint: Path) -> PlainWay:
    """Return the plain way with its model loaded, once in a process."""
    return PlainWay(checkpoint)


@cache
def predictor(model: Path, precision: str) -> Any:
    """Return our way with its model loaded, once in a process."""
    import clothseg

    return clothseg.load(model, precision=precision)


def plain_photos(arguments: argparse.Namespace, photos: list[Path], output: Path) -> None:
    """Predict photos one after the other in the plain way."""
    for path in photos:
        plain_way(arguments.ckpt).predict(path, output)


def our_photos(arguments: argparse.Namespace, photos: list[Path], output: Path, *, precision: str) -> None:
    """Predict photos one after the other with a loaded predictor."""
    for path in photos:
        predictor(arguments.model, precision).predict(path).save(output, json=True)


def our_folder(arguments: argparse.Namespace, photos: list[Path], output: Path, *, precision: str) -> None:
    """Predict photos as the command does with a folder."""
    from clothseg.prediction.folder import FolderRun
    from clothseg.prediction.outputs.options import Outputs
    from clothseg.prediction.sources import find_photos

    found = find_photos(photos, output=output).photos
    for _ in FolderRun(predictor(arguments.model, precision), found, output, Outputs(json=True)).reports():
        pass


def plain_contents(arguments: argparse.Namespace, photos: list[Path], output: Path) -> None:
    """Logits to files in the plain way."""
    way = plain_way(arguments.ckpt)
    for path, photo, _, logits in kept_logits(arguments, tuple(photos[:CONTENT_PHOTOS])):
        way.outputs(Image.fromarray(photo), way.torch.from_numpy(logits), output / path.stem)


def our_contents(arguments: argparse.Namespace, photos: list[Path], output: Path) -> None:
    """Logits to files in our way."""
    from clothseg.prediction.segmentation import Segmentation
    from clothseg.transforms import logits_to_mask

    for path, photo, classes, logits in kept_logits(arguments, tuple(photos[:CONTENT_PHOTOS])):
        mask = logits_to_mask(logits, photo.shape[:2])
        Segmentation(mask, photo, classes, logits, file=path.name).save(output, json=True)


@cache
def _kept(ckpt: Path, photos: tuple[Path, ...]) -> list[tuple[Path, Any, Any, Any]]:
    way = plain_way(ckpt)
    opened = [(path, Image.open(path).convert("RGB")) for path in photos]
    classes = way.description.classes
    return [(path, np.array(photo), classes, way.logits(photo).contiguous().numpy()) for path, photo in opened]


def kept_logits(arguments: argparse.Namespace, photos: tuple[Path, ...]) -> list[tuple[Path, Any, Any, Any]]:
    """Return path, pixels, classes and logits of photos, worked out once in a process."""
    return _kept(arguments.ckpt, photos)


def timed(
    way: Callable[..., None], arguments: argparse.Namespace, photos: list[Path], options: dict[str, Any]
) -> float:
    """Return the seconds a way takes for all photos once its model is loaded and warm."""
    output = Path(tempfile.mkdtemp())
    try:
        way(arguments, photos[:3], output, **options)
        start = time.perf_counter()
        way(arguments, photos, output, **options)
        return time.perf_counter() - start
    finally:
        shutil.rmtree(output)


def in_turns(arguments: argparse.Namespace, photos: list[Path], ways: dict[str, Any]) -> dict[str, float]:
    """Return the least seconds of each way; each has a process of its own, and rounds alternate between them."""
    context = get_context("spawn")
    pools = {name: ProcessPoolExecutor(1, mp_context=context) for name in ways}
    best = dict.fromkeys(ways, float("inf"))
    try:
        for _ in range(arguments.rounds):
            for name, (way, options) in ways.items():
                best[name] = min(best[name], pools[name].submit(timed, way, arguments, photos, options).result())
    finally:
        for pool in pools.values():
            pool.shutdown()
    return best


# A process starts with its parent's peak as its own, so a small one in between starts the command and tells.
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - start, usage.ru_maxrss]))
"""


def command(words: list[str]) -> tuple[float, float]:
    """Run a command of this Python; return its seconds and its peak memory in MB."""
    launcher = [sys.executable, "-S", "-c", LAUNCHER, sys.executable, *words]
    done = subprocess.run(launcher, capture_output=True, text=True, check=True)
    code, seconds, peak = json.loads(done.stdout)
    if code:
        raise SystemExit(f"Error: {' '.join(words)} left with {code}: {done.stderr}")
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def commands(arguments: argparse.Namespace, photo: Path) -> dict[str, tuple[float, float]]:
    """Return least seconds and memory of predicting one photo from a cold start, each way."""
    with tempfile.TemporaryDirectory() as output:
        plain = [__file__, "--ckpt", str(arguments.ckpt), "--photos", str(photo), "--plain-into", output]
        ours = [
            "-m",
            "clothseg.cli",
            "predict",
            str(photo),
            "--ckpt",
            str(arguments.model),
            "--output",
            output,
            "--json",
        ]
        ways = {"plain": plain, **{name: [*ours, "--precision", name] for name in precisions(arguments)}}
        best = {name: (float("inf"), 0.0) for name in ways}
        for _ in range(arguments.rounds):
            for name, words in ways.items():
                seconds, memory = command(words)
                best[name] = min(best[name][0], seconds), max(best[name][1], memory)
    return best


@cache
def _precisions(model: Path) -> tuple[str, ...]:
    from clothseg.errors import SettingError

    try:
        predictor(model, "bf16")
    except SettingError:
        return ("fp32",)
    return "fp32", "bf16"


def precisions(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the precisions that the model's runtime has here."""
    return _precisions(arguments.model)


def agreement(arguments: argparse.Namespace, photos: list[Path], precision: str) -> float:
    """Return the share of pixels on which ours and the plain mask agree."""
    way = plain_way(arguments.ckpt)
    with tempfile.TemporaryDirectory() as output:
        shares = [
            (way.predict(path, Path(output)) == predictor(arguments.model, precision).predict(path).mask).mean()
            for path in photos[:CONTENT_PHOTOS]
        ]
    return float(np.mean(shares))


def rows(arguments: argparse.Namespace, photos: list[Path]) -> Iterator[tuple[str, str, str, float, str]]:
    """Yield what is measured, the plain figure, ours, the ratio and what is aimed at."""
    cold = commands(arguments, photos[0])
    for name in precisions(arguments):
        ratio = cold["plain"][0] / cold[name][0]
        yield f"one photo, whole command, {name}", f"{cold['plain'][0]:.2f} s", f"{cold[name][0]:.2f} s", ratio, ">= 6"
    memory = cold["plain"][1], cold["fp32"][1]
    yield "its peak memory, fp32", f"{memory[0]:.0f} MB", f"{memory[1]:.0f} MB", memory[0] / memory[1], "< 500 MB"
    ways: dict[str, Any] = {"plain": (plain_photos, {})}
    for name in precisions(arguments):
        ways |= {f"loop {name}": (our_photos, {"precision": name}), f"folder {name}": (our_folder, {"precision": name})}
    best = {name: seconds / len(photos) for name, seconds in in_turns(arguments, photos, ways).items()}

    def row(what: str, plain: str, ours: str, target: str) -> tuple[str, str, str, float, str]:
        return what, f"{best[plain] * 1e3:.1f} ms", f"{best[ours] * 1e3:.1f} ms", best[plain] / best[ours], target

    for name in precisions(arguments):
        yield row(f"a photo, model loaded, {name}", "plain", f"loop {name}", ">= 2" if name == "fp32" else ">= 6")
        many = f"folder of {len(photos)}, {name}"
        yield row(f"{many}: loop of predict and save | pipeline", f"loop {name}", f"folder {name}", ">= 1.5")
        yield row(f"{many}: plain loop | pipeline", "plain", f"folder {name}", "")
    some = photos[:CONTENT_PHOTOS]
    best = in_turns(arguments, some, {"plain": (plain_contents, {}), "ours": (our_contents, {})})
    best = {name: seconds / len(some) for name, seconds in best.items()}
    yield row("logits to mask, codes and files", "plain", "ours", ">= 5")


def heading(arguments: argparse.Namespace, photos: list[Path]) -> str:
    """Return models, machine, versions, commit and date in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()
    way = plain_way(arguments.ckpt).description
    agree = ", ".join(f"{name} {agreement(arguments, photos, name):.2%}" for name in precisions(arguments))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Prediction with {way.architecture} {way.encoder_name} at {way.image_size} px, {len(photos)} photos, "
        f"best of {arguments.rounds}; unasked, ours takes {predictor(arguments.model, 'auto').runtime_name}\n"
        f"{names[0] if names else platform.machine()}, {cores} cores, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in PACKAGES)}\n"
        f"commit {commit or 'unknown'}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}; "
        f"pixels that agree: {agree}"
    )


def main() -> int:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description="Prediction against the plain way, side by side.")
    parser.add_argument("--ckpt", type=Path, required=True, help="checkpoint for the plain way")
    parser.add_argument(
        "--model", type=Path, help="model file for ours, such as an export; the checkpoint itself if none"
    )
    parser.add_argument("--photos", type=Path, default=Path("data/fashionist/test"), help="folder of JPEGs")
    parser.add_argument("--count", type=int, default=200, help="how many of them to take")
    parser.add_argument("--rounds", type=int, default=3, help="times to measure each; the best counts")
    parser.add_argument("--plain-into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.model = arguments.model or arguments.ckpt
    if arguments.plain_into:
        plain_photos(arguments, [arguments.photos], arguments.plain_into)
        return 0
    photos = sorted(arguments.photos.glob("*.jpg"))[: arguments.count]
    if not photos:
        raise SystemExit(f"Error: no .jpg in {arguments.photos}. Pass --photos FOLDER")
    table = Table("what", "plain", "ours", "times", "aim", title=heading(arguments, photos), title_justify="left")
    for what, plain, ours, ratio, aim in rows(arguments, photos):
        table.add_row(what, plain, ours, f"{ratio:.1f}", aim)
    Console(width=max(130, Console().width)).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
