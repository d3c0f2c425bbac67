"""Measures clothseg beside what people use in its place: rembg with U2-Net, and SegFormer-B2 with transformers.

Each segments the same photos into files, in a process of its own and in turn. Both peers have random weights, as their
own could not be downloaded: speed and memory do not depend on them. rembg needs an environment of its own:

    uv venv /tmp/rembg && uv pip install --python /tmp/rembg/bin/python rembg onnxruntime
    uv run --group full python benchmarks/peers.py --photos data/fashionist/test --rembg /tmp/rembg/bin/python
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from imported import save_random
from prediction import command
from rich.console import Console
from rich.table import Table
from table import heading
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

REMBG = """
import sys
from pathlib import Path
from PIL import Image
from rembg import new_session, remove
session = new_session("u2net_custom", model_path=sys.argv[1])
for path in sys.argv[3:]:
    remove(Image.open(path), session=session).save(Path(sys.argv[2], Path(path).stem + ".png"))
"""
SEGFORMER = """
import sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
processor = AutoImageProcessor.from_pretrained(sys.argv[1])
network = AutoModelForSemanticSegmentation.from_pretrained(sys.argv[1]).eval()
for path in sys.argv[3:]:
    photo = Image.open(path).convert("RGB")
    with torch.no_grad():
        outputs = network(**processor(images=photo, return_tensors="pt"))
    mask = processor.post_process_semantic_segmentation(outputs, target_sizes=[photo.size[::-1]])[0]
    Image.fromarray(mask.numpy().astype(np.uint8)).save(Path(sys.argv[2], Path(path).stem + ".png"))
"""
SIZES = """
import sys
from importlib.metadata import PackageNotFoundError, distribution
from packaging.requirements import Requirement
found, waiting = {}, sys.argv[1:]
while waiting:
    name = waiting.pop().lower().replace("_", "-")
    if name in found:
        continue
    try:
        package = distribution(name)
    except PackageNotFoundError:
        continue
    files = [file.locate() for file in package.files or ()]
    found[name] = sum(file.stat().st_size for file in files if file.is_file())
    needed = map(Requirement, package.requires or ())
    waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
