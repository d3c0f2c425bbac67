"""Measures one photo through the network in every runtime, and from a cold start, against plain torch, in one run.

Needs no data: uv run python benchmarks/forward.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import heading
from rich.console import Console
from rich.table import Table

Run = Callable[[], Any]
PLAIN = "torch fp32, as it comes"

SHOW_PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""

PLAIN_COLD = """
import json, sys, numpy, torch, segmentation_models_pytorch as smp
from PIL import Image
content = torch.load(sys.argv[1], weights_only=True)
network = smp.create_model(sys.argv[3], sys.argv[4], encoder_weights=None, classes=len(content["clothseg"]["classes"]),
                           **json.loads(sys.argv[5]))
prefix = "network.network."
weights = {name.removeprefix(prefix): one for name, one in content["state_dict"].items() if name.startswith(prefix)}
network.load_state_dict(weights)
network.eval()
photo = Image.open(sys.argv[2]).convert("RGB")
size = content["clothseg"]["image_size"]
pixels = torch.from_numpy(numpy.array(photo.resize((size, size)))).permute(2, 0, 1).float() / 255
mean, std = (torch.tensor(content["clothseg"]["normalization"][name]).view(3, 1, 1) for name in ("mean", "std"))
with torch.no_grad():
    classes = network(((pixels - mean) / std)[None]).softmax(dim=1).argmax(dim=1)[0]
mask = Image.fromarray(classes.byte().numpy()).resize(photo.size, Image.NEAREST)
"""

OUR_COLD = """
import sys
from clothseg.prediction.predictor import load
mask = load(sys.argv[1]).predict(sys.argv[2]).mask
"""

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
    from clothseg.prediction.runtimes import open_runtime
    from clothseg.prediction.runtimes.openvino import one_core
    from clothseg.prediction.runtimes.torch import TorchRuntime

    torch.set_num_threads(arguments.threads)
    height, width = arguments.size
    batch = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    other = np.zeros((1, 64, 64, 3), np.uint8)
    has_bf16 = "BF16" in one_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    runtimes: dict[str, Any] = {
        "torch fp32, channels_last": TorchRuntime.open(checkpoint, device="cpu"),
        "torch bf16, channels_last": TorchRuntime.open(checkpoint, device="cpu", bf16=True),
        "ONNX Runtime fp32": open_runtime(portable, runtime="onnxruntime"),
    }
    for precision in ("fp32", "bf16") if has_bf16 else ("fp32",):
        runtimes[f"OpenVINO {precision}"] = open_runtime(portable, precision=precision)
        any_size = open_runtime(portable, precision=precision)
        any_size.logits(other)  # the first size gets a network of its own; the measured one is then one of all others
        runtimes[f"OpenVINO {precision}, one of many sizes"] = any_size
    measured: dict[str, Run] = {PLAIN: plain_run(load_checkpoint(checkpoint)[1], batch)}
    return measured | {name: partial(runtime.logits, batch) for name, runtime in runtimes.items()}


def measure(measured: Mapping[str, Run], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the least seconds of each, measured in turns so that all meet the same machine."""
    best = dict.fromkeys(measured, float("inf"))
    for round_number in range(rounds + 1):
        for name, run in measured.items():
            start = clock()
            run()
            if round_number:  # the first round compiles and fills caches
                best[name] = min(best[name], clock() - start)
    return best


def cold(code: str, arguments: list[str], threads: int, rounds: int) -> tuple[float, float]:
    """Return the least processor seconds and the most memory, in MB, of a process that runs `code`; on Linux."""
    seconds, megabytes = float("inf"), 0.0
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    for _ in range(rounds):
        command = [sys.executable, "-c", code + SHOW_PEAK, *arguments]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            shown = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit("A cold start failed; its message is above")
        seconds = min(seconds, usage.ru_utime + usage.ru_stime)
        megabytes = max(megabytes, int(shown.split()[-1]) / 1024)
    return seconds, megabytes


def prepare(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path, Path]:
    """Write a checkpoint with random weights, its export and a photo, and return their paths."""
    import torch

    from clothseg.data.sample import sample_picture
    from clothseg.encoding import encode_jpeg
    from clothseg.export.graph import to_onnx
    from clothseg.labels import GROUPS
    from clothseg.model.description import ModelDescription
    from clothseg.model.network import build_network
    from clothseg.prediction.model_file import seal_model

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
    checkpoint, portable, photo = folder / "model.ckpt", folder / "model.onnx", folder / "photo.jpg"
    weights = {f"network.{name}": one for name, one in network.state_dict().items()}
    torch.save({"clothseg": description.to_dict(), "state_dict": weights}, checkpoint)
    portable.write_bytes(seal_model(to_onnx(network), description, {}))
    photo.write_bytes(encode_jpeg(sample_picture()))
    return checkpoint, portable, photo


def main() -> None:
    """Measure everything and print two tables."""
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
    console = Console(width=120, highlight=False)
    from clothseg.model.network import decoder_channels  # here, as the number of threads has to be set before torch

    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as name:
        checkpoint, portable, photo = prepare(arguments, Path(name))
        seconds = measure(runs(arguments, checkpoint, portable), arguments.rounds, clock)
        network = [arguments.architecture, arguments.encoder_name]
        options = json.dumps(decoder_channels(arguments.architecture, arguments.decoder_width))
        plain = cold(PLAIN_COLD, [str(checkpoint), str(photo), *network, options], arguments.threads, arguments.rounds)
        ours = cold(OUR_COLD, [str(portable), str(photo)], arguments.threads, arguments.rounds)
    table = Table(
        "network, loaded",
        "ms a photo",
        "times the plain",
        title=heading(
            f"{' '.join(network)}, decoder width {arguments.decoder_width:g}, "
            f"one photo of {arguments.size[0]} x {arguments.size[1]}",
            PACKAGES,
            threads=arguments.threads,
        ),
    )
    for row, value in seconds.items():
        table.add_row(row, f"{1000 * value:.0f}", f"{seconds[PLAIN] / value:.2f}")
    console.print(table)
    table = Table("from the start of Python to a mask of one photo", "processor seconds", "times the plain", "peak, MB")
    table.add_row("torch and smp", f"{plain[0]:.2f}", "1.00", f"{plain[1]:.0f}")
    table.add_row("clothseg, OpenVINO fp32", f"{ours[0]:.2f}", f"{plain[0] / ours[0]:.2f}", f"{ours[1]:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
