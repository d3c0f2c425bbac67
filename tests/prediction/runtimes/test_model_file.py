import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from clothseg.errors import MissingModelError, ModelError
from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes import model_file
from clothseg.prediction.runtimes.model_file import ModelFile, _fields, _NoMessageError, _with_length, add_metadata
from clothseg.transforms import IMAGENET

DESCRIPTION = ModelDescription(
    classes=GROUPS, architecture="unet", encoder_name="resnet34", image_size=512, normalization=IMAGENET
)


def graph_with(**tensors):
    """Return a serialised ONNX model that adds constants to its input."""
    initializers = [
        one if isinstance(one, TensorProto) else numpy_helper.from_array(np.asarray(one), name)
        for name, one in tensors.items()
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n"])
    nodes = [helper.make_node("Add", ["image", "image"], ["logits"])]
    graph = helper.make_graph(nodes, "g", [image], [out], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()


GRAPH = graph_with(weight=np.linspace(-1, 1, 9, dtype=np.float32))
CHECKSUMMED = add_metadata(GRAPH, DESCRIPTION, {"bf16_miou_change": 0.0001})


def test_a_model_with_a_checksum_is_read_back():
    file = ModelFile.from_bytes(CHECKSUMMED)
    assert file.content == CHECKSUMMED
    assert file.description == DESCRIPTION
    assert file.check == {"bf16_miou_change": 0.0001}


def test_onnx_reads_the_file():
    model = onnx.load_from_string(CHECKSUMMED)
    onnx.checker.check_model(model)
    metadata = {one.key: one.value for one in model.metadata_props}
    assert json.loads(metadata["clothseg"])["description"] == DESCRIPTION.to_dict()
    digest = metadata["clothseg.sha256"]
    assert CHECKSUMMED.endswith(digest.encode())
    entry = onnx.StringStringEntryProto(key="clothseg.sha256", value=digest).SerializeToString()
    last = b"\x72" + bytes([len(entry)]) + entry
    assert hashlib.sha256(CHECKSUMMED.removesuffix(last)).hexdigest() == digest


def test_every_flipped_byte_is_noticed():
    for place in range(len(CHECKSUMMED)):
        damaged = bytearray(CHECKSUMMED)
        damaged[place] ^= 0x10
        with pytest.raises(ModelError, match=r"damaged|was not written by clothseg"):
            ModelFile.from_bytes(bytes(damaged))


def test_every_truncation_is_noticed():
    for length in range(len(CHECKSUMMED)):
        with pytest.raises(ModelError):
            ModelFile.from_bytes(CHECKSUMMED[:length])


def test_every_appended_byte_is_noticed():
    for more in (b"\0", b"\n", CHECKSUMMED, _with_length(14, b""), _with_length(7, b"")):
        with pytest.raises(ModelError):
            ModelFile.from_bytes(CHECKSUMMED + more)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_are_a_model_or_a_named_error(content):
    with pytest.raises(ModelError):
        ModelFile.from_bytes(content)


def test_files_that_are_no_model_raise_errors_that_name_them(tmp_path):
    path = tmp_path / "a model.onnx"
    for content, message in (
        (b"", r"is empty \(0 bytes\)"),
        (b"this is no model\n", "is cut off, damaged, or no ONNX file|was not written by clothseg"),
        (CHECKSUMMED[: len(CHECKSUMMED) // 2], "is cut off, damaged, or no ONNX file"),
        (CHECKSUMMED[:-1], "is cut off"),
        (GRAPH, "was not written by clothseg: it does not name its classes"),
        (b"PK\x03\x04" + bytes(60), "is cut off, damaged, or no ONNX file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            ModelFile.read(path)
        assert str(path) in str(caught.value)
        assert 'Make one from a checkpoint with "uv run clothseg export CKPT"' in str(caught.value)


def test_missing_files_and_folders_raise_errors_that_name_them(tmp_path):
    with pytest.raises(MissingModelError, match="Model not found"):
        ModelFile.read(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is a folder, not a file"):
        ModelFile.read(tmp_path)


def test_weights_that_are_not_finite_are_refused():
    for kind in (np.float32, np.float16, np.float64):
        for value in (math.nan, math.inf, -math.inf):
            weights = np.zeros(1000, kind)
            weights[777] = value
            graph = graph_with(fine=np.ones(3, np.float32), counts=np.arange(3), broken=weights)
            with pytest.raises(ModelError, match=r"NaN or infinite, first in broken"):
                ModelFile.from_bytes(add_metadata(graph, DESCRIPTION, {}))
    broken = helper.make_tensor("old", TensorProto.FLOAT, [3], [1.0, math.nan, 2.0])
    assert not broken.raw_data, "it is in ONNX's older field"
    with pytest.raises(ModelError, match="first in old"):
        ModelFile.from_bytes(add_metadata(graph_with(old=broken), DESCRIPTION, {}))


def test_large_whole_and_empty_weights_are_finite():
    for weights in (np.float32([3e38, -3e38]), np.arange(5), np.zeros(0, np.float32)):
        assert ModelFile.from_bytes(add_metadata(graph_with(weights=weights), DESCRIPTION, {})).check == {}


def test_a_later_format_is_refused(monkeypatch):
    monkeypatch.setattr(model_file, "FORMAT", 3)
    later = add_metadata(GRAPH, replace(DESCRIPTION, input_size=(64, 32)), {})
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"later clothseg \(format 3, this one reads 2\): pip install -U clothseg"):
        ModelFile.from_bytes(later)


def test_a_malformed_description_is_refused():
    wrong = replace(DESCRIPTION, image_size=33)
    with pytest.raises(ModelError, match="wrong image_size: 33"):
        ModelFile.from_bytes(add_metadata(GRAPH, wrong, {}))


def test_bf16_is_allowed_where_the_check_on_real_photos_changed_little():
    for change, share, allowed in (
        (0.0019, 0.019, True),
        (-0.0019, 0.0, True),
        (0.002, 0.001, False),
        (-0.3, 0.001, False),
        (0.0001, 0.02, False),
        (None, 0.001, False),
        (0.0001, None, False),
    ):
        check = {"bf16_miou_change": change, "bf16_share_differing": share}
        assert ModelFile.from_bytes(add_metadata(GRAPH, DESCRIPTION, check)).allows_bf16 is allowed, check
    assert ModelFile.from_bytes(add_metadata(GRAPH, DESCRIPTION, {})).allows_bf16 is False


@given(st.lists(st.tuples(st.integers(1, 2**28), st.binary(max_size=300)), max_size=5))
@settings(max_examples=100)
def test_written_fields_are_read_back(written):
    message = b"".join(_with_length(number, content) for number, content in written)
    read = [(number, message[start:end]) for number, start, end in _fields(message, 0, len(message))]
    assert read == written


def test_bytes_that_are_no_message_are_refused():
    for message in (b"\x0b", b"\x80", b"\xff" * 11, b"\x72\x05abc", b"\x02\x01a", b"\x09abc"):
        with pytest.raises(_NoMessageError):
            list(_fields(message, 0, len(message)))
