"""Measures one photo through the network in every runtime against plain torch, in one run.

Needs no data: uv run python benchmarks/forward.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from table import Row, heading, show

Run = Callable[[], Any]
PLAIN = "torch fp32, eager"

PACKAGES = ("torch", "segmentation-models-pytorch", "openvino", "onnxruntime")


def plain_run(network: Any, batch: np.ndarray) -> Run:
    """Return the network of torch on a normalised float32 batch, all as torch makes them."""
    import torch

    images = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()

    def run() -> Any:
        with torch.no_grad():
            return network(images)

    return run


def runs(arguments: argparse.Namespace, checkpoint: Path, portable: Path) -> dict[str, Run]:
    """Return everything that is measured, by name, the plain way first."""
    import torch

    from clothseg.model.checkpoint import load_checkpoint
    from clothseg.prediction.predictor import open_runtime
    from clothseg.prediction.runtimes.openvino import one_core
    from clothseg.prediction.runtimes.torch import TorchRuntime

    torch.set_num_threads(arguments.threads)
    height, width = arguments.size
    batch = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    has_bf16 = "BF16" in one_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    runtimes: dict[str, Any] = {
        "torch fp32, channels_last": TorchRuntime.open(checkpoint, device="cpu"),
        "torch bf16, channels_last": TorchRuntime.open(checkpoint, device="cpu", bf16=True),
        "ONNX Runtime fp32": open_runtime(portable, runtime="onnxruntime"),
    }
    for precision in ("fp32", "bf16") if has_bf16 else ("fp32",):
        runtimes[f"OpenVINO {precision}"] = open_runtime(portable, precision=precision)
    measured: dict[str, Run] = {PLAIN: plain_run(load_checkpoint(checkpoint)[1], batch)}
    return measured | {name: partial(runtime.logits, batch) for name, runtime in runtimes.items()}


def measure(measured: Mapping[str, Run], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the least seconds of each, measured alternately so that all run under the same load."""
    best = dict.fromkeys(measured, float("inf"))
    for round_number in range(rounds + 1):
        for name, run in measured.items():
            start = clock()
            run()
            if round_number:  # the first round compiles and fills caches
                best[name] = min(best[name], clock() - start)
    return best


def prepare(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Write a checkpoint with random weights and its export, and return their paths."""
    import torch

    from clothseg.export.portable import to_onnx
    from clothseg.labels import GROUPS
    from clothseg.model.description import ModelDescription
    from clothseg.model.network import build_network
    from clothseg.prediction.runtimes.model_file import add_metadata

    torch.manual_seed(0)
    network = build_network(
        arguments.architecture,
        arguments.encoder_name,
        encoder_weights=None,
        num_classes=len(GROUPS),
        decoder_width=arguments.decoder_width,
    ).eval()
    description = ModelDescription(
        classes=GROUPS,
        architecture=arguments.architecture,
        encoder_name=arguments.encoder_name,
        decoder_width=arguments.decoder_width,
        image_size=max(arguments.size),
        normalization=network.normalization,
    )
    checkpoint, portable = folder / "model.ckpt", folder / "model.onnx"
    weights = {f"network.{name}": one for name, one in network.state_dict().items()}
    torch.save({"clothseg": description.to_dict(), "state_dict": weights}, checkpoint)
    portable.write_bytes(add_metadata(to_onnx(network), description, {}))
    return checkpoint, portable


def main() -> int:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description="One photo through the network, in every runtime.")
    parser.add_argument("--architecture", default="unet")
    parser.add_argument("--encoder-name", default="mit_b1")
    parser.add_argument("--decoder-width", type=float, default=1.0)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=1, help="with 1, processor time is measured, so other programs do not count"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as name:
        checkpoint, portable = prepare(arguments, Path(name))
        seconds = measure(runs(arguments, checkpoint, portable), arguments.rounds, clock)
    network = f"{arguments.architecture} {arguments.encoder_name}, decoder width {arguments.decoder_width:g}"
    shape = f"{arguments.size[0]} x {arguments.size[1]}"
    table = [
        Row(name, f"{1e3 * seconds[PLAIN]:.0f} ms", f"{1e3 * value:.0f} ms", seconds[PLAIN] / value)
        for name, value in seconds.items()
    ]
    return show(heading(f"{network}, one photo of {shape}", PACKAGES, threads=arguments.threads), table)


if __name__ == "__main__":
    raise SystemExit(main())
