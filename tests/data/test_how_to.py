"""The guide's commands have flags that exist, and what it calls defaults are the defaults."""

import re
import shlex

import pytest

from clothseg import cli
from clothseg.data.pack import Pack
from clothseg.settings import Settings
from tests.test_architecture import ROOT

GUIDE = (ROOT / "docs" / "how-to" / "pack-and-stream.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^uv run .*$", GUIDE, flags=re.MULTILINE)


def test_every_command_names_flags_that_exist(capsys):
    assert COMMANDS
    wrong = []
    for command in COMMANDS:
        _, _, program, *arguments = shlex.split(command)
        name = arguments[0] if program == "clothseg" else {"train.py": "train"}[program]
        with pytest.raises(SystemExit) as ended:
            cli.start(name, Settings(), arguments=["--help"])
        assert ended.value.code == 0
        flags = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        wrong += [(command, one) for one in arguments if one.startswith("--") and one not in flags]
    assert not wrong, wrong


def test_the_numbers_are_the_defaults():
    assert f"--shard-size {Pack.shard_size:g}\n" in GUIDE
    assert f"`SHUFFLE_SHARDS` shards ({Settings.shuffle_shards})" in GUIDE
    assert f"`CACHE_SIZE` GB ({Settings.cache_size:g})" in GUIDE
