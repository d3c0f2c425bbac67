"""Measures prediction against the plain way: same weights, photos and kinds of output, alternately in one run.

`plain_prediction.py` is what one would write first. Ours also enlarges logits, so that edges are smooth.

Run it on a trained checkpoint, its export and a folder of photos, on a machine that does nothing else:

    uv run clothseg export checkpoints/last.ckpt --output model.onnx
    uv run python benchmarks/prediction.py --ckpt checkpoints/last.ckpt --model model.onnx --photos data/fashionist/test
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from plain_prediction import plain_way
from table import Row, heading, processor, show

PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless", "pycocotools", "pillow", "numpy")
CONTENT_PHOTOS = 8
"""Photos whose logits are kept for the row without the network."""
CONTENT_ROUNDS = 5
"""Times as many rounds for that row: it takes so little that other programs disturb it most."""


class Way(NamedTuple):
    """One way of predicting."""

    run: Callable[[Way, Sequence[Path], Path], None]
    """Predicts photos into a folder."""
    ckpt: Path
    model: Path
    precision: str = "fp32"


@cache
def predictor(model: Path, precision: str, *, many_photos: bool = False) -> Any:
    """Return our predictor with its model loaded, once in a process."""
    import clothseg

    return clothseg.load(model, precision=precision, many_photos=many_photos)


def plain_photos(way: Way, photos: Sequence[Path], output: Path) -> None:
    """Predict photos one after the other in the plain way."""
    for path in photos:
        plain_way(way.ckpt).predict(path, output)


def our_photos(way: Way, photos: Sequence[Path], output: Path) -> None:
    """Predict photos one after the other with a loaded predictor."""
    for path in photos:
        predictor(way.model, way.precision).predict(path).save(output, json=True)


def our_folder(way: Way, photos: Sequence[Path], output: Path) -> None:
    """Predict photos as the command does with a folder."""
    from clothseg.prediction.folder import FolderRun
    from clothseg.prediction.outputs import Outputs
    from clothseg.prediction.sources import find_photos

    found = find_photos(photos, output=output).photos
    loaded = predictor(way.model, way.precision, many_photos=True)
    for _ in FolderRun(loaded, found, output, Outputs(json=True)).outcomes():
        pass


def plain_contents(way: Way, photos: Sequence[Path], output: Path) -> None:
    """Logits to files in the plain way."""
    plain = plain_way(way.ckpt)
    for path, photo, logits in kept_logits(way.ckpt, tuple(photos)):
        plain.outputs(Image.fromarray(photo), plain.torch.from_numpy(logits), output / path.stem)


def our_contents(way: Way, photos: Sequence[Path], output: Path) -> None:
    """Logits to files in our way."""
    from clothseg.prediction.segmentation import Segmentation
    from clothseg.transforms import logits_to_mask

    classes = plain_way(way.ckpt).description.classes
    for path, photo, logits in kept_logits(way.ckpt, tuple(photos)):
        mask = logits_to_mask(logits, photo.shape[:2])
        Segmentation(mask, photo, classes, logits, file=path.name).save(output, json=True)


@cache
def kept_logits(ckpt: Path, photos: tuple[Path, ...]) -> list[tuple[Path, Any, Any]]:
    """Return path, pixels and logits of photos, computed once in a process."""
    opened = [(path, Image.open(path).convert("RGB")) for path in photos]
    return [(path, np.array(photo), plain_way(ckpt).logits(photo).contiguous().numpy()) for path, photo in opened]


def timed(way: Way, photos: Sequence[Path]) -> float:
    """Return the seconds a way takes for all photos once its model is loaded and warm, into an empty folder."""
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as output:
        way.run(way, photos[:3], Path(warm))
        start = time.perf_counter()
        way.run(way, photos, Path(output))
        return time.perf_counter() - start


def alternately(ways: dict[str, Way], photos: Sequence[Path], rounds: int) -> dict[str, float]:
    """Return the least seconds a photo of each way; each has its own process, and rounds alternate between them."""
    best = dict.fromkeys(ways, float("inf"))
    with ExitStack() as stack:
        context = get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                best[name] = min(best[name], pools[name].submit(timed, way, photos).result() / len(photos))
    return best


# A process starts with its parent's peak memory, so a small process in between starts the command and measures it.
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
seconds = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), *seconds, usage.ru_maxrss]))
"""


