import functools
import gzip
import hashlib
import http.server
import io
import json
import re
import shutil
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

import clothseg
from clothseg.errors import DataError, MachineError, MissingInputError, MissingModelError, ModelError, SettingError
from clothseg.prediction.runtimes.model_file import add_metadata
from clothseg.serving import site_command
from clothseg.serving.app import PAGE_FOLDER
from clothseg.serving.messages import model_card
from clothseg.serving.site_command import Site
from clothseg.serving.worker import model_info
from tests.export.small_model import DESCRIPTION


@contextmanager
def serving(folder):
    """Serve a folder as `python -m http.server` does; give its address and the list of paths that are asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):  # noqa: A002 - the base class names it
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A package with the names of onnxruntime-web's and other bytes."""
    path = tmp_path / "onnxruntime-web.tgz"
    with tarfile.open(path, "w:gz") as package:
        for name in chain(*site_command._RUNTIMES.values()):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            package.addfile(member, io.BytesIO(name.encode()))
    monkeypatch.setattr(site_command, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_the_folder_is_the_page_with_the_model_and_what_runs_it(archive, model_path, offline, tmp_path, capsys):
    site = tmp_path / "site"
    assert Site(site, model_path, runtime_archive=archive).run() == 0
    assert capsys.readouterr().out == f"{site}\n"
    index = (site / "index.html").read_text()
    assert '<html data-engine="browser" lang="en">' in index
    addresses = re.findall(r'(?:src|href)="(?!#|docs|openapi)([^"]+)"', index)
    assert [one for one in addresses if not (site / one).exists()] == []
    copied = [one for one in (site / "page").rglob("*") if one.is_file()]
    assert {"app.js", "browser.js", "network.js", "style.css"} <= {one.name for one in copied}
    assert all(one.read_bytes() == (PAGE_FOLDER / one.relative_to(site / "page")).read_bytes() for one in copied)

    card = json.loads((site / "v1/model").read_bytes())
    in_browser = card.pop("browser")
    served = json.loads(json.dumps(model_card(model_info(offline))))
    assert {**card, "runtime": ""} == {**served, "runtime": ""}
    assert in_browser["ids"] == list(range(13))
    for one in (in_browser["model"], in_browser["wasm"], in_browser["webgpu"]):
        path, _, version = one["path"].partition("?v=")
        assert (site / path).stat().st_size == one["bytes"]
        assert version
    assert (site / "model.onnx").read_bytes() == model_path.read_bytes()
    for script, binary in site_command._RUNTIMES.values():
        assert (site / "onnxruntime" / script).read_text() == script
        assert gzip.decompress((site / f"onnxruntime/{binary}.packed").read_bytes()).decode() == binary


def test_the_folder_is_named_and_is_no_file(archive, model_path, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file: it is a file\. Pass another folder"):
        Site(tmp_path / "file", model_path, runtime_archive=archive).run()
    Site(tmp_path / "a site", classes="categories", runtime_archive=archive).run()
    assert f"http.server --directory '{tmp_path}/a site'" in capsys.readouterr().err
    identity = json.loads((tmp_path / "a site/v1/model").read_bytes())["browser"]["identity"]
    assert identity == clothseg.load("starter", classes="categories", precision="fp32").model


def test_what_the_browser_cannot_run_is_refused(archive, model_path, small_graph, tmp_path):
    squashing, pillow, checkpoint, other = (
        tmp_path / name for name in ("squashing.onnx", "pillow.onnx", "last.ckpt", "other.tgz")
    )
    squashing.write_bytes(add_metadata(small_graph, replace(DESCRIPTION, input_size=(64, 64)), {}))
    pillow.write_bytes(add_metadata(small_graph, replace(DESCRIPTION, interpolation="bilinear"), {}))
    checkpoint.write_bytes(b"a checkpoint")
    other.write_bytes(b"another package")
    site = tmp_path / "site"
    for values, error, words in (
        ({"runtime_archive": other}, DataError, r"other\.tgz is not onnxruntime-web 1\.30\.0: its SHA-256"),
        ({"runtime_archive": Path("no.tgz")}, MissingInputError, r"not found: no\.tgz\. Download it .* npm pack onnx"),
        ({"checkpoint_path": "no.onnx"}, MissingModelError, r"Model not found: no\.onnx"),
        ({"checkpoint_path": checkpoint}, SettingError, r"Export it first: .* export .*last\.ckpt"),
        ({"checkpoint_path": squashing}, SettingError, "resizes photos in its own way"),
        ({"checkpoint_path": pillow}, SettingError, r"\(bilinear\), which the page cannot do"),
        ({"checkpoint_path": other}, ModelError, "other.tgz"),
        ({"classes": "categories"}, SettingError, "The model gives groups"),
    ):
        with pytest.raises(error, match=words):
            Site(site, **{"checkpoint_path": model_path, "runtime_archive": archive} | values).run()
    assert not site.exists()


def test_npm_downloads_the_package_from_its_registry(archive, tmp_path, monkeypatch):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    with serving(tmp_path) as (address, asked):
        dist = {"tarball": f"{address}/{archive.name}", "shasum": hashlib.sha1(archive.read_bytes()).hexdigest()}
        name, version = "onnxruntime-web", site_command.VERSION
        package = {"name": name, "versions": {version: {"name": name, "version": version, "dist": dist}}}
        (tmp_path / name).write_text(json.dumps({**package, "dist-tags": {"latest": version}}))
        monkeypatch.setenv("npm_config_registry", address)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
        monkeypatch.setenv("npm_config_fetch_retries", "0")
        assert len(site_command.runtime_files(None)) == 4
        assert f"/{archive.name}" in asked
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    with pytest.raises(MachineError, match=r"npm cannot download onnxruntime-web 1\.30\.0 \(.*\)\. Download it"):
        site_command.runtime_files(None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"npm, .*, is not installed\. Install Node\.js, or: Download it elsewhere"):
        site_command.runtime_files(None)
