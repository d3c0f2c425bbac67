"""A network of categories: a class is the sum of its categories, and categories absent from the photo are excluded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clothseg.labels import FASHIONPEDIA_CATEGORIES, GROUPS
from clothseg.model.network import SegmentationNetwork, build_network

ABSENT = -30.0
"""Logit of a group of which the data shows nothing."""


def group_of_category(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the names of the groups, and the group's id for each category; background is 0."""
    group = {name: key for key, members in FASHIONPEDIA_CATEGORIES.items() for name in members}
    return list(GROUPS.names), [GROUPS.names.index(group[name]) if name in group else 0 for name in names]


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

    def coarse(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of categories at a quarter of the size, (B, K, H/4, W/4), and of what is worn, (B, K)."""
        inner: Any = self.network.network
        features = list(inner.encoder(image * self.network.scale - self.network.shift))
        deepest = features[-1]
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], dim=1)
        worn = self.worn(pooled)
        features[-1] = deepest + self.context(pooled)[..., None, None]
        local = inner.segmentation_head[0](inner.decoder(features))
        gate = -F.softplus(-worn.float())  # log-sigmoid, which an export writes as log(0) where a sigmoid is too small
        gate = torch.cat([torch.zeros_like(gate[:, :1]), gate[:, 1:]], dim=1)
        return local + gate[..., None, None], worn

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
        groups = self.groups(self.coarse(image)[0].float())
        return F.interpolate(groups, scale_factor=4.0, mode="bilinear", align_corners=False)
