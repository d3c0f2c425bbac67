import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clothseg.errors import MissingExtraError, MissingModelError, ModelError, SettingError
from clothseg.prediction.predictor import load, open_runtime
from clothseg.prediction.runtimes import openvino
from clothseg.prediction.runtimes.openvino import OpenVINORuntime, multiplies_bf16, one_core
from tests.export.small_model import DESCRIPTION, photo_of

HAS_BF16 = "BF16" in one_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bfloat16")


@pytest.fixture(scope="module")
def runtime(portable_path):
    return open_runtime(portable_path)


def test_openvino_is_the_default_runtime_of_exported_models(runtime, portable_path):
    assert isinstance(runtime, OpenVINORuntime)
    assert runtime.name == "OpenVINO on cpu"
    assert runtime.description == DESCRIPTION
    assert load(portable_path).predict(photo_of(90, 60)).mask.shape == (90, 60)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_logits_are_the_same_bits_whatever_was_computed_before_and_however_many_at_a_time(
    portable_path, monkeypatch, precision
):
    """Otherwise a run that was killed and resumed, or another process, would write other files."""
    monkeypatch.setattr(openvino, "_MAX_SIZES", 2)
    monkeypatch.setattr(openvino, "num_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    photos = {size: photo_of(*size)[None] for size in ((64, 64), (64, 32), (32, 96))}
    alone = {
        size: OpenVINORuntime.open(portable_path, precision=precision).logits(photo) for size, photo in photos.items()
    }
    runtime = OpenVINORuntime.open(portable_path, precision=precision)
    many = OpenVINORuntime.open(portable_path, precision=precision, many_photos=True)
    assert (runtime.streams, many.streams) == (1, 2)
    for size in [(64, 64), (64, 32), (32, 96), (64, 64), *[(32, 96)] * 3, (64, 64), (64, 32), (32, 96)]:
        np.testing.assert_array_equal(runtime.logits(photos[size]), alone[size])
        np.testing.assert_array_equal(many.logits(photos[size]), alone[size])
        assert len(runtime._compiled) <= 2


AFFINITIES = """
import contextlib, os, sys
from pathlib import Path
from threading import Thread
import numpy as np
from clothseg.prediction.runtimes.openvino import OpenVINORuntime

def compute():
    for _ in range(10):
        runtime.logits(np.zeros((1, 256, 256, 3), dtype=np.uint8))

runtime = OpenVINORuntime.open(Path(sys.argv[1]), precision="fp32")
compute()  # OpenVINO finds out about the cores by binding a thread to each, for a moment
allowed, seen = os.sched_getaffinity(0), set()
computing = Thread(target=compute)
computing.start()
while computing.is_alive():
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            seen.add(frozenset(os.sched_getaffinity(int(thread))))
assert seen == {frozenset(allowed)}, (seen, allowed)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports which cores a thread may use")
def test_no_thread_is_bound_to_a_core_that_another_process_may_use(portable_path, run_in):
    for threads in ("1", "2"):
        ended = run_in("-c", AFFINITIES, str(portable_path), OMP_NUM_THREADS=threads)
        assert ended.returncode == 0, ended.stderr


def test_the_compiled_network_is_not_bound_to_cores_and_has_the_allowed_threads(portable_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    runtime = OpenVINORuntime.open(portable_path)
    network = runtime._compiled_for((32, 32)).network
    assert network.get_property("ENABLE_CPU_PINNING") is False
    assert network.get_property("INFERENCE_NUM_THREADS") == 2


def test_with_one_core_there_is_one_stream(portable_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert OpenVINORuntime.open(portable_path, many_photos=True).streams == 1


def test_results_are_not_overwritten_by_the_next(runtime):
    first = runtime.logits(photo_of(64, 64)[None])
    before = first.copy()
    runtime.logits(255 - photo_of(64, 64)[None])
    np.testing.assert_array_equal(first, before)


def test_threads_may_share_a_runtime(runtime, portable_path):
    photos = [photo_of(64, 64 if number % 2 else 96)[None] for number in range(16)]
    expected = [runtime.logits(photo) for photo in photos]
    for shared in (runtime, open_runtime(portable_path, many_photos=True)):
        with ThreadPoolExecutor(4) as pool:
            for found, wanted in zip(pool.map(shared.logits, photos), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


@needs_bf16
@pytest.mark.parametrize(("change", "expected"), [(0.0001, "bf16"), (0.01, "fp32"), (None, "fp32")])
def test_bf16_is_the_default_where_the_check_on_real_photos_allows_it(write_portable, change, expected):
    path = write_portable({"bf16_miou_change": change, "bf16_share_differing": 0.001})
    assert open_runtime(path).precision == (expected if multiplies_bf16() else "fp32")
    assert open_runtime(path, precision="fp32").name == "OpenVINO on cpu"
    rounded = open_runtime(path, precision="bf16")
    assert rounded.name == "OpenVINO on cpu, bf16"
    batch = photo_of(64, 64)[None]
    difference = np.abs(rounded.logits(batch) - open_runtime(path, precision="fp32").logits(batch)).max()
    assert 1e-3 < difference < 0.5


def test_what_does_not_fit_is_refused(portable_path, tmp_path):
    with pytest.raises(SettingError, match="OpenVINO runs on the CPU here, not on 'cuda'"):
        open_runtime(portable_path, device="cuda")
    with pytest.raises(SettingError, match=r"Unknown precision 'int4'\. Allowed: auto, fp32, bf16, int8"):
        open_runtime(portable_path, precision="int4")
    with pytest.raises(SettingError, match=r"'torch' does not run small\.onnx\. Allowed: auto, openvino, onnxruntime"):
        open_runtime(portable_path, runtime="torch")
    with pytest.raises(MissingModelError, match="Model not found"):
        open_runtime(tmp_path / "none.onnx")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_damaged_model_never_runs(portable_path, tmp_path, name):
    content = bytearray(portable_path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged\.onnx is damaged: it does not match its SHA-256"):
        open_runtime(tmp_path / "damaged.onnx", runtime=name)


def test_without_openvino_the_install_line_is_named(portable_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="pip install openvino"):
        open_runtime(portable_path)


def test_predicting_imports_no_torch(portable_path, run_in):
    code = (
        "import sys, numpy\n"
        "import clothseg\n"
        "from clothseg.prediction.predictor import load\n"
        "for runtime in ('openvino', 'onnxruntime'):\n"
        "    predictor = load(sys.argv[1], runtime=runtime)\n"
        "    assert predictor.predict(numpy.zeros((90, 60, 3), numpy.uint8)).mask.shape == (90, 60)\n"
        "    unwanted = {'torch', 'onnx', 'lightning', 'segmentation_models_pytorch', 'openvino.tools.ovc'}\n"
        "    found = unwanted & set(sys.modules)\n"
        "    assert not found, (runtime, found)\n"
    )
    ended = run_in("-W", "error", "-c", code, str(portable_path))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_openvinos_converter_still_works_for_others(portable_path, run_in):
    code = (
        "import sys\n"
        "from clothseg.prediction.runtimes.openvino import import_openvino\n"
        "openvino = import_openvino()\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "assert openvino.convert_model(sys.argv[1]).inputs[0].partial_shape.rank == 4\n"
    )
    ended = run_in("-c", code, str(portable_path))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_signals_do_not_crash_the_process_after_networks_were_opened_and_closed(portable_path, run_in):
    code = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from clothseg.prediction.runtimes.openvino import OpenVINORuntime\n"
        "seen = []\n"
        "signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))\n"
        "for size in ((64, 64), (64, 96), (32, 32)):\n"
        "    runtime = OpenVINORuntime.open(Path(sys.argv[1]))\n"
        "    for height in (size[0], 32, 64):\n"
        "        runtime.logits(np.zeros((1, height, size[1], 3), np.uint8))\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "del runtime\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "print(len(seen))\n"
    )
    ended = run_in("-c", code, str(portable_path))
    assert (ended.returncode, ended.stdout) == (0, "4\n"), ended.stderr
