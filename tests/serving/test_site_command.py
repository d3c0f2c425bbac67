import functools
import gzip
import hashlib
import http.server
import io
import json
import re
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from clothseg.errors import DataError, MissingInputError, MissingModelError, ModelError, SettingError
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
    """A package with the names of onnxruntime-web's and other bytes, and an empty cache."""
    path = tmp_path / "onnxruntime-web.tgz"
    with tarfile.open(path, "w:gz") as package:
        for name in (site_command._SCRIPT, site_command._BINARY):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            package.addfile(member, io.BytesIO(name.encode()))
    monkeypatch.setattr(site_command, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def test_the_folder_is_the_page_with_the_model_and_what_runs_it(archive, model_path, offline, tmp_path, capsys):
    site = tmp_path / "site"
    with serving(archive.parent) as (address, asked):
        for _ in range(2):
            assert Site(site, model_path, runtime_archive=f"{address}/{archive.name}").run() == 0
        assert len(asked) == 1  # the second run takes it from the cache
    assert capsys.readouterr().out == 2 * f"{site}\n"
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
    for one in (in_browser["model"], in_browser["runtime"]):
        path, _, version = one["path"].partition("?v=")
        assert (site / path).stat().st_size == one["bytes"]
        assert version
    assert (site / "model.onnx").read_bytes() == model_path.read_bytes()
    script, binary = site_command._SCRIPT, site_command._BINARY
    assert (site / "onnxruntime" / script).read_text() == script
    assert gzip.decompress((site / f"onnxruntime/{binary}.packed").read_bytes()).decode() == binary


def test_what_the_browser_cannot_run_is_refused(archive, model_path, small_graph, tmp_path):
    squashing, pillow, checkpoint, other = (
        tmp_path / name for name in ("squashing.onnx", "pillow.onnx", "last.ckpt", "other.tgz")
    )
    squashing.write_bytes(add_metadata(small_graph, replace(DESCRIPTION, input_size=(64, 64)), {}))
    pillow.write_bytes(add_metadata(small_graph, replace(DESCRIPTION, interpolation="bilinear"), {}))
    checkpoint.write_bytes(b"a checkpoint")
    other.write_bytes(b"another package")
    site = tmp_path / "site"
    with serving(tmp_path) as (address, _):
        for values, error, words in (
            ({"runtime_archive": str(other)}, DataError, r"other\.tgz is not onnxruntime-web 1\.30\.0: its SHA-256"),
            ({"runtime_archive": f"{address}/other.tgz"}, DataError, r"other\.tgz has the SHA-256 [0-9a-f]{64}, not"),
            (
                {"runtime_archive": "no.tgz"},
                MissingInputError,
                r"not found: no\.tgz\. Download https://registry\.npmjs",
            ),
            ({"checkpoint_path": "no.onnx"}, MissingModelError, r"Model not found: no\.onnx"),
            ({"checkpoint_path": checkpoint}, SettingError, r"Export it first: .* export .*last\.ckpt"),
            ({"checkpoint_path": squashing}, SettingError, "resizes photos in its own way"),
            ({"checkpoint_path": pillow}, SettingError, r"\(bilinear\), which the page cannot do"),
            ({"checkpoint_path": other}, ModelError, "other.tgz"),
            ({"classes": "categories"}, SettingError, "The model gives groups"),
        ):
            with pytest.raises(error, match=words):
                Site(site, **{"checkpoint_path": model_path, "runtime_archive": str(archive)} | values).run()
    assert not site.exists()
