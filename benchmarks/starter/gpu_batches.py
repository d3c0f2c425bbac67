"""Photos in a GPU's memory, and batches that are augmented there: zoom, colour, other backgrounds, nothing at all."""

from __future__ import annotations

import io
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

HEIGHT, WIDTH = 640, 448
"""Of an input; a photo's longer side has 640 pixels."""
IGNORED = 255
ZOOMS = ((0.70, 0.7, 1.4), (0.15, 0.25, 0.7), (0.15, 1.4, 3.5))
"""Probability, least and largest zoom: 1 is the photo as prediction sees it."""


class Photos:
    """One part of the data in the GPU's memory.

    `image`: (N, 3, 640, 448) uint8; `mask`: (N, 2, 640, 448) uint8, group and category, 255 where nothing is known;
    `size`: (N, 2), height and width of the photo in the upper left corner.
    """

    def __init__(self, archive: zipfile.ZipFile, part: str, group_ids: Tensor, device: str, count: int | None) -> None:
        from PIL import Image

        entries = {name: archive.read(name) for name in archive.namelist() if name.startswith(f"{part}/")}
        self.names = sorted(name[len(part) + 1 : -5] for name in entries if name.endswith(".webp"))[:count]
        self.has_masks = any(name.endswith(".png") for name in entries)

        def read(name: str) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            mask = np.full((HEIGHT, WIDTH), IGNORED, np.uint8)
            picture = np.asarray(Image.open(io.BytesIO(entries[f"{part}/{name}.webp"])).convert("RGB"))[:, :WIDTH]
            height, width = picture.shape[:2]
            image[:height, :width] = picture
            if self.has_masks:
                png = Image.open(io.BytesIO(entries[f"{part}/{name}.png"]))
                mask[:height, :width] = np.asarray(png)[:, :WIDTH]
            return image, mask, (height, width)

        with ThreadPoolExecutor(16) as threads:
            images, masks, sizes = zip(*threads.map(read, self.names), strict=True)
        self.image = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).contiguous()
        category = torch.from_numpy(np.stack(masks)).to(device)
        self.mask = torch.stack([group_ids[category.long()], category], dim=1)
        self.size = torch.tensor(sizes, device=device, dtype=torch.float32)
        self.make_levels()

    def make_levels(self) -> None:
        """Keep the photos at half and quarter size, too, for zooms far below 1."""
        self.levels = [self.image]
        for _ in range(2):
            halves = [F.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in self.levels[-1].split(64)]
            self.levels.append(torch.cat(halves))

    def inside(self, index: Tensor) -> Tensor:
        """Return where the input shows the photo, (B, H, W) bool."""
        rows, columns = (torch.arange(side, device=index.device) for side in (HEIGHT, WIDTH))
        height, width = self.size[index].unsqueeze(2).unbind(dim=1)
        return (rows < height).unsqueeze(2) & (columns < width).unsqueeze(1)

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def joined(parts: list[Photos]) -> Photos:
        """Return several parts as one."""
        whole = object.__new__(Photos)
        whole.names = [name for part in parts for name in part.names]
        whole.has_masks = True
        whole.image, whole.mask, whole.size = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("image", "mask", "size")
        )
        whole.levels = [torch.cat(levels) for levels in zip(*(part.levels for part in parts), strict=True)]
        return whole


def uniform(count: int, low: float, high: float, device: Any) -> Tensor:
    """Return (count,) values."""
    return torch.empty(count, device=device).uniform_(low, high)


def draw_matrices(size: Tensor, *, zooms: Any = ZOOMS) -> tuple[Tensor, Tensor]:
    """Return (B, 2, 3), place in the input to place in the photo, in pixels, and the zooms, (B,)."""
    count, device = len(size), size.device
    kind = torch.multinomial(torch.tensor([share for share, *_ in zooms], device=device), count, replacement=True)
    low, high = (torch.tensor([math.log(zoom[which]) for zoom in zooms], device=device)[kind] for which in (1, 2))
    zoom = (low + (high - low) * torch.rand(count, device=device)).exp()
    stretch = (uniform(count, -1, 1, device) * math.log(1.15) / 2).exp()
    scale = torch.stack([zoom * stretch, zoom / stretch], dim=1)
    mirror = (torch.rand(count, device=device) < 0.5).float() * -2 + 1
    angle = (
        uniform(count, -1, 1, device) * math.radians(12) * (1 + 2 * (torch.rand(count, device=device) < 0.1).float())
    )
    shear = (uniform(count, -1, 1, device) * math.radians(6)).tan()
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    skew = torch.eye(2, device=device).repeat(count, 1, 1)
    skew[:, 0, 1] = shear
    forward = turn @ skew @ torch.diag_embed(scale * torch.stack([mirror, torch.ones_like(mirror)], dim=1))
    adjugate = torch.stack([forward[:, 1, 1], -forward[:, 0, 1], -forward[:, 1, 0], forward[:, 0, 0]], dim=1).view(
        -1, 2, 2
    )
    back = adjugate / (forward[:, 0, 0] * forward[:, 1, 1] - forward[:, 0, 1] * forward[:, 1, 0]).view(-1, 1, 1)
    target = torch.tensor([WIDTH, HEIGHT], device=device, dtype=torch.float32)
    extent = size.flip(1)
    # The photo is anywhere between its two extreme positions, whether it is smaller or larger than the input.
    place = torch.rand(count, 2, device=device)
    edge = place * (target - extent * scale) + uniform(2 * count, -0.05, 0.05, device).view(-1, 2) * target
    center = (target / 2 - edge) / scale
    center[:, 0] = torch.where(mirror < 0, extent[:, 0] - center[:, 0], center[:, 0])
    shift = center - (back @ (target / 2).view(1, 2, 1)).squeeze(2)
    return torch.cat([back, shift.unsqueeze(2)], dim=2), zoom


