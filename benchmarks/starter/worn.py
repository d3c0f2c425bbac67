"""A network of categories: a class is the sum of its categories, and categories absent from the photo are excluded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clothseg.garment_names import FASHIONPEDIA_CATEGORIES
from clothseg.labels import GROUPS
from clothseg.model.network import SegmentationNetwork, build_network

ABSENT = -30.0
"""Logit of a group of which the data shows nothing."""
RADIUS, EPSILON, LEAST = 3, 1e-3, 1e-3
"""Of the guided filter: cells around a cell, least variance of colours of 0 to 1; and the least probability."""


def group_of_category(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the names of the groups, and the group's id for each category; background is 0."""
    group = {name: key for key, members in FASHIONPEDIA_CATEGORIES.items() for name in members}
    return list(GROUPS.names), [GROUPS.names.index(group[name]) if name in group else 0 for name in names]


class Presence(nn.Module):
    """Tells from the deepest features whether anything is worn in the photo, and in which of its cells of 32 pixels.

    Args:
        channels: of the deepest features.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.cell = nn.Conv2d(channels, 128, 1)
        self.whole = nn.Sequential(nn.Linear(2 * channels, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 129))
        self.last = nn.Conv2d(128, 1, 1)

    def forward(self, deepest: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the cells, (B, 1, H/32, W/32), and of the photo, (B, 1)."""
        scaled = (deepest - self.mean.view(1, -1, 1, 1)) / self.spread.view(1, -1, 1, 1)
        whole = self.whole(torch.cat([scaled.mean((2, 3)), scaled.amax((2, 3))], dim=1))
        cells = self.last(F.relu(self.cell(scaled) + whole[:, 1:, None, None]))
        return cells, whole[:, :1]


