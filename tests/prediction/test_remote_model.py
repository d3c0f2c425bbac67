"""Models at addresses: downloaded once, resumed, verified, and with the user's token for the hub alone."""

import hashlib
import os
from pathlib import Path

import pytest

from clothseg.errors import MachineError, ModelError, SettingError
from clothseg.prediction.remote_model import cache_folder, cached_model
from clothseg.starter import starter_model
from tests.data.broken_server import Answer, BrokenServer

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """An empty cache, and none of the variables that change what is asked."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def files_in_cache():
    return [path.name for path in cache_folder().rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize(
    "address",
    [
        "hf://owner/model.onnx",
        "hf://owner/name/model.pt",
        "hf://owner/name",
        "http://127.0.0.1/model.onnx",
        "https:///model.onnx",
        "https://user@127.0.0.1/model.onnx",
        "https://127.0.0.1:x/model.onnx",
        "https://127.0.0.1/a b/model.onnx",
        "https://127.0.0.1/model.onnx#sha256=12ab",
        f"https://127.0.0.1/model.onnx#{SHA256}",
        "s3://bucket/model.onnx",
    ],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(SettingError, match="Allowed: hf://"):
        cached_model(address)
    assert not cache_folder().exists()


@pytest.mark.parametrize("in_file", [False, True])
def test_a_file_of_the_hub_is_asked_for_once_and_with_the_token(in_file, monkeypatch, tmp_path):
    (tmp_path / "cache" / "huggingface").mkdir(parents=True)
    (tmp_path / "cache" / "huggingface" / "token").write_text("of the file\n")
    if not in_file:
        monkeypatch.setenv("HF_TOKEN", "of the variable")
    with BrokenServer(Answer(CONTENT)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
        path = cached_model("hf://owner/name/models/best.onnx")
        assert (path.name, path.read_bytes()) == ("best.onnx", CONTENT)
        assert cached_model("hf://owner/name/models/best.onnx") == path
        assert cached_model(f"hf://owner/name@refs%2Fpr%2F1/best.onnx#sha256={SHA256.upper()}") != path
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert cached_model("hf://owner/name/models/best.onnx") == path
        with pytest.raises(MachineError, match="HF_HUB_OFFLINE forbids a download"):
            cached_model("hf://owner/name/other.onnx")
        asked = [request.path for request in server.requests]
        assert asked == ["/owner/name/resolve/main/models/best.onnx", "/owner/name/resolve/refs%2Fpr%2F1/best.onnx"]
        token = "of the file" if in_file else "of the variable"
        assert {request.authorization for request in server.requests} == {f"Bearer {token}"}


def test_the_token_is_not_sent_to_the_server_of_a_redirect(monkeypatch):
    with BrokenServer(Answer(CONTENT)) as store, BrokenServer() as hub:
        hub.answers += [
            Answer(status=307, extra={"Location": "/moved/resolve/main/best.onnx"}),
            Answer(status=302, extra={"Location": f"{store.address}/blob"}),
        ]
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "secret")
        assert cached_model("hf://owner/name/best.onnx").read_bytes() == CONTENT
        assert [request.authorization for request in hub.requests] == 2 * ["Bearer secret"]
        assert [request.authorization for request in store.requests] == [None]


def test_an_interrupted_download_resumes(capsys):
    with BrokenServer(Answer(CONTENT, cut_after=60_000), Answer(CONTENT)) as server:
        path = cached_model(f"{server.address}/best.onnx?version=3#sha256={SHA256}")
        assert [request.range for request in server.requests] == [None, "bytes=60000-"]
    assert (path.name, path.read_bytes()) == ("best.onnx", CONTENT)
    assert "Downloading best.onnx" in capsys.readouterr().err
    assert files_in_cache() == ["best.onnx"]


def test_a_file_with_another_sha256_is_refused_and_a_damaged_one_downloaded_again():
    changed = CONTENT[:-1] + b"x"
    with BrokenServer(Answer(changed), Answer(CONTENT)) as server:
        address = f"{server.address}/best.onnx#sha256={SHA256}"
        with pytest.raises(ModelError, match=f"has the SHA-256 {hashlib.sha256(changed).hexdigest()}, not {SHA256}"):
            cached_model(address)
        assert files_in_cache() == []
        path = cached_model(address)
        path.write_bytes(changed)
        assert cached_model(address).read_bytes() == CONTENT
        assert len(server.requests) == 3


def test_what_fails_is_an_error_of_the_machine(monkeypatch, tmp_path):
    with BrokenServer(Answer(status=401)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        with pytest.raises(MachineError, match=r"answers 401 .*needs a token in HF_TOKEN"):
            cached_model("hf://owner/name/best.onnx")
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(MachineError, match=r"Cannot write to the cache .*Set XDG_CACHE_HOME"):
            cached_model("hf://owner/name/best.onnx")


PREDICT = """
import sys
import clothseg
predictor = clothseg.load("hf://owner/name/best.onnx")
assert not {"torch", "huggingface_hub"} & set(sys.modules)
print(predictor.origin.partition(";")[0], predictor.model["sha256"])
"""


def test_a_model_of_the_hub_is_loaded_without_torch(run_in):
    content = Path(str(starter_model())).read_bytes()
    with BrokenServer(Answer(content)) as server:
        ended = run_in("-c", PREDICT, HF_ENDPOINT=server.address, XDG_CACHE_HOME=os.environ["XDG_CACHE_HOME"])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["hf://owner/name/best.onnx", hashlib.sha256(content).hexdigest()]
