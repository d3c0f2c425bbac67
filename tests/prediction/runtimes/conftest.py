import pytest

from clothseg.prediction.model_file import seal_model
from tests.export.small_model import DESCRIPTION, small_graph, write_checkpoint


@pytest.fixture(scope="session")
def write_portable(tmp_path_factory):
    """Writes the exported small model with a check of one's own, and returns the path."""

    def write(check=None, name="small.onnx"):
        path = tmp_path_factory.mktemp("portable") / name
        path.write_bytes(seal_model(small_graph(), DESCRIPTION, check or {}))
        return path

    return write


@pytest.fixture(scope="session")
def portable_path(write_portable):
    return write_portable()


@pytest.fixture(scope="session")
def small_checkpoint_path(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small.ckpt")
