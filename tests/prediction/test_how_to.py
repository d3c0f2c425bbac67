"""Commands and Python of the pages in docs/how-to about prediction run as written there."""

import io
import re
import shlex
import shutil
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from clothseg import cli
from clothseg.settings import Settings
from tests.data.file_server import serving

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = ("predict.md", "labelling-tools.md", "try-on.md")


def blocks(language):
    found = re.compile(rf"^ *```{language}\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(block, id=f"{page}-{number}")
        for page in PAGES
        for number, block in enumerate(found.findall((HOW_TO / page).read_text(encoding="utf-8")))
    ]


@pytest.fixture(scope="module")
def here(tmp_path_factory, checkpoint_path):
    """A folder with the photos and the model that the pages use."""
    folder = tmp_path_factory.mktemp("how-to")
    rng = np.random.default_rng(0)
    for name, side in (("photo", 90), ("large", 300), ("photos/a", 80), ("photos/deep/b", 70)):
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (8, 6, 3), np.uint8)
        Image.fromarray(cv2.resize(coarse, (side * 3 // 4, side), interpolation=cv2.INTER_CUBIC)).save(path)
    # A checkpoint in place of an exported model, which tests/export tests.
    on_hub = folder / "hub" / "owner" / "name" / "resolve" / "main"
    on_hub.mkdir(parents=True)
    for place in (folder, on_hub):
        shutil.copy(checkpoint_path, place / "model.ckpt")
    with serving(folder / "hub") as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.address)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(autouse=True)
def _in_folder(here, monkeypatch):
    monkeypatch.chdir(here)


def with_checkpoint(text):
    return text.replace("model.onnx", "model.ckpt")


@pytest.mark.parametrize("block", blocks("bash"))
def test_commands(block, monkeypatch, capfd):
    for line in block.splitlines():
        before, _, words = with_checkpoint(line).rpartition("uv run infer.py ")
        arguments = shlex.split(words)
        if "--ckpt" not in arguments:
            arguments += ["--ckpt", "starter" if "categories" in arguments else "model.ckpt"]
        if before:
            assert before == 'find photos -name "*.jpg" | '
            names = "\n".join(str(path) for path in Path("photos").rglob("*.jpg"))
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
        with pytest.raises(SystemExit) as leaving:
            cli.start("predict", Settings(), arguments=arguments, program="infer.py")
        written = capfd.readouterr().out.splitlines()
        assert leaving.value.code == 0
        assert written
        assert all(Path(path).is_file() for path in written)


@pytest.mark.parametrize("block", blocks("python"))
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_python(block, capfd):
    if "output/coco" in block:
        words = ["photos", "--ckpt", "model.ckpt", "--formats", "coco", "coco-polygons"]
        with pytest.raises(SystemExit):
            cli.start("predict", Settings(), arguments=words, program="infer.py")
    exec(compile(textwrap.dedent(with_checkpoint(block)), "how-to", "exec"), {})