def grid_of(matrix: Tensor) -> Tensor:
    """Return (B, H, W, 2), the place in the photo, in pixels, of each pixel of the input."""
    device = matrix.device
    rows, columns = torch.arange(HEIGHT, device=device) + 0.5, torch.arange(WIDTH, device=device) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, -1, 3)
    return (places @ matrix.transpose(1, 2)).view(len(matrix), HEIGHT, WIDTH, 2)


def warp(photos: Photos, index: Tensor, *, zooms: Any = ZOOMS) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, (B, 3, H, W) float; mask, (B, 2, H, W) uint8; and where the photo is, (B, 1, H, W) bool."""
    size = photos.size[index]
    matrix, zoom = draw_matrices(size, zooms=zooms)
    grid = grid_of(matrix)
    full = torch.tensor([WIDTH, HEIGHT], device=index.device, dtype=torch.float32)
    relative = grid / full * 2 - 1
    level = (zoom < 0.7).long() + (zoom < 0.36).long()
    image = torch.empty(len(index), 3, HEIGHT, WIDTH, device=index.device)
    for number, pictures in enumerate(photos.levels):
        chosen = (level == number).nonzero().squeeze(1)
        if len(chosen):
            source = pictures[index[chosen]].float()
            image[chosen] = F.grid_sample(source, relative[chosen], mode="bilinear", align_corners=False)
    mask = F.grid_sample(photos.mask[index].float(), relative, mode="nearest", align_corners=False).to(torch.uint8)
    inside = (grid >= 0).all(dim=3) & (grid < size.flip(1).view(-1, 1, 1, 2)).all(dim=3)
    return image, mask, inside.unsqueeze(1)


def textures(count: int, device: Any) -> Tensor:
    """Return (B, 3, H, W) float, 0 to 255: drawn noise, gradients, stripes and checks in random colours."""
    field = torch.zeros(count, 3, HEIGHT, WIDTH, device=device)
    for octave in range(8):
        rows, columns = max(2, HEIGHT >> (8 - octave)), max(2, WIDTH >> (8 - octave))
        noise = torch.randn(count, 3, rows, columns, device=device)
        gray = (torch.rand(count, 1, 1, 1, device=device) < 0.6).float()
        noise = gray * noise.mean(dim=1, keepdim=True) * 1.7 + (1 - gray) * noise
        strength = torch.rand(count, 1, 1, 1, device=device) ** 3
        field += strength * F.interpolate(noise, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    y, x = torch.meshgrid(torch.arange(HEIGHT, device=device), torch.arange(WIDTH, device=device), indexing="ij")
    for _ in range(2):
        angle = uniform(count, 0, math.pi, device).view(-1, 1, 1)
        length = (uniform(count, math.log(6), math.log(160), device)).exp().view(-1, 1, 1)
        wave = (2 * math.pi * (x * angle.cos() + y * angle.sin()) / length).sin()
        sharp = uniform(count, 1, 20, device).view(-1, 1, 1)
        shown = (torch.rand(count, 1, 1, device=device) < 0.4).float()
        color = torch.randn(count, 3, 1, 1, device=device)
        field += (shown * torch.tanh(sharp * wave)).unsqueeze(1) * color
    tint = torch.randn(count, 3, 1, 1, device=device) * 0.8
    return 255 * torch.sigmoid((field * uniform(count, 0.2, 1.5, device).view(-1, 1, 1, 1)) + tint)


def shuffled(image: Tensor) -> Tensor:
    """Return photos, (B, 3, H, W), whose squares of 64 pixels lie in a random order: cloth, but nobody who wears it."""
    side = HEIGHT // 10
    rows, columns = HEIGHT // side, WIDTH // side
    tiles = (
        image.view(len(image), 3, rows, side, columns, side)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(len(image), -1, 3, side, side)
    )
    tiles = tiles[:, torch.randperm(rows * columns, device=image.device)]
    return tiles.view(len(image), rows, columns, 3, side, side).permute(0, 3, 1, 4, 2, 5).reshape(image.shape)


TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))

TO_RGB = np.linalg.inv(np.array(TO_YIQ)).tolist()


def recolor(image: Tensor) -> Tensor:
    """Change colours, sharpness and noise of each photo, (B, 3, H, W) float of 0 to 255."""
    count, device = len(image), image.device
    to_yiq = torch.tensor(TO_YIQ, device=device)
    brightness, contrast = uniform(count, 0.72, 1.28, device), uniform(count, 0.7, 1.3, device)
    saturation = uniform(count, 0.6, 1.4, device)
    kind = torch.rand(count, device=device)
    saturation = torch.where(kind < 0.15, 0.0, torch.where(kind < 0.25, saturation * 0.4, saturation))
    turn = uniform(count, -0.4, 0.4, device)
    cos, sin = turn.cos() * saturation, turn.sin() * saturation
    chroma = torch.zeros(count, 3, 3, device=device)
    chroma[:, 0, 0] = 1
    chroma[:, 1, 1], chroma[:, 1, 2], chroma[:, 2, 1], chroma[:, 2, 2] = cos, -sin, sin, cos
    matrix = (
        torch.tensor(TO_RGB, device=device, dtype=torch.float32)
        @ chroma
        @ to_yiq
        * (brightness * contrast).view(-1, 1, 1)
    )
    tint = torch.randn(count, 3, device=device) * 10 * (torch.rand(count, 1, device=device) < 0.3).float()
    offset = ((1 - contrast) * brightness * 118).view(-1, 1) + tint
    image = torch.einsum("bij,bjhw->bihw", matrix, image) + offset.view(-1, 3, 1, 1)
    gamma = uniform(count, -0.35, 0.35, device).exp().view(-1, 1, 1, 1)
    image = 255 * (image.clamp(0, 255) / 255).pow(gamma)
    blurred = (torch.rand(count, device=device) < 0.2).nonzero().squeeze(1)
    if len(blurred):
        factor = float(torch.empty(1).uniform_(0.25, 0.7))
        small = F.interpolate(image[blurred], scale_factor=factor, mode="bilinear", antialias=True)
        image[blurred] = F.interpolate(small, (HEIGHT, WIDTH), mode="bilinear")
    noisy = (torch.rand(count, 1, 1, 1, device=device) < 0.2).float() * uniform(count, 0, 14, device).view(-1, 1, 1, 1)
    image = image + noisy * torch.randn_like(image)
    return image.clamp(0, 255).round()


def batch_of(photos: Photos, index: Tensor, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Return image, (B, 3, H, W) uint8, and mask, (B, 2, H, W) uint8: groups and categories."""
    count, device = len(index), index.device
    image, mask, inside = warp(photos, index)
    draw = torch.rand(count, 1, 1, 1, device=device)
    texture = textures(count, device)
    other, other_mask, other_inside = warp(photos, index.roll(1), zooms=((1.0, 1.0, 3.0),))
    # The background behind another photo's garments is not useful for training.
    is_plain = (other_mask[:, :1] == 0) & other_inside
    behind = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.5, other, texture)
    behind_label = torch.where((behind == texture).all(dim=1, keepdim=True) | is_plain, 0, IGNORED).to(torch.uint8)
    # Around the photo: the fill colour, which teaches nothing, or something else, which is background.
    outside = ~inside
    with_fill = draw < 0.4
    image = torch.where(outside, torch.where(with_fill, fill, behind), image)
    mask = torch.where(outside, torch.where(with_fill, torch.full_like(mask, IGNORED), behind_label), mask)
    # Garments before another background.
    pasted = (torch.rand(count, 1, 1, 1, device=device) < 0.08) & (mask[:, :1] == 0)
    image = torch.where(pasted, behind, image)
    mask = torch.where(pasted, behind_label, mask)
    # Nothing at all.
    kind = torch.rand(count, device=device)
    empty = (kind < 0.06).nonzero().squeeze(1)
    if len(empty):
        tiles = shuffled(image[empty])
        image[empty] = torch.where((kind[empty] < 0.025).view(-1, 1, 1, 1), tiles, texture[empty])
        mask[empty] = 0
    return recolor(image).to(torch.uint8), mask
