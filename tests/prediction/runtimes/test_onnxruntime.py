import sys
from functools import partial

import numpy as np
import onnx
import pytest

from clothseg.errors import MissingExtraError, ModelError, SettingError
from clothseg.prediction.predictor import open_runtime
from clothseg.prediction.runtimes.model_file import add_metadata
from clothseg.prediction.runtimes.onnxruntime import OnnxRuntime
from tests.export.small_model import DESCRIPTION


def test_it_runs_exported_models_when_asked_to(portable_path):
    runtime = open_runtime(portable_path, runtime="onnxruntime")
    assert isinstance(runtime, OnnxRuntime)
    assert runtime.name == "ONNX Runtime on cpu"
    assert runtime.description == DESCRIPTION


def test_what_does_not_fit_is_refused(portable_path):
    with pytest.raises(SettingError, match="ONNX Runtime runs on the CPU here, not on 'mps'"):
        open_runtime(portable_path, runtime="onnxruntime", device="mps")
    with pytest.raises(SettingError, match="ONNX Runtime does not compute in 'bf16'"):
        open_runtime(portable_path, runtime="onnxruntime", precision="bf16")


def test_without_onnxruntime_the_install_line_is_named(portable_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="uv sync --extra onnxruntime"):
        open_runtime(portable_path, runtime="onnxruntime")


def test_a_graph_that_it_does_not_run_is_named(tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(add_metadata(b"", DESCRIPTION, {}))
    with pytest.raises(ModelError, match=r"ONNX Runtime does not run .*foreign\.onnx: "):
        open_runtime(path, runtime="onnxruntime")
    of_bytes = partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.UINT8, shape=None)
    node = onnx.helper.make_node("Identity", ["image"], ["other"])
    graph = onnx.helper.make_graph([node], "foreign", [of_bytes("image")], [of_bytes("other")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(add_metadata(model.SerializeToString(), DESCRIPTION, {}))
    with pytest.raises(ModelError, match="ONNX Runtime cannot run this model on 32 x 64 pixels: "):
        open_runtime(path, runtime="onnxruntime").logits(np.zeros((1, 32, 64, 3), np.uint8))
