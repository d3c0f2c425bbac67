import pytest

from clothseg.prediction.runtimes.model_file import add_metadata
from tests.export.small_model import DESCRIPTION


@pytest.fixture(scope="session")
def write_portable(tmp_path_factory, small_graph):
    """Writes the exported small model with a check of one's own, and returns the path."""

    def write(check=None, name="small.onnx"):
        path = tmp_path_factory.mktemp("portable") / name
        path.write_bytes(add_metadata(small_graph, DESCRIPTION, check or {}))
        return path

    return write


@pytest.fixture(scope="session")
def portable_path(write_portable):
    return write_portable()