print(len(found), sum(found.values()))
"""


class Unit(nn.Sequential):
    """Convolution, batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    """U2-Net's residual U-block, RSU. Source: Qin et al., "U2-Net", arXiv 2005.09007, section 3.1 and table 1."""

    def __init__(self, height: int, inputs: int, middle: int, outputs: int, *, is_flat: bool = False) -> None:
        super().__init__()
        rates = [2**number if is_flat else 1 for number in range(height - 1)]
        self.is_flat = is_flat
        self.first = Unit(inputs, outputs)
        self.down = nn.ModuleList(
            Unit(middle if number else outputs, middle, rate) for number, rate in enumerate(rates)
        )
        self.bottom = Unit(middle, middle, 2 * rates[-1] if is_flat else 2)
        self.up = nn.ModuleList(
            Unit(2 * middle, middle if rate else outputs, rates[rate]) for rate in range(height - 2, -1, -1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the block's output at the size of its input."""
        start = planes = self.first(image)
        kept: list[Tensor] = []
        for unit in self.down:
            kept.append(unit(planes))
            is_last = len(kept) == len(self.down)
            planes = kept[-1] if self.is_flat or is_last else max_pool2d(kept[-1], 2, ceil_mode=True)
        planes = self.bottom(planes)
        for unit, other in zip(self.up, reversed(kept), strict=True):
            planes = unit(torch.cat([interpolate(planes, other.shape[2:], mode="bilinear"), other], 1))
        return start + planes


class U2Net(nn.Module):
    """The network of rembg's `u2net`, 44 million weights. Source: as `Block`, table 1."""

    def __init__(self) -> None:
        super().__init__()
        down = [(7, 3, 32, 64), (6, 64, 32, 128), (5, 128, 64, 256), (4, 256, 128, 512)]
        up = [(4, 1024, 128, 256), (5, 512, 64, 128), (6, 256, 32, 64), (7, 128, 16, 64)]
        flat = [Block(4, inputs, 256, 512, is_flat=True) for inputs in (512, 512, 1024)]
        self.down = nn.ModuleList([*(Block(*sizes) for sizes in down), *flat[:2]])
        self.up = nn.ModuleList([flat[2], *(Block(*sizes) for sizes in up)])
        self.sides = nn.ModuleList(nn.Conv2d(channels, 1, 3, padding=1) for channels in (512, 512, 256, 128, 64, 64))
        self.fuse = nn.Conv2d(6, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the saliency of each pixel, (B, 1, H, W), of (B, 3, H, W)."""
        kept: list[Tensor] = []
        for block in self.down:
            kept.append(block(max_pool2d(kept[-1], 2, ceil_mode=True) if kept else image))
        planes = [kept.pop()]
        for block in self.up:
            other = kept.pop()
            planes.append(block(torch.cat([interpolate(planes[-1], other.shape[2:], mode="bilinear"), other], 1)))
        sides = [side(one) for side, one in zip(self.sides, planes, strict=True)]
        return self.fuse(torch.cat([interpolate(one, image.shape[2:], mode="bilinear") for one in sides], 1)).sigmoid()


class Peer(NamedTuple):
    """A program that segments photos: the command to which the photos are added, and its packages."""

    command: list[str]
    packages: list[str]


def peers(arguments: argparse.Namespace, folder: Path) -> dict[str, Peer]:
    """Return the programs by name, after writing the models of the others."""
    torch.manual_seed(0)
    os.environ["U2NET_HOME"] = str(folder)  # rembg reads models there only
    output, u2net, segformer = folder / "output", folder / "u2net.onnx", folder / "segformer"
    output.mkdir()
    torch.onnx.export(U2Net().eval(), (torch.zeros(1, 3, 320, 320),), u2net, dynamo=True, verbose=False)
    save_random(segformer, 512)
    here = sys.executable
    ours = [here, "-m", "clothseg.cli", "predict", "--ckpt", "starter", "--output", str(output)]
    rembg = [arguments.rembg, "-c", REMBG, str(u2net), str(output)]
    return {
        "clothseg, starter model": Peer(ours, ["clothseg"]),
        "rembg, U2-Net": Peer(rembg, ["rembg", "onnxruntime"]),
        "transformers, SegFormer-B2": Peer(
            [here, "-c", SEGFORMER, str(segformer), str(output)], ["transformers", "torch"]
        ),
    }


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description="clothseg beside rembg and transformers.")
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEGs")
    parser.add_argument("--count", type=int, default=12, help="how many of them to take")
    parser.add_argument("--rembg", required=True, help="Python of an environment with rembg and onnxruntime")
    parser.add_argument("--rounds", type=int, default=3, help="times to measure each; the best counts")
    arguments = parser.parse_args()
    photos = [str(path) for path in sorted(arguments.photos.glob("*.jpg"))[: arguments.count]]
    table = Table("program", "cold start", "then, a photo", "photos/s", "memory", "packages", "installed")
    with tempfile.TemporaryDirectory() as folder:
        programs = peers(arguments, Path(folder))
        runs: dict[str, list[Any]] = {name: [] for name in programs}
        for _ in range(arguments.rounds):
            for name, peer in programs.items():
                runs[name].append((command([*peer.command, photos[0]]), command([*peer.command, *photos])))
        for name, peer in programs.items():
            one, many = (
                [min(values) for values in zip(*parts, strict=True)] for parts in zip(*runs[name], strict=True)
            )
            wall, processor = ((many[index] - one[index]) / (len(photos) - 1) for index in (0, 1))
            sizes = [peer.command[0], "-c", SIZES, *peer.packages]
            number, size = subprocess.run(sizes, capture_output=True, text=True, check=True).stdout.split()
            shown = f"{one[1]:.2f} s", f"{processor:.2f} s", f"{1 / wall:.1f}", f"{one[2]:.0f} MB", number
            table.add_row(name, *shown, f"{int(size) / 1e6:.0f} MB")
    print(
        heading(
            f"{len(photos)} photos; cold start and a photo in processor time", ("torch", "transformers", "openvino")
        )
    )
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
