import onnx
import pytest
import torch
from torch import nn

from clothseg import __version__
from clothseg.errors import ModelError
from clothseg.export.portable import to_onnx


@pytest.fixture(scope="module")
def model(small_graph):
    return onnx.load_from_string(small_graph)


def shape_of(value):
    return [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]


def test_any_number_of_photos_of_any_size_go_in_as_bytes(model):
    onnx.checker.check_model(model, full_check=True)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, shape_of(image)) == ("image", ["batch", "height", "width", 3])
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert (logits.name, shape_of(logits)) == ("logits", ["batch", 13, "height", "width"])
    assert logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_file_says_nothing_about_the_machine_it_was_made_on(model, small_graph):
    assert (model.producer_name, model.producer_version) == ("clothseg", __version__)
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b"site-packages" not in small_graph
    assert b".py" not in small_graph


def test_a_network_that_onnx_cannot_express_is_a_named_error(recwarn, capfd):
    class ByValue(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.float() if image.sum() > 0 else -image.float()

    with pytest.raises(ModelError, match=r"cannot be written as ONNX \(\w+: .*Predict with the original itself"):
        to_onnx(ByValue())
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
