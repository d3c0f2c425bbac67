"""Measures an imported SegFormer-B2 against transformers, from a photo's pixels to its mask, in one run.

Needs no weights, as their values do not change the time: uv run --group full python benchmarks/imported.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from forward import measure
from PIL import Image
from table import Row, heading, show

PHOTO = Path(__file__).parents[1] / "docs" / "pictures" / "before.jpg"
PLAIN = "transformers, torch fp32"
PACKAGES = ("torch", "transformers", "openvino")
TARGETS = {"fp32": 2.0, "bf16": 4.0}


def save_random(folder: Path, size: int) -> None:
    """Write a SegFormer-B2 with random weights and ATR's 18 classes as a folder of transformers."""
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    # Source: huggingface.co/nvidia/mit-b2, config.json.
    sizes = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
    labels = dict(enumerate(("background", *(f"class {one}" for one in range(1, 18)))))
    SegformerForSemanticSegmentation(SegformerConfig(**sizes, id2label=labels)).save_pretrained(folder)
    SegformerImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)


def plain_run(folder: Path, pixels: np.ndarray) -> Callable[[], Any]:
    """Return the way of transformers' documentation: image processor, network, masks at the photo's size."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    processor = AutoImageProcessor.from_pretrained(folder)
    network = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()

    def run() -> Any:
        with torch.no_grad():
            outputs = network(**processor(images=Image.fromarray(pixels), return_tensors="pt"))
        return processor.post_process_semantic_segmentation(outputs, target_sizes=[pixels.shape[:2]])[0].numpy()

    return run


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description="An imported SegFormer-B2 against transformers.")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=1, help="with 1, processor time is measured, so other programs do not count"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    from clothseg import load
    from clothseg.export.agreement import choose_photos, make_portable
    from clothseg.export.foreign_checkpoint import open_folder
    from clothseg.prediction.runtimes.openvino import multiplies_bf16

    torch.set_num_threads(arguments.threads)
    pixels = np.array(Image.open(PHOTO).convert("RGB"))
    with tempfile.TemporaryDirectory() as name:
        original, portable = Path(name, "original"), Path(name, "model.onnx")
        save_random(original, arguments.size)
        opened = open_folder(original, None)
        # Random weights give nearly equal logits, so the masks of the two programs are not compared as an import does.
        photos = choose_photos((PHOTO,), Path(name), opened.reference.description.classes, count=1)
        portable.write_bytes(make_portable(opened.graph(), opened.reference, photos).file.content)
        measured = {PLAIN: plain_run(original, pixels)}
        for precision in ("fp32", "bf16") if multiplies_bf16() else ("fp32",):
            measured[precision] = partial(load(portable, precision=precision).predict, pixels)
        share = float(np.mean(measured["fp32"]().mask != measured[PLAIN]()))
        clock = time.process_time if arguments.threads == 1 else time.perf_counter
        seconds = measure(measured, arguments.rounds, clock)
    table = [
        Row(
            f"OpenVINO {precision}",
            f"{1e3 * seconds[PLAIN]:.0f} ms",
            f"{1e3 * seconds[precision]:.0f} ms",
            seconds[PLAIN] / seconds[precision],
            f"at least {target:g} times",
            seconds[PLAIN] >= target * seconds[precision],
        )
        for precision, target in TARGETS.items()
        if precision in seconds
    ]
    height, width = pixels.shape[:2]
    title = f"SegFormer-B2 at {arguments.size}, a photo of {height} x {width}; {share:.2%} of the pixels differ"
    return show(heading(title, PACKAGES, threads=arguments.threads), table)


if __name__ == "__main__":
    raise SystemExit(main())
