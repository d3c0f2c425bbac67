import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from clothseg import cli
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.pack import Pack, pack
from clothseg.data.packed import INDEX_NAME, PackedPairs, Store
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError
from clothseg.settings import Settings
from tests.conftest import HANG_SECONDS
from tests.test_architecture import ROOT

GUIDE = (ROOT / "docs" / "how-to" / "pack-and-stream.md").read_text(encoding="utf-8")
SMALL = 6_000
"""Bytes of a shard that holds about two of the drawn photos."""


@pytest.fixture
def packed(prepared_path: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The prepared folder, and that of its shards."""
    folder, output = prepared_path / DATASET_FOLDER, tmp_path / "shards"
    pack(folder, output, shard_bytes=SMALL)
    return folder, output


def test_shards_are_plain_tar_files_of_the_very_files_in_their_order(packed):
    folder, output = packed
    for name, split in Manifest.read(folder).splits.items():
        inside = []
        for path in sorted(output.glob(f"{name}-*.tar")):
            with tarfile.open(path) as tar:
                found = [(one.name, tar.extractfile(one).read()) for one in tar]
            assert path.stat().st_size <= SMALL + 1024 or len(found) == 2
            inside += found
        expected = []
        for photo, mask in pairs(folder, split):
            expected += [(photo.name, photo.read_bytes()), (f"{photo.stem}.mask.png", mask.read_bytes())]
        assert inside == expected
    assert len(list(output.glob("train-*.tar"))) > 2


def test_the_index_says_where_each_pair_is(packed):
    _, output = packed
    rows = np.load(output / "train.npy")
    assert len(rows) == 7
    assert sorted(set(rows["shard"])) == list(range(len(list(output.glob("train-*.tar")))))
    for shard, offset, size, checksum in rows.tolist():
        content = (output / f"train-{shard:05}.tar").read_bytes()[offset : offset + size]
        assert crc32(content) == checksum


def test_packing_again_gives_the_same_bytes(packed, tmp_path):
    folder, output = packed
    pack(folder, tmp_path / "again", shard_bytes=SMALL)
    for path in output.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_odd_names_come_through(packed, tmp_path):
    folder, _ = packed
    long = "d" * 90 + "/" + "ü" * 60
    for number, stem in enumerate(("__meta__/a.b", long, "a.mask")):
        for kind, suffix in (("train", ".jpg"), ("train_masks", ".png")):
            path = folder / kind / f"{stem}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / kind / f"street_{number:02}{suffix}").rename(path)
    pack(folder, tmp_path / "odd", shard_bytes=10**6)
    found = PackedPairs(Store(str(tmp_path / "odd")), "train", count=7, num_classes=13)
    assert {name for name, _, _ in found.read(range(7))} >= {long, "__meta__/a.b", "a.mask"}


def test_a_packed_folder_is_not_written_over(packed):
    folder, output = packed
    with pytest.raises(SettingError, match="contains a packed dataset already"):
        pack(folder, output, shard_bytes=SMALL)


def test_damaged_data_is_named(packed, tmp_path):
    folder, _ = packed
    with pytest.raises(MissingInputError, match="Prepared dataset not found"):
        pack(tmp_path, tmp_path / "out", shard_bytes=SMALL)
    (folder / "train" / "street_03.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"street_03\.jpg or its mask is empty"):
        pack(folder, tmp_path / "out", shard_bytes=SMALL)
    assert not list((tmp_path / "out").glob(".*")), "nothing half written"
    assert list((tmp_path / "out").glob("val-*.tar")) or list((tmp_path / "out").glob("train-*.tar"))
    assert not (tmp_path / "out" / INDEX_NAME).exists(), "the index is written last"
    (folder / "train" / "street_03.jpg").unlink()
    (folder / "train_masks" / "street_03.png").unlink()
    with pytest.raises(DataError, match="has 6 photos with masks to call train, its manifest says 7"):
        pack(folder, tmp_path / "other", shard_bytes=SMALL)


def test_the_command(prepared_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*options):
        with pytest.raises(SystemExit) as ended:
            cli.main(["pack", "--data-path", str(prepared_path), "--output", "out", *options])
        return ended.value.code, *capsys.readouterr()

    code, output, messages = run()
    assert (code, output) == (0, "out\n")
    assert "7 photos of train in 1 shards, 3 photos of val in 1 shards" in messages
    code, output, messages = run()
    assert (code, output) == (2, "")
    assert "contains a packed dataset already" in messages
    assert run("--shard-size", "0.99")[0] == 2
    assert run("--shard-size", "1", "--output", "smallest")[0] == 0


@pytest.mark.processes
def test_a_killed_run_leaves_no_index_and_the_next_one_packs(packed, tmp_path):
    folder, output = packed
    source = folder.parent
    script = (
        "import time, sys; from pathlib import Path; import clothseg.data.pack as module\n"
        "fast = module._tar_pair\n"
        "def slow(*given):\n"
        "    time.sleep(0.2); return fast(*given)\n"
        "module._tar_pair = slow\n"
        f"module.pack(Path({str(folder)!r}), Path('out'), shard_bytes={SMALL})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    end = time.monotonic() + HANG_SECONDS
    while not list((tmp_path / "out").glob("train-00001.tar")) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / INDEX_NAME).exists()
    pack(source / DATASET_FOLDER, tmp_path / "out", shard_bytes=SMALL)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in output.iterdir()}


def test_an_output_that_the_system_refuses_is_named(prepared_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / ("a" * 300), tmp_path / "file" / "shards"):
        with pytest.raises(MachineError, match=r"Cannot write to .*Pass another --output"):
            pack(prepared_path / DATASET_FOLDER, output, shard_bytes=SMALL)


def test_every_command_of_the_guide_names_flags_that_exist(capsys):
    commands = re.findall(r"^uv run .*$", GUIDE, flags=re.MULTILINE)
    assert commands
    wrong = []
    for command in commands:
        _, _, program, *arguments = shlex.split(command)
        name = arguments[0] if program == "clothseg" else {"train.py": "train"}[program]
        with pytest.raises(SystemExit) as ended:
            cli.start(name, Settings(), arguments=["--help"])
        assert ended.value.code == 0
        flags = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        wrong += [(command, one) for one in arguments if one.startswith("--") and one not in flags]
    assert not wrong, wrong


def test_the_shard_size_of_the_guide_is_the_default():
    assert f"--shard-size {Pack.shard_size:g}\n" in GUIDE