IMPORTS = ["-c", "import numpy, cv2, openvino"]
"""What the processor time of a cold start is compared with."""


def command(words: Sequence[str]) -> tuple[float, float, float]:
    """Run a command; return its wall-clock and its processor seconds and its peak memory in MB."""
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *words]
    done = subprocess.run(launcher, capture_output=True, text=True, check=True)
    code, seconds, processor_seconds, peak = json.loads(done.stdout)
    if code:
        raise SystemExit(f"Error: {' '.join(words)[:200]} left with {code}: {done.stderr[-500:]}")
    return seconds, processor_seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def commands(arguments: argparse.Namespace, photo: Path, precisions: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return least wall-clock and processor seconds, and memory, of predicting a photo from a cold start, each way."""
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
        ways = {"plain": plain, "imports": IMPORTS, "default": ours}
        ways |= {name: [*ours, "--precision", name] for name in precisions}
        best: dict[str, tuple[float, ...]] = {name: (float("inf"), float("inf"), 0.0) for name in ways}
        for _ in range(arguments.rounds):
            for name, words in ways.items():
                seconds, processor_seconds, memory = command([sys.executable, *words])
                before = best[name]
                best[name] = min(before[0], seconds), min(before[1], processor_seconds), max(before[2], memory)
    return best


def precisions_of(model: Path) -> tuple[str, ...]:
    """Return the precisions that the model and its runtime have here."""
    from clothseg.errors import SettingError

    found = ["fp32"]
    for precision in ("bf16", "int8"):
        with suppress(SettingError):
            predictor(model, precision)
            found.append(precision)
    return tuple(found)


def agreement(arguments: argparse.Namespace, photos: Sequence[Path], precision: str) -> float:
    """Return the share of pixels on which ours and the plain mask agree."""
    plain, ours = plain_way(arguments.ckpt), predictor(arguments.model, precision)
    with tempfile.TemporaryDirectory() as output:
        return float(
            np.mean([(plain.predict(path, Path(output)) == ours.predict(path).mask).mean() for path in photos])
        )


def compared(step: str, plain: float, ours: float, least: float, *, unit: str = "ms", note: str = "") -> Row:
    """Return a row of two durations in seconds, with the ratio that is aimed at; 0 aims at none."""
    scale, digits = (1e3, 1) if unit == "ms" else (1, 2)
    shown = [f"{scale * seconds:.{digits}f} {unit}" for seconds in (plain, ours)]
    ratio = plain / ours
    return Row(step, *shown, ratio, f">= {least:g}{note}" if least else "", ratio >= least or bool(note))


def rows(arguments: argparse.Namespace, photos: Sequence[Path], precisions: Sequence[str]) -> Iterator[Row]:
    """Measure and yield every row."""
    cold = commands(arguments, photos[0], precisions)
    for name in precisions:
        yield compared(f"one photo, whole command, {name}", cold["plain"][0], cold[name][0], 6, unit="s")
    imports, ours = cold["imports"][1], cold["default"][1]
    shown = [f"{1e3 * one:.0f} ms" for one in (imports, ours)]
    yield Row("imports alone | one photo: processor time", *shown, ours / imports, "<= 1.8", ours <= 1.8 * imports)
    memory = cold["plain"][2], cold["default"][2]
    shown = [f"{one:.0f} MB" for one in memory]
    yield Row("its peak memory", *shown, memory[0] / memory[1], "< 500 MB", memory[1] < 500)
    files = arguments.ckpt, arguments.model
    ways = {"plain": Way(plain_photos, *files)}
    for name in precisions:
        ways |= {f"loop {name}": Way(our_photos, *files, name), f"folder {name}": Way(our_folder, *files, name)}
    best = alternately(ways, photos, arguments.rounds)
    for name in precisions:
        loop, folder = best[f"loop {name}"], best[f"folder {name}"]
        note = " with AMX" if name == "bf16" and "amx" not in processor() else ""
        yield compared(f"a photo, model loaded, {name}", best["plain"], loop, 6 if name == "bf16" else 2, note=note)
        many = f"a photo of {len(photos)}, {name}"
        yield compared(f"{many}: our loop of predict and save | folder", loop, folder, 1.5)
        yield compared(f"{many}: plain loop | folder", best["plain"], folder, 0)
    contents = {"plain": Way(plain_contents, *files), "ours": Way(our_contents, *files)}
    best = alternately(contents, photos[:CONTENT_PHOTOS], CONTENT_ROUNDS * arguments.rounds)
    yield compared("logits to mask, codes and files", best["plain"], best["ours"], 5)


def enlarged(photos: list[Path], times: int, folder: Path) -> list[Path]:
    """Return copies of photos in `folder` with sides `times` as long."""
    for path in photos:
        with Image.open(path) as photo:
            larger = photo.convert("RGB").resize((photo.width * times, photo.height * times), Image.Resampling.BICUBIC)
            larger.save(folder / path.name, quality=92)
    return [folder / path.name for path in photos]


def title(arguments: argparse.Namespace, photos: Sequence[Path], precisions: Sequence[str]) -> str:
    """Return what is measured, and how far the masks agree."""
    model = plain_way(arguments.ckpt).description
    with Image.open(photos[0]) as photo:
        size = f"{photo.width} x {photo.height}"
    agree = ", ".join(f"{name} {agreement(arguments, photos[:CONTENT_PHOTOS], name):.2%}" for name in precisions)
    return (
        f"Prediction with {model.architecture} {model.encoder_name} at {model.image_size} px, {len(photos)} photos of "
        f"about {size}, best of {arguments.rounds}; pixels that agree with the plain mask: {agree}; by default, ours "
        f"takes {predictor(arguments.model, 'auto').runtime_name}"
    )


def main() -> int:
    """Measure, print one table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Prediction against the plain way, side by side.")
    parser.add_argument("--ckpt", type=Path, required=True, help="checkpoint for the plain way")
    parser.add_argument(
        "--model", type=Path, help="model file for ours, such as an export, or starter; else the checkpoint"
    )
    parser.add_argument("--photos", type=Path, default=Path("data/fashionist/test"), help="folder of JPEGs")
    parser.add_argument("--count", type=int, default=200, help="how many of them to take")
    parser.add_argument("--enlarge", type=int, default=1, help="times as long sides, as of photos from a phone")
    parser.add_argument("--rounds", type=int, default=3, help="times to measure each; the best counts")
    parser.add_argument("--plain-into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.model = arguments.model or arguments.ckpt
    if arguments.plain_into:
        plain_way(arguments.ckpt).predict(arguments.photos, arguments.plain_into)
        return 0
    photos = sorted(arguments.photos.glob("*.jpg"))[: arguments.count]
    if not photos:
        raise SystemExit(f"Error: no .jpg in {arguments.photos}. Pass --photos FOLDER")
    with tempfile.TemporaryDirectory() as folder:
        photos = enlarged(photos, arguments.enlarge, Path(folder)) if arguments.enlarge > 1 else photos
        precisions = precisions_of(arguments.model)
        measured = list(rows(arguments, photos, precisions))
        return show(heading(title(arguments, photos, precisions), PACKAGES), measured)


if __name__ == "__main__":
    raise SystemExit(main())
