import cv2
import numpy as np
import pytest
from PIL import Image

from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.segmentation import Segmentation
from clothseg.transforms import IMAGENET

UPPERBODY, LOWERBODY, OTHERS = (GROUPS.id_of(name) for name in ("upperbody", "lowerbody", "others"))


class ColorRuntime:
    """A runtime of NumPy alone: a pixel belongs to the class whose colour is nearest to its own.

    It is exact and needs no training, so that tests know the mask of a photo in advance.
    """

    name = "numpy"
    sha256 = "ab"
    streams = 1

    def __init__(self, image_size):
        self.description = ModelDescription(
            classes=GROUPS, architecture="colors", encoder_name="none", image_size=image_size, normalization=IMAGENET
        )

    def logits(self, batch):
        assert batch.dtype == np.uint8
        assert batch.shape[1] % 32 == batch.shape[2] % 32 == 0
        differences = batch[..., None, :].astype(np.float32) - GROUPS.palette.astype(np.float32)
        return np.moveaxis(-np.square(differences / 100).sum(axis=-1), -1, 1)


@pytest.fixture(scope="session")
def predictor():
    return Predictor(ColorRuntime(64), model={"name": "colors", "version": "1"})


@pytest.fixture
def figure():
    """A photo, (90, 60, 3), of an upperbody above a lowerbody on a background, and its mask."""
    mask = np.zeros((90, 60), np.uint8)
    mask[10:45, 5:35] = GROUPS.id_of("upperbody")
    mask[45:80, 15:45] = GROUPS.id_of("lowerbody")
    return GROUPS.palette[mask], mask


@pytest.fixture
def photo_file(tmp_path, figure):
    """Writes a photo of the figure to a path below the test's own folder and returns the path."""

    def write(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure[0]).save(path, quality=95)
        return path

    return write


@pytest.fixture(scope="session")
def checkpoint_path(tmp_path_factory):
    """A checkpoint of a small real network with random weights."""
    from tests.export.small_model import write_checkpoint  # here, as it imports torch

    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny.ckpt")


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
