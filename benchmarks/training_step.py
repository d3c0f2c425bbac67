"""Measures loss, validation metrics and a whole training step against the plain way, in one run.

Needs no data: uv run python benchmarks/training_step.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
import torch
from table import Row, heading, show
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from clothseg.errors import ClothsegError
from clothseg.labels import IGNORED_ID
from clothseg.model.loss import DiceFocalLoss
from clothseg.model.module import ConfusionMatrix
from clothseg.model.network import SegmentationNetwork, build_network
from clothseg.model.optimizer import preferred_precision

NUM_CLASSES = 13
ROUNDS = 4
Run = Callable[[], Any]
Rows = list[tuple[str, Run, Run, float | None]]

PACKAGES = ("torch", "lightning", "segmentation-models-pytorch", "torchmetrics")


def blocks(batch_size: int, size: int) -> Tensor:
    """Return class ids, (B, size, size) uint8, in patches as in real masks, with a third of padding at the bottom."""
    coarse = torch.randint(0, NUM_CLASSES, (batch_size, 1, size // 32, size // 32)).float()
    mask = torch.nn.functional.interpolate(coarse, scale_factor=32, mode="nearest")[:, 0].to(torch.uint8)
    mask[:, size * 2 // 3 :] = IGNORED_ID
    return mask


def smp_loss() -> Callable[[Tensor, Tensor], Tensor]:
    """Return the plain loss: half Dice, half focal of segmentation-models-pytorch, which want int64 targets."""
    dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=IGNORED_ID)
    focal = smp.losses.FocalLoss(mode="multiclass", ignore_index=IGNORED_ID)
    return lambda logits, target: 0.5 * dice(logits, target.long()) + 0.5 * focal(logits, target.long())


def loss_run(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> Run:
    """Return a forward and backward pass of `loss`."""

    def run() -> Tensor:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf, target)
        torch.autograd.backward(value)
        return value.detach()

    return run


def plain_metrics() -> MetricCollection:
    """Return IoU, F1 and accuracy, as means and per class, as torchmetrics computes them."""
    metrics: dict[str, Metric | MetricCollection] = {}
    for average in ("macro", "none"):
        for name, kind in (("iou", MulticlassJaccardIndex), ("f1", MulticlassF1Score), ("acc", MulticlassAccuracy)):
            metrics[f"{name}_{average}"] = kind(NUM_CLASSES, average=average, ignore_index=IGNORED_ID)
    return MetricCollection(metrics)


def network_and_image(arguments: argparse.Namespace, *, is_plain: bool) -> tuple[SegmentationNetwork, Tensor]:
    """Return the network that is trained, with random weights, and photos, (B, 3, S, S) uint8; ours channels last."""
    torch.manual_seed(0)
    network = build_network(
        arguments.architecture, arguments.encoder_name, encoder_weights=None, num_classes=NUM_CLASSES
    )
    image = torch.randint(0, 256, (arguments.batch_size, 3, arguments.img_size, arguments.img_size), dtype=torch.uint8)
    layout = torch.contiguous_format if is_plain else torch.channels_last
    return network.to(arguments.device, memory_format=layout), image.to(arguments.device, memory_format=layout)


def step_run(arguments: argparse.Namespace, *, is_plain: bool) -> Run:
    """Return a training step: normalise, forward, loss, backward, AdamW."""
    network, image = network_and_image(arguments, is_plain=is_plain)
    network.train()
    target = blocks(arguments.batch_size, arguments.img_size).to(arguments.device)
    loss = smp_loss() if is_plain else DiceFocalLoss()
    optimizer = torch.optim.AdamW(network.parameters())

    def run() -> None:
        with torch.autocast(arguments.device, torch.bfloat16, enabled=not is_plain):
            logits = network(image)
        loss(logits, target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def forward_run(arguments: argparse.Namespace, *, is_plain: bool) -> Run:
    """Return a forward pass without gradients: normalise, network, class of each pixel."""
    network, image = network_and_image(arguments, is_plain=is_plain)
    network.eval()

    def run() -> Tensor:
        with torch.inference_mode(), torch.autocast(arguments.device, torch.bfloat16, enabled=not is_plain):
            return network(image).argmax(dim=1)

    return run


def runs(arguments: argparse.Namespace) -> Rows:
    """Return name, plain way, our way and the ratio that is aimed at, of everything that is measured."""
    torch.manual_seed(0)
    size, batch_size, device = arguments.img_size, arguments.batch_size, arguments.device
    logits = 2 * torch.randn(batch_size, NUM_CLASSES, size, size, device=device)
    target = blocks(batch_size, size).to(device)
    long_target, class_ids = target.long(), logits.argmax(dim=1)
    theirs, ours = plain_metrics().to(device), ConfusionMatrix(NUM_CLASSES).to(device)
    return [
        (
            "loss, forward and backward",
            loss_run(smp_loss(), logits, target),
            loss_run(DiceFocalLoss(), logits, target),
            2.0,
        ),
        (
            "metrics of class ids",
            lambda: theirs.update(class_ids, long_target),
            lambda: ours.update(class_ids, target),
            20.0,
        ),
        (
            f"step, {arguments.architecture} {arguments.encoder_name}: fp32 | bf16, channels_last",
            step_run(arguments, is_plain=True),
            step_run(arguments, is_plain=False),
            # Without instructions for bfloat16 nothing is promised, and training does not use it.
            1.8 if preferred_precision("cpu" if device == "cpu" else "gpu") == "bf16-mixed" else None,
        ),
        (
            "forward pass of the same network, no gradients: fp32 | bf16, channels_last",
            forward_run(arguments, is_plain=True),
            forward_run(arguments, is_plain=False),
            None,
        ),
    ]


def measure(plain: Run, ours: Run, clock: Callable[[], float], device: str) -> tuple[float, float]:
    """Return the least seconds of either, measured alternately so that both run under the same load."""
    best = [float("inf"), float("inf")]
    for round_number in range(ROUNDS + 1):
        for place, run in enumerate((plain, ours)):
            start = clock()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            # The first round fills caches and lets torchmetrics find out which metrics share their counts.
            if round_number:
                best[place] = min(best[place], clock() - start)
    return best[0], best[1]


def parser() -> argparse.ArgumentParser:
    """Return the parser of this benchmark's flags."""
    flags = argparse.ArgumentParser(description="Loss, metrics and training step against the plain way.")
    flags.add_argument("--architecture", default="unet")
    flags.add_argument("--encoder-name", default="mit_b1")
    flags.add_argument("--batch-size", type=int, default=1)
    flags.add_argument("--img-size", type=int, default=512)
    flags.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    flags.add_argument(
        "--threads", type=int, default=1, help="with 1, processor time is measured, so other programs do not count"
    )
    return flags


