"""The command `clothseg site`: the page as a folder for any static host; the network runs in the visitor's browser."""

from __future__ import annotations

import gzip
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import tyro

from clothseg.data.sample import sample_picture
from clothseg.encoding import encode_jpeg
from clothseg.errors import DataError, MachineError, SettingError, check_input, command, make_folder
from clothseg.model.description import ModelDescription
from clothseg.pictures import write_whole
from clothseg.prediction.predictor import STARTER, chosen_model
from clothseg.prediction.probabilities import UNSURE
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.serving.messages import model_card
from clothseg.transforms import AREA

VERSION = "1.30.0"
"""Of onnxruntime-web, which runs the network in browsers."""
ARCHIVE_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""Of npm's package, whose own SHA-512 agrees."""

_RUNTIMES: Mapping[str, tuple[str, str]] = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
"""Script and WebAssembly that run the network, in the package: on the processor alone, or on the graphics card, too."""
_PACK = ("npm", "pack", f"onnxruntime-web@{VERSION}")
_WAY_OUT = f"Download it elsewhere and pass --runtime-archive PATH: {' '.join(_PACK)}"

_PAGE = Path(__file__).with_name("page")
_NOT_IN_ITS_FOLDER = ("docs.html", "docs.js", "index.html", "service-worker.js")
_PACKED = ".packed"
"""Of gzipped files: of names in .gz, some hosts tell browsers to unpack them, and others do not."""
# Browsers load no modules from file:// addresses, so the page itself could not say so.
_HEAD = """<script>
if (location.protocol === "file:") addEventListener("DOMContentLoaded", () => {
  const notice = document.getElementById("notice");
  notice.textContent = "Browsers run this page only from a web server. Start one in its folder: python -m http.server";
  notice.hidden = false;
});
</script>
</head>"""


