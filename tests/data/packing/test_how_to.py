"""The guide's commands have flags that exist, and what it calls defaults are the defaults."""

import re
import shlex
import subprocess
import sys

import pytest

from clothseg.data.packing.pack_command import Pack
from clothseg.settings import Settings
from tests.test_architecture import ROOT

GUIDE = (ROOT / "docs" / "how-to" / "pack-and-stream.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^uv run .*$", GUIDE, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_flags_that_exist(command):
    _, _, program, *arguments = shlex.split(command)
    start = ["-m", "clothseg.cli", arguments[0]] if program == "clothseg" else [program]
    shown = subprocess.run([sys.executable, *start, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    for flag in (argument for argument in arguments if argument.startswith("--")):
        assert flag in shown.stdout, f"{program} has no {flag}"


def test_the_numbers_are_the_defaults():
    assert f"--shard-size {Pack.shard_size:g}\n" in GUIDE
    assert f"`SHUFFLE_SHARDS` shards ({Settings.shuffle_shards})" in GUIDE
    assert f"`CACHE_SIZE` GB ({Settings.cache_size:g})" in GUIDE