def rows(arguments: argparse.Namespace) -> list[Row]:
    """Measure everything."""
    torch.set_num_threads(arguments.threads)
    one_thread = arguments.device == "cpu" and arguments.threads == 1
    clock = time.process_time if one_thread else time.perf_counter
    measured = []
    try:
        for name, plain, ours, target in runs(arguments):
            before, after = measure(plain, ours, clock, arguments.device)
            ratio = before / after
            aim = "" if target is None else f">= {target:g}"
            texts = f"{before * 1e3:.1f} ms", f"{after * 1e3:.1f} ms"
            measured.append(Row(name, *texts, ratio, aim, target is None or ratio >= target))
    except ClothsegError as error:
        raise SystemExit(f"Error: {error}") from error
    return measured


def main() -> int:
    """Measure, print one table, and return 1 if a target is missed."""
    arguments = parser().parse_args()
    measured = rows(arguments)
    on_gpu = arguments.device == "cuda"
    title = heading(
        f"Training at {arguments.img_size} px, batches of {arguments.batch_size}",
        PACKAGES,
        device=torch.cuda.get_device_name() if on_gpu else None,
        threads=None if on_gpu else torch.get_num_threads(),
    )
    return show(title, measured)


if __name__ == "__main__":
    raise SystemExit(main())
