from dataclasses import replace

import onnx
import pytest

from clothseg.labels import CATEGORIES
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


@pytest.fixture(scope="session")
def two_outputs_path(tmp_path_factory, small_graph):
    """A model file with a second output: 13 categories, whose logits are the means of the groups' in 2 x 2 pixels."""
    model = onnx.load_from_string(small_graph)
    pool = onnx.helper.make_node("AveragePool", ["logits"], ["categories"], kernel_shape=[2, 2], strides=[2, 2])
    model.graph.node.append(pool)
    shape = ["batch", 13, "half_height", "half_width"]
    model.graph.output.append(onnx.helper.make_tensor_value_info("categories", onnx.TensorProto.FLOAT, shape))
    names = CATEGORIES.names
    description = replace(DESCRIPTION, categories=(names[0], *names[5:11], *names[20:26]))
    path = tmp_path_factory.mktemp("portable") / "two.onnx"
    path.write_bytes(add_metadata(model.SerializeToString(), description, {}))
    return path