@dataclass(frozen=True)
class Site:
    """Write the page as a folder for any static host; the network runs in the browser, and photos stay there."""

    output: Annotated[str | Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Folder to write to; files of the same names are replaced, all others stay."""
    checkpoint_path: Annotated[
        str | Path | None, tyro.conf.arg(name="model", aliases=("--ckpt",), metavar="MODEL")  # as predict has it
    ] = None
    """Model file ending in .onnx, or its address (hf://OWNER/NAME/FILE.onnx or https://…); without one, the packaged
    starter model."""
    classes: Literal["groups", "categories"] | None = None
    """Classes of the masks, where a model has both; its own if not given."""
    runtime_archive: Path | None = None
    """npm's package of onnxruntime-web, if npm is not to download it; any other than the one that was tested is
    refused."""

    def run(self) -> int:
        """Write the folder; print its path to stdout, the sizes to stderr.

        Raises:
            ModelError: the model is missing or damaged.
            SettingError: it is a checkpoint, the browser cannot prepare photos for it, or it lacks the classes.
            MissingInputError: there is no such archive.
            DataError: the archive is another than the one that was tested.
            MachineError: the archive cannot be downloaded, or the folder cannot be written.
        """
        output = Path(self.output)
        model_path, _ = chosen_model(self.checkpoint_path or STARTER, Path())
        if model_path.suffix.lower() == ".ckpt":
            raise SettingError(f"{model_path} is a checkpoint. Export it first: {command('export', model_path)}")
        model = ModelFile.read(model_path)
        description = model.description.with_classes(self.classes)
        _refuse_other_ways(description, model_path)
        files = runtime_files(self.runtime_archive)
        versions = dict.fromkeys(files, VERSION) | {"model.onnx": model.sha256[:12]}
        files["model.onnx"] = model.content
        located: dict[str, dict[str, Any]] = {
            Path(name).name: {"path": f"{name}?v={versions[name]}", "bytes": len(content)}
            for name, content in files.items()
        }
        identity = description.identity(model_path.name, model.sha256, self.classes)
        runtime = f"onnxruntime-web {VERSION} in this browser"
        card = model_card({**description.to_dict(), **identity, "runtime": runtime})
        card["browser"] = {"identity": identity, **_for_browser(description, located)}
        files |= {
            "v1/model": json.dumps(card, ensure_ascii=False).encode(),
            "v1/sample": encode_jpeg(sample_picture(seed=1)),
            ".nojekyll": b"",  # GitHub Pages then publishes every file as it is
        } | page_files()
        make_folder(output, "Pass another folder")
        for name, content in files.items():
            write_whole(output / name, content)
        size = {name: one["bytes"] / 1e6 for name, one in located.items()}
        runtimes = (size[script] + size[binary + _PACKED] for script, binary in _RUNTIMES.values())
        print(
            f"A visitor loads the model ({size['model.onnx']:.1f} MB) and onnxruntime-web "
            f"({' or '.join(f'{one:.1f} MB' for one in runtimes)}) once. "
            f"To try it: python -m http.server --directory {shlex.quote(str(output))}",
            file=sys.stderr,
        )
        print(output)
        return 0


def _refuse_other_ways(description: ModelDescription, model_path: Path) -> None:
    if description.merged:
        way = "merges classes"
    elif description.input_size or description.interpolation != AREA:
        way = f"resizes photos in its own way ({description.interpolation})"
    else:
        return
    raise SettingError(f"{model_path} {way}, which the page cannot do. Use a model trained by clothseg")


def runtime_files(archive: Path | None) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that the page needs, by their names in the site; WebAssembly is gzipped.

    Args:
        archive: npm's package; None lets npm download it, or take it from npm's own cache.

    Raises:
        MissingInputError: there is no such archive.
        DataError: it is not the one that was tested.
        MachineError: npm is not installed, or cannot download it.
    """
    if archive is not None:
        check_input(archive, "Archive of onnxruntime-web", _WAY_OUT)
        return _files_of(archive)
    npm = shutil.which("npm")
    if npm is None:
        raise MachineError(f"npm, which downloads onnxruntime-web, is not installed. Install Node.js, or: {_WAY_OUT}")
    with TemporaryDirectory(prefix="clothseg-") as folder:
        words = [npm, *_PACK[1:], "--pack-destination", folder]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - no word of it is a user's
        packages = list(Path(folder).glob("*.tgz"))
        if ended.returncode or not packages:
            reason = " ".join(ended.stderr.split())[:300]
            raise MachineError(f"npm cannot download onnxruntime-web {VERSION} ({reason}). {_WAY_OUT}")
        return _files_of(packages[0])


def _files_of(archive: Path) -> dict[str, bytes]:
    if hashlib.sha256(archive.read_bytes()).hexdigest() != ARCHIVE_SHA256:
        raise DataError(f"{archive.name} is not onnxruntime-web {VERSION}: its SHA-256 differs. {_WAY_OUT}")
    names = list(chain(*_RUNTIMES.values()))
    with tarfile.open(archive) as package:
        contents = [package.extractfile(f"package/dist/{name}") for name in names]
        files = {name: content.read() for name, content in zip(names, contents, strict=True) if content is not None}
    packed = {f"{name}{_PACKED}": gzip.compress(files.pop(name), mtime=0) for _, name in _RUNTIMES.values()}
    return {f"onnxruntime/{name}": content for name, content in (files | packed).items()}


def page_files() -> dict[str, bytes]:
    """Return the files of the page, by their names in the site; the one that starts it comes last."""
    paths = sorted(path for path in _PAGE.rglob("*") if path.is_file())
    names = [path.relative_to(_PAGE).as_posix() for path in paths]
    files = {f"page/{name}": (_PAGE / name).read_bytes() for name in names if name not in _NOT_IN_ITS_FOLDER}
    files["service-worker.js"] = (_PAGE / "service-worker.js").read_bytes()
    index = (_PAGE / "index.html").read_text(encoding="utf-8")
    switched = index.replace("<html ", '<html data-engine="browser" ').replace("</head>", _HEAD)
    return files | {"index.html": switched.encode()}


def _for_browser(description: ModelDescription, located: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the page needs beyond that to run the network; `located` is path and size of files by their names."""
    names = description.categories if description.output == "categories" else description.classes.names
    return {
        "model": located["model.onnx"],
        **{
            kind: {"script": located[script]["path"], "packed": True, **located[f"{binary}{_PACKED}"]}
            for kind, (script, binary) in _RUNTIMES.items()
        },
        "output": description.output,
        "ids": [description.classes.id_of(name) for name in names],
        "fill": description.normalization.fill,
        "usual_score": description.usual_score,
        "unsure": UNSURE,
    }