class GatedNetwork(nn.Module):
    """An FPN whose deepest features are averaged over the photo, to say which categories are worn.

    The log-sigmoid of that logit is added to the category's plane: a category that the whole photo rules out is found
    nowhere in it. The averaged features are added to the deepest ones, too, so that the decoder knows the whole photo.

    Args:
        network: with a plane for each category, background first.
        names: of the categories.
    """

    fill: Tensor
    groups_of: Tensor

    def __init__(self, network: SegmentationNetwork, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = list(names)
        self.group_names, ids = group_of_category(self.names)
        self.num_groups = len(self.group_names)
        if ids != sorted(ids, key=ids.index):
            raise ValueError(f"The categories of a group must follow each other, not {self.names}")
        self.planes = [
            (ids.index(group), ids.count(group)) if group in ids else (0, 0) for group in range(self.num_groups)
        ]
        channels = int(network.network.get_submodule("encoder").out_channels[-1])  # type: ignore[index, arg-type]
        self.worn = nn.Sequential(nn.Linear(2 * channels, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, len(names)))
        self.context = nn.Linear(2 * channels, channels)
        nn.init.zeros_(self.context.weight)
        nn.init.zeros_(self.context.bias)
        nn.init.constant_(self.worn[3].bias, 2.0)
        self.register_buffer("groups_of", torch.tensor(ids), persistent=False)
        self.register_buffer("fill", torch.tensor(network.normalization.fill, dtype=torch.float32), persistent=False)
        self.presence: Presence | None = None
        self.temperatures = (1.0, 1.0)
        self.seen = 0

    @classmethod
    def build(
        cls, encoder_name: str, weights: str | None, names: Sequence[str], *, decoder_width: float
    ) -> GatedNetwork:
        """Build a network with the encoder's weights."""
        network = build_network(
            "fpn", encoder_name, encoder_weights=weights, num_classes=len(names), decoder_width=decoder_width
        )
        return cls(network, names)

    def encoded(self, image: Tensor) -> list[Tensor]:
        """Return the encoder's features of photos, (B, 3, H, W) uint8, the deepest last."""
        inner: Any = self.network.network
        return list(inner.encoder(image * self.network.scale - self.network.shift))

    def coarse(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of categories at a quarter of the size, (B, K, H/4, W/4), and of what is worn, (B, K)."""
        inner: Any = self.network.network
        features = self.encoded(image)
        deepest = features[-1]
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], dim=1)
        worn = self.worn(pooled)
        features[-1] = deepest + self.context(pooled)[..., None, None]
        local = inner.segmentation_head[0](inner.decoder(features))
        gate = log_sigmoid(worn.float())[..., None, None]
        if self.presence is not None:
            cells, whole = self.presence(deepest)
            cells = F.interpolate(cells, scale_factor=8.0, mode="bilinear", align_corners=False)
            gate = gate + log_sigmoid(cells) + log_sigmoid(whole)[..., None, None]
        return torch.cat([local[:, :1], local[:, 1:] + gate[:, 1:]], dim=1), worn

    def groups(self, categories: Tensor) -> Tensor:
        """Return logits of groups, (B, G, H, W), which are sums of the probabilities of their categories."""
        empty = torch.full_like(categories[:, :1], ABSENT)
        return torch.cat(
            [
                categories[:, first : first + count].logsumexp(dim=1, keepdim=True) if count else empty
                for first, count in self.planes
            ],
            dim=1,
        )

    def enlarged(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of categories and of groups at the input's size."""
        categories, groups = (
            F.interpolate(one, scale_factor=4.0, mode="bilinear", align_corners=False)
            for one in (coarse, self.groups(coarse))
        )
        return categories, groups

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of groups, (B, G, H, W) float32, of photos, (B, 3, H, W) uint8."""
        return self.outputs(image)[0]

    def outputs(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the model file gives: `forward`'s, and the logits of categories, (B, K, H/2, W/2) float32.

        Both are calibrated, and `guided` by the photo.
        """
        categories = self.coarse(image)[0].float()
        color = F.avg_pool2d(image.float(), 2)
        groups, categories = (
            guided(color, (logits / temperature).softmax(dim=1)).clamp_min(LEAST).log()
            for logits, temperature in zip((self.groups(categories), categories), self.temperatures, strict=True)
        )
        return F.interpolate(groups, scale_factor=2.0, mode="bilinear", align_corners=False), categories


class Outputs(nn.Module):
    """A network that returns both outputs of the model file."""

    def __init__(self, network: GatedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return `GatedNetwork.outputs`."""
        return self.network.outputs(image)


def log_sigmoid(logits: Tensor) -> Tensor:
    """Return the logarithm of the sigmoid in a form that an export does not write as log(0) where that is too small."""
    return -F.softplus(-logits)


def guided(image: Tensor, planes: Tensor) -> Tensor:
    """Enlarge planes twice, along the photo's edges: near each cell, a plane is a linear function of the colours.

    Args:
        image: (B, 3, H, W) float32 RGB, 0 to 255.
        planes: (B, C, H/2, W/2).

    Returns:
        (B, C, H, W).

    Source: He and Sun, Fast Guided Filter, 2015.
    """

    def box(values: Tensor) -> Tensor:
        for size in ((2 * RADIUS + 1, 1), (1, 2 * RADIUS + 1)):
            padding = (size[0] // 2, size[1] // 2)
            values = F.avg_pool2d(values, size, stride=1, padding=padding, count_include_pad=False)
        return values

    def covariances(values: Tensor, means: Tensor, others: Tensor, other_means: Tensor) -> Tensor:
        return box(values * others) - means * other_means

    # Brightness apart from tints: as RGB, the matrices of grey photos are nearly singular in float32.
    basis = torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]]) / torch.tensor([[3.0], [2], [6]]).sqrt()
    guide = F.conv2d(image / 255 - 0.5, basis[:, :, None, None])
    small, count = F.avg_pool2d(guide, 2), planes.shape[1]
    mean, means = box(small), box(planes)
    # Symmetric matrices of 3 x 3 are six planes: 00, 01, 02, 11, 12, 22. OpenVINO cannot compile one formula of all.
    first, second = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
    colors = covariances(small[:, first], mean[:, first], small[:, second], mean[:, second])
    colors = colors + EPSILON * torch.tensor([1.0, 0, 0, 1, 0, 1]).view(1, 6, 1, 1)
    adjugate = (
        colors[:, [3, 2, 1, 0, 1, 0]] * colors[:, [5, 4, 4, 5, 2, 3]]
        - colors[:, [4, 1, 2, 2, 0, 1]] * colors[:, [4, 5, 3, 2, 4, 1]]
    )
    inverse = adjugate / (colors[:, :3] * adjugate[:, :3]).sum(dim=1, keepdim=True)
    repeated, tiled = mean.repeat_interleave(count, dim=1), means.repeat(1, 3, 1, 1)
    shared = covariances(small.repeat_interleave(count, dim=1), repeated, planes.repeat(1, 3, 1, 1), tiled)
    slopes = [
        sum(inverse[:, [place]] * one for place, one in zip(row, shared.chunk(3, dim=1), strict=True))
        for row in ((0, 1, 2), (1, 3, 4), (2, 4, 5))
    ]
    constant = means - sum(slope * one for slope, one in zip(slopes, mean.split(1, dim=1), strict=True))
    *slopes, constant = (
        F.interpolate(box(one), scale_factor=2.0, mode="bilinear", align_corners=False) for one in (*slopes, constant)
    )
    return constant + sum(slope * one for slope, one in zip(slopes, guide.split(1, dim=1), strict=True))
