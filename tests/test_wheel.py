"""What `pip install clothseg` gives: a wheel in a clean environment predicts without torch."""

import io
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.encoding import encode_png
from clothseg.prediction.predictor import load
from clothseg.prediction.runtimes.model_file import add_metadata
from clothseg.serving.app import PAGE_FOLDER
from tests.conftest import HANG_SECONDS
from tests.export.small_model import DESCRIPTION, photo_of, write_checkpoint
from tests.serving.running_server import RunningServer
from tests.test_architecture import LIBRARY, ROOT, TORCH

pytestmark = pytest.mark.wheel

UV = shutil.which("uv")

SCRIPT = """
import sys
import clothseg
mask = clothseg.load("model.onnx").predict("photo.png").mask
assert mask.shape == (90, 60)
print(*sorted(name for name in {TORCH} if name in sys.modules))
"""


def run(*command, cwd):
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A folder with a virtual environment that contains the wheel and its dependencies, and nothing else."""
    if UV is None:
        pytest.skip("uv, which makes the clean environment, is not on the path")
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT), cwd=folder)
    run(UV, "venv", "--quiet", "--python", sys.executable, "venv", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    program = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    ended = subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", str(program), str(wheel)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    if ended.returncode and "error sending request" in ended.stderr.lower():
        pytest.skip("no package index can be reached to install the wheel's dependencies")
    assert ended.returncode == 0, ended.stderr
    return folder, program


def test_the_wheel_predicts_without_torch(environment, small_graph):
    folder, program = environment
    write_checkpoint(folder / "small.ckpt")
    (folder / "model.onnx").write_bytes(add_metadata(small_graph, DESCRIPTION, {}))
    Image.fromarray(photo_of(90, 60)).save(folder / "photo.png")

    assert run(str(program), "-c", SCRIPT.replace("{TORCH}", repr(sorted(TORCH))), cwd=folder) == "\n"
    installed = run(UV, "pip", "list", "--python", str(program), cwd=folder)
    assert "torch" not in installed

    command = Path(program).with_name("clothseg")
    run(str(command), "predict", "photo.png", "--ckpt", "model.onnx", "--json", cwd=folder)
    with Image.open(folder / "output" / "photo_mask.png") as image:
        ours = load(folder / "small.ckpt").predict(folder / "photo.png").mask
        assert (np.array(image) == ours).mean() > 0.999
    assert (folder / "output" / "photo_results.json").is_file()


def files_of(folder):
    """Return the files in a folder, compiled ones apart."""
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_the_wheel_ships_the_library_only(environment):
    folder, program = environment
    where = "import clothseg, pathlib; print(pathlib.Path(clothseg.__file__).parent)"
    installed = Path(run(str(program), "-c", where, cwd=folder).strip())
    assert files_of(installed) == files_of(LIBRARY)
    names = {path.name for path in installed.parent.iterdir()}
    assert not names & {"config.py", "train.py", "tests", "benchmarks"}


def test_what_needs_an_extra_says_which(environment):
    folder, program = environment
    ended = subprocess.run(
        [str(program), "-m", "clothseg.cli", "train"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert 'Run "clothseg prepare"' in ended.stderr, "a pip user has no train.py"
    prepare = subprocess.run(
        [str(program), "-m", "clothseg.cli", "prepare"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert prepare.returncode == 5
    assert 'pip install "clothseg[train]"' in prepare.stderr


def test_the_wheel_with_its_extra_serves(environment, tmp_path, small_graph):
    """The steps of the Dockerfile: the wheel, a clean environment, a server, a request."""
    folder, program = environment
    command = (str(program.with_name("clothseg")),)
    (tmp_path / "model.onnx").write_bytes(add_metadata(small_graph, DESCRIPTION, {}))
    without = subprocess.run([*command, "serve"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert without.returncode == 5
    assert 'pip install "clothseg[serve]"' in without.stderr

    (wheel,) = folder.glob("*.whl")
    run(UV, "pip", "install", "--quiet", "--python", str(program), f"{wheel}[serve]", cwd=folder)
    photo = encode_png(photo_of(90, 60))
    with RunningServer("--model", "model.onnx", program=command, cwd=tmp_path) as server, server.client() as client:
        answer = client.post("/v1/segment?output=mask", content=photo, headers={"Content-Type": "image/png"})
        with Image.open(io.BytesIO(answer.content)) as image:
            assert np.array_equal(np.array(image), load(tmp_path / "model.onnx").predict(photo).mask)
        for path in (one for one in PAGE_FOLDER.rglob("*") if one.is_file()):
            assert client.get(f"/page/{path.relative_to(PAGE_FOLDER).as_posix()}").content == path.read_bytes()
        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
    assert "torch" not in run(UV, "pip", "list", "--python", str(program), cwd=folder)
