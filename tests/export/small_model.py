"""A small real network, its checkpoint and photos for it; its export is the fixture `small_graph`."""

import cv2
import numpy as np
import torch

from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.model.network import network_of
from clothseg.transforms import IMAGENET

DESCRIPTION = ModelDescription(
    classes=GROUPS, architecture="unet", encoder_name="tu-test_resnet", image_size=64, normalization=IMAGENET
)


def small_network(seed=0):
    """Return a network with random weights, evened out so that many classes win somewhere."""
    torch.manual_seed(seed)
    network = network_of(DESCRIPTION).eval()
    head = network.network.segmentation_head[0]
    with torch.inference_mode():
        planes = network(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)).movedim(1, 0).flatten(1)
    spread, mean = planes.std(dim=1), planes.mean(dim=1)
    with torch.no_grad():
        head.weight /= spread[:, None, None, None]
        head.bias.copy_((head.bias - mean) / spread)
    return network


def write_checkpoint(path):
    weights = {f"network.{name}": tensor for name, tensor in small_network().state_dict().items()}
    torch.save({"clothseg": DESCRIPTION.to_dict(), "state_dict": weights}, path)
    return path


def photo_of(height, width):
    """Return a smooth random photo, (height, width, 3) uint8 RGB."""
    coarse = np.random.default_rng(height).integers(0, 256, (12, 9, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
