"""The how-tos of serving and deploying: their commands run, their files fit the project."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

from clothseg import cli
from clothseg.serving.errors import KINDS
from tests.serving.test_routes import opened
from tests.test_architecture import ROOT

SERVE, DEPLOY = ((ROOT / "docs" / "how-to" / name).read_text(encoding="utf-8") for name in ("serve.md", "deploy.md"))
CURLS = [line for line in re.findall(r"^curl .*$", SERVE, flags=re.MULTILINE) if "$KEY" not in line]
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path, photo):
    (tmp_path / "photo.jpg").write_bytes(photo)
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="the how-to's commands are curl's")
def test_the_requests_of_the_how_to_give_what_it_says(server, offline, folder, photo):
    shown = offline.predict(photo).labels[0].name
    assert len(CURLS) >= 4
    for command in CURLS:
        command = command.replace("2000x2000", "800x800")  # this server takes a megapixel
        words = shlex.split(command.replace(ADDRESS, server.address).replace("label=upperbody", f"label={shown}"))
        ended = subprocess.run([words[0], "--silent", "--fail", *words[1:]], cwd=folder, capture_output=True)
        assert ended.returncode == 0, (command, ended.stderr)
        if "-o" not in words:
            assert b'"segments"' in ended.stdout
        else:
            path = folder / words[words.index("-o") + 1]
            if path.suffix == ".zip":
                assert zipfile.is_zipfile(path)
                continue
            modes = {"mask": "P", "overlay": "RGB", "cutout": "RGBA", "product": "RGB"}
            assert opened(path.read_bytes()).mode == modes[path.stem]


def test_the_python_of_the_how_to_runs(server, folder):
    (code,) = re.findall(r"^```python\n(.*?)^```", SERVE, flags=re.MULTILINE | re.DOTALL)
    code = code.replace(ADDRESS, server.address)
    ast.parse(code)
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_every_kind_of_problem_is_documented():
    for kind, (status, _) in KINDS.items():
        if status != 500:
            assert f"`{kind}`" in SERVE
            assert re.search(rf"^\| .*\b{int(status)}\b", SERVE, flags=re.MULTILINE)


def flags_in(text):
    return {word for line in text.splitlines() if "clothseg" in line for word in re.findall(r"(?<=\s)--[a-z-]+", line)}


def test_every_flag_exists(capsys):
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out
    docker_only = {"--rm", "--build", "--stop-timeout"}
    in_tables = set(re.findall(r"^\| `(--[a-z-]+)`", SERVE, flags=re.MULTILINE))
    assert len(in_tables) == 6
    for flag in (flags_in(SERVE) | flags_in(DEPLOY) | in_tables) - docker_only:
        assert flag in shown, flag


def test_the_container_files_fit_the_project():
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    sources = re.findall(r"^COPY (?!--from)(.*) \S+$", docker, flags=re.MULTILINE)
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in " ".join(sources).split():
        assert (ROOT / source).exists()
        assert f"!{source}" in let_in
    user = re.search(r"^USER (\d+):(\d+)$", docker, flags=re.MULTILINE)
    assert user
    assert "0" not in user.groups()
    assert docker.index("USER ") < docker.index("ENTRYPOINT")
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    model = service["command"][service["command"].index("--model") + 1]
    assert any(volume.split(":")[1] == model for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
