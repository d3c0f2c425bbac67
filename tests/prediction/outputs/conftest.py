import cv2
import numpy as np
import pytest

from clothseg.labels import GROUPS
from clothseg.prediction.segmentation import Segmentation

UPPERBODY, LOWERBODY, OTHERS = (GROUPS.id_of(name) for name in ("upperbody", "lowerbody", "others"))


def segmentation_of(mask, file):
    """A segmentation of a mask, sure of itself."""
    logits = np.where(mask == np.arange(13)[:, None, None], 5, 0).astype(np.float32)
    return Segmentation(
        mask,
        GROUPS.palette[mask],
        GROUPS,
        logits,
        file=file,
        model={"name": "m.onnx", "version": "1", "sha256": "ab" * 32},
    )


@pytest.fixture(scope="session")
def segmentations():
    """A figure with a hole and a speck, blobs of all classes, a photo that shows nothing, one all of a class."""
    figure = np.zeros((90, 60), np.uint8)
    figure[10:45, 5:35] = UPPERBODY
    figure[45:80, 15:45] = LOWERBODY
    figure[20:30, 10:20] = 0
    figure[5, 50] = UPPERBODY
    rng = np.random.default_rng(0)
    blobs = cv2.medianBlur(cv2.resize(rng.integers(0, 13, (6, 9), np.uint8), (301, 200), interpolation=0), 9)
    return [
        segmentation_of(figure, "album/two words & more.jpg"),
        segmentation_of(blobs, "кофта.png"),
        segmentation_of(np.zeros((7, 9), np.uint8), 'odd "quotes" <x>.jpg'),
        segmentation_of(np.full((300, 400), OTHERS, np.uint8), "all.jpg"),
    ]


@pytest.fixture(scope="session")
def results(segmentations):
    return [segmentation.to_coco() for segmentation in segmentations]
