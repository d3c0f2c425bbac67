"""The README is correct: its tree, its settings, its commands."""

import ast
import json
import re
import runpy
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import config
from clothseg import cli
from clothseg.labels import GROUPS
from tests.test_architecture import LIBRARY, RECIPE, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"^```bash\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^uv run .*$", SHELL, flags=re.MULTILINE)
PIP_COMMANDS = [f"uv run {one}" for one in re.findall(r"^(?:pip .* && )?(clothseg .*)$", SHELL, flags=re.MULTILINE)]


def words_of(command: str) -> list[str]:
    """Return the program and its arguments in a command, without uv's own options."""
    return [word for word in shlex.split(command, comments=True)[2:] if word != "--no-dev"]


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    return docstring.splitlines()[0]


def expected_tree() -> str:
    rows = [(name, ROOT / name) for name in RECIPE] + [("src/clothseg/", None)]
    folders = [path.parent for path in LIBRARY.glob("*/__init__.py")]
    rows += [(f"  {path.name}/", path / "__init__.py") for path in sorted(folders)]
    return "\n".join(f"{name:<19}{first_sentence(path)}" if path else name for name, path in rows)


def test_the_tree_is_made_of_the_modules_first_sentences():
    assert expected_tree() in README, f"put this into the README:\n{expected_tree()}"


def test_the_table_of_settings_has_the_defaults():
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", README, flags=re.MULTILINE)
    assert {name for name, _ in rows} == {"BATCH_SIZE", "IMG_SIZE", "ENCODER_NAME", "ENCODER_WEIGHTS", "DATA_PATH"}
    for name, default in rows:
        assert ast.literal_eval(default) == getattr(config, name)


def test_the_classes_are_listed_with_their_ids():
    listed = re.search(r"^0 background · .*?wholebody$", README, flags=re.MULTILINE | re.DOTALL)
    assert listed
    assert re.sub(r"\s+", " ", listed[0]) == " · ".join(f"{number} {name}" for number, name in enumerate(GROUPS.names))


def test_every_link_to_a_file_leads_somewhere():
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path


def run_file(path: str) -> None:
    runpy.run_path(path, run_name="__main__")


def test_every_command_names_a_file_and_flags_that_exist(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    unknown = []
    assert len(PIP_COMMANDS) == 2
    for part in (part for command in COMMANDS + PIP_COMMANDS for part in command.split(" && ")):
        program, *arguments = words_of(part)
        if program in ("pytest", "tensorboard"):
            continue
        monkeypatch.setattr(sys, "argv", [program, "--help"])
        show_help = partial(cli.main, [arguments[0], "--help"]) if program == "clothseg" else partial(run_file, program)
        with pytest.raises(SystemExit) as leaving:
            show_help()
        shown = capsys.readouterr().out
        assert leaving.value.code == 0, part
        flags = [argument for argument in arguments if argument.startswith("--")]
        unknown += [f"{program} {flag}" for flag in flags if flag not in shown]
    assert not unknown


def copy_recipe(folder: Path) -> None:
    """Copy what README's first commands use, as a fresh clone has it."""
    for name in RECIPE:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "docs" / "pictures", folder / "docs" / "pictures")


def test_the_first_command_does_the_main_job(tmp_path, run_in):
    """Word for word."""
    copy_recipe(tmp_path)
    ended = run_in(*words_of(COMMANDS[0]))
    assert ended.returncode == 0, ended.stderr
    assert "the packaged starter model" in ended.stderr
    assert "it has never seen closures, garment parts, decorations" in ended.stderr
    results = json.loads((tmp_path / "results" / "before_results.json").read_text())
    with Image.open(tmp_path / "results" / "before_mask.png") as mask:
        assert mask.size == (results["width"], results["height"])
        assert {one["class_id"] for one in results["segments"]} == set(np.unique(np.array(mask)).tolist()) - {0}
    assert (tmp_path / "results" / "before_overlay.jpg").is_file()


def test_the_python_lines_run(tmp_path, run_in):
    shutil.copy(ROOT / "docs" / "pictures" / "before.jpg", tmp_path / "photo.jpg")
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    ended = run_in("-c", code)
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"<Segmentation 'photo.jpg', \d+ x \d+ pixels: upperbody .*>\n", ended.stdout)
    assert (tmp_path / "results" / "photo_results.json").is_file()
