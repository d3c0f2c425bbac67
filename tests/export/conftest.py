import pytest

from clothseg.encoding import encode_jpeg
from tests.export.small_model import photo_of, write_checkpoint


@pytest.fixture(scope="session")
def small_checkpoint_path(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small.ckpt")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, size in enumerate([(90, 60), (60, 90), (1, 1), (128, 128), (300, 20)]):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(photo_of(*size)))
    return folder
