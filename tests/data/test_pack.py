import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from clothseg import cli
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.pack import Pack, key_of, pack
from clothseg.data.shards import INDEX_NAME, ShardIndex
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


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}


def by_webdataset(*paths: Path) -> list[dict[str, Any]]:
    """Return the samples that WebDataset finds; its own opener leaves files open."""
    with ExitStack() as opened:
        streams = [{"url": str(path), "stream": opened.enter_context(path.open("rb"))} for path in paths]
        return list(group_by_keys(tar_file_expander(streams)))


def test_a_shard_is_a_plain_tar_file_with_the_very_files(packed):
    folder, output = packed
    index = ShardIndex.from_json((output / INDEX_NAME).read_bytes(), where="test")
    assert len(index.splits["train"]) > 2
    for name, split in index.manifest.splits.items():
        inside = {}
        for shard in index.splits[name]:
            inside |= members(output / shard.name)
        expected = {}
        for photo, mask in pairs(folder, split):
            expected[f"{photo.stem}.jpg"] = photo.read_bytes()
            expected[f"{photo.stem}.mask.png"] = mask.read_bytes()
        del inside["__contents__"]
        assert inside == expected


def test_webdataset_reads_a_shard(packed):
    folder, output = packed
    found = {one["__key__"]: (one["jpg"], one["mask.png"]) for one in by_webdataset(*output.glob("train-*.tar"))}
    split = Manifest.read(folder).splits["train"]
    assert found == {photo.stem: (photo.read_bytes(), mask.read_bytes()) for photo, mask in pairs(folder, split)}


def test_the_index_says_what_the_files_are(packed):
    _, output = packed
    index = ShardIndex.from_json((output / INDEX_NAME).read_bytes(), where="test")
    shards = [shard for shards in index.splits.values() for shard in shards]
    assert {shard.name for shard in shards} == {path.name for path in output.iterdir()} - {INDEX_NAME}
    for shard in shards:
        content = (output / shard.name).read_bytes()
        assert len(content) == shard.size
        assert hashlib.sha256(content).hexdigest() == shard.sha256
        assert shard.size <= SMALL + 4 * 1024 or shard.count == 1
    assert index.to_json() == (output / INDEX_NAME).read_bytes()


def test_packing_again_gives_the_same_bytes(packed, tmp_path):
    folder, output = packed
    pack(folder, tmp_path / "again", shard_bytes=SMALL)
    for path in output.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_training_photos_are_mixed_and_validation_photos_are_not(packed):
    _, output = packed
    order = [name for path in sorted(output.glob("train-*.tar")) for name in members(path) if name.endswith(".jpg")]
    assert sorted(order) != order
    order = [name for path in sorted(output.glob("val-*.tar")) for name in members(path) if name.endswith(".jpg")]
    assert order == ["street_07.jpg", "street_08.jpg", "street_09.jpg"]


def test_a_key_has_no_dot_and_is_no_name_that_is_skipped():
    keys = {
        "a/b.jpg": "a/b",
        "a.b.JPG": "a%2Eb",
        "__a__/b.png": "%5F_a__/b",
        "Kleid grün.jpeg": "Kleid%20gr%C3%BCn",
        "-x.jpg": "-x",
    }
    assert {photo: key_of(photo) for photo in keys} == keys


def test_odd_names_come_through(packed, tmp_path):
    folder, _ = packed
    long = "d" * 90 + "/" + "ü" * 60
    for number, stem in enumerate(("__meta__/a.b", long, "a.mask")):
        for kind, suffix in (("train", ".jpg"), ("train_masks", ".png")):
            path = folder / kind / f"{stem}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / kind / f"street_{number:02}{suffix}").rename(path)
    index = pack(folder, tmp_path / "odd", shard_bytes=10**6)
    (shard,) = index.splits["train"]
    keys = {one["__key__"] for one in by_webdataset(tmp_path / "odd" / shard.name)}
    assert len(keys) == 7
    assert {key_of(f"{long}.jpg"), "%5F_meta__/a%2Eb", "a%2Emask"} <= keys


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


def test_a_foreign_index_is_refused(packed):
    _, output = packed
    wrong = []
    for change, message in (
        ({"version": 2}, "its version is 2"),
        ({"name": "../x.tar"}, "outside the dataset"),
        ({"name": "/x.tar"}, "outside the dataset"),
        ({"name": "s3://x.tar"}, "outside the dataset"),
        ({"count": 99}, "its manifest says 7"),
        ({"size": 5}, "ends before its list"),
        ({"sha256": "../x"}, "has the SHA-256"),
    ):
        values = json.loads((output / INDEX_NAME).read_bytes())
        (values if "version" in change else values["splits"]["train"][0]).update(change)
        with pytest.raises(DataError) as caught:
            ShardIndex.from_json(json.dumps(values).encode(), where="test")
        if message not in str(caught.value):
            wrong.append((change, str(caught.value)))
    assert not wrong, wrong


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
        "members = module._read_pairs\n"
        "def slow(*given):\n"
        "    for one in members(*given):\n"
        "        time.sleep(0.2); yield one\n"
        "module._read_pairs = slow\n"
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
        with pytest.raises(MachineError, match=r"Cannot write to .*Choose another --output"):
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


def test_the_numbers_of_the_guide_are_the_defaults():
    assert f"--shard-size {Pack.shard_size:g}\n" in GUIDE
    assert f"`SHUFFLE_SHARDS` shards ({Settings.shuffle_shards})" in GUIDE
    assert f"`CACHE_SIZE` GB ({Settings.cache_size:g})" in GUIDE
