import sys

import pytest

from clothseg.errors import MissingExtraError, SettingError
from clothseg.prediction.runtimes import open_runtime
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
    with pytest.raises(SettingError, match="ONNX Runtime computes in fp32, not in 'bf16'"):
        open_runtime(portable_path, runtime="onnxruntime", precision="bf16")


def test_without_onnxruntime_the_install_line_is_told(portable_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r'pip install "clothseg\[onnxruntime\]"'):
        open_runtime(portable_path, runtime="onnxruntime")
