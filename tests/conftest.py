import io
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from PIL import Image

ROOT = Path(__file__).parents[1]

HANG_SECONDS = 900
"""After this a process is called hung: many times what the slowest machine needs, so that load breaks no test."""

LONGEST = (
    "cluster/test_ray.py",
    "test_seed_commands.py",
    "training/test_processes.py",
    "training/test_launchers.py",
    "training/test_packed.py",
    "serving/test_load.py",
    "serving/page/test_errors.py",
    "test_reaper.py",
    "export/test_export_command.py",
    "test_wheel.py",
    "training/test_signals.py",
    "training/test_train_command.py",
    "serving/page/test_view.py",
    "serving/page/test_cutout.py",
    "serving/test_lifecycle.py",
    "test_custom_data.py",
)
"""Files of tests that take longest, which come first, so that no worker is left alone with one of them at the end."""

FULL_FIXTURES = {"api", "bucket", "chromium", "gs", "s3", "store", "two_nodes"}
"""Fixtures that use packages of the dependency group `full`."""

# Each worker of pytest-xdist has one core, and so has each process that a test starts.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

# Otherwise each of the many processes of a run compiles the modules that it imports, which doubles its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Nothing depends on models that earlier runs compiled, and none are left behind.
_CACHE = tempfile.TemporaryDirectory(prefix="clothseg-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name

# A shell that starts pytest in the background lets it ignore SIGINT, and all its processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: a failure is the change's, and repeats.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def unpacked(content):
    """Return a file's bytes; a PNG's with its pixels uncompressed.

    isal compresses the same pixels in one of two ways now and then, on a busy machine, to the same result when read.
    """
    if not content.startswith(b"\x89PNG"):
        return content
    with Image.open(io.BytesIO(content)) as picture:
        return picture.mode, picture.size, picture.info, picture.getpalette(), picture.tobytes()


def needs(module):
    """Import a module of the dependency group `full`; where it is not installed, skip the test that calls this."""
    return pytest.importorskip(module, reason=f"{module} is not installed. Install it with: uv sync --group full")


def pytest_configure(config):
    """Let a process of its own end what this run leaves behind, also if the run is killed."""
    if hasattr(config, "workerinput"):
        return
    name, value = "CLOTHSEG_TEST_RUN", uuid.uuid4().hex
    words = [str(ROOT / "tests" / "reaper.py"), str(os.getpid()), name, value]
    os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *words])
    os.environ[name] = value


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if any(item.get_closest_marker(name) for name in ("browser", "cluster", "processes", "wheel")):
            item.add_marker("slow")
        if FULL_FIXTURES & set(item.fixturenames):
            item.add_marker("full")
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def signals_as_before():
    """Put signal handlers back after each test: loaders and commands leave theirs behind."""
    names = ("SIGCHLD", "SIGTERM", "SIGINT", "SIGUSR1")
    before = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    yield
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory):
    """The ONNX graph of `small_network`, without checksum. Its export takes ten seconds, so one worker shares it."""
    from clothseg.export.portable import to_onnx
    from tests.export.small_model import small_network

    folder = tmp_path_factory.getbasetemp()
    path = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "small graph.onnx"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            path.write_bytes(to_onnx(small_network()))
    return path.read_bytes()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory, small_graph):
    """A small real network, exported."""
    from clothseg.prediction.runtimes.model_file import add_metadata
    from tests.export.small_model import DESCRIPTION

    path = tmp_path_factory.mktemp("model") / "small.onnx"
    path.write_bytes(add_metadata(small_graph, DESCRIPTION, {}))
    return path


@pytest.fixture
def run_in(tmp_path):
    """Run a program as a user would, in `tmp_path`, without the model hubs; nothing it started outlives it."""

    def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONWARNINGS": "default"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, messages = process.communicate(timeout=HANG_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return subprocess.CompletedProcess(command, process.returncode, output, messages)

    return run


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hub(hub_cache, monkeypatch):
    """A hub on this machine, empty."""
    from tests.hub import serving

    with serving(monkeypatch) as hub:
        yield hub
