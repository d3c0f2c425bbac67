"""Batches from shards in a folder, behind a web server and in an S3 store are those of the files."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from clothseg.data import shard_files
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.pack import pack
from clothseg.data.shard_files import PackedPairs, ShardSource, read_manifest
from clothseg.data.shards import INDEX_NAME, PackedPair, Shard, ShardIndex, contents_from_json, contents_to_json
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError
from clothseg.settings import Settings
from tests.conftest import needs
from tests.data.file_server import FileServer, serving

SIZE = 64
SMALL = 6_000
"""Bytes of a shard that holds about two of the drawn photos."""
EPOCHS = (0, 1, 4)
WORKERS = pytest.param(2, marks=pytest.mark.processes)


@pytest.fixture
def shards_path(prepared_path: Path, tmp_path: Path) -> Path:
    """The prepared dataset in shards."""
    pack(prepared_path / DATASET_FOLDER, tmp_path / "shards", shard_bytes=SMALL)
    return tmp_path / "shards"


@pytest.fixture
def web(shards_path: Path) -> Iterator[FileServer]:
    with serving(shards_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "PAUSE", 0.05)


def source_of(address: object, tmp_path: Path, *, cache_bytes: int = 10**6, window: int = 2) -> ShardSource:
    return ShardSource(str(address), tmp_path / "cache", cache_bytes, window)


def data_of(prepared_path: Path, shards: ShardSource | None, **options: Any) -> ClothSegmentationData:
    values = {"img_size": SIZE, "batch_size": 4, "num_workers": 0, **options}
    return ClothSegmentationData(prepared_path, shards=shards, **values)


def samples_of(data: ClothSegmentationData, epoch: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the samples of an epoch by name; a name that comes twice fails."""
    data.train_sampler.set_epoch(epoch)
    found = {}
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            for name, image, mask in zip(batch["name"], batch["image"], batch["mask"], strict=True):
                assert name not in found
                found[name] = image, mask
    return found


def assert_same_samples(data: ClothSegmentationData, files: ClothSegmentationData) -> None:
    for epoch in EPOCHS:
        ours, theirs = samples_of(data, epoch), samples_of(files, epoch)
        assert ours.keys() == theirs.keys()
        for name, (image, mask) in ours.items():
            assert torch.equal(image, theirs[name][0])
            assert torch.equal(mask, theirs[name][1])


@pytest.fixture
def bucket(shards_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine, with the shards uploaded."""
    boto3, s3fs, moto = needs("boto3"), needs("s3fs"), needs("moto.server")
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="photos")
    for path in shards_path.iterdir():
        client.upload_fileobj(io.BytesIO(path.read_bytes()), "photos", f"packed/{path.name}")
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()  # clients of the server of an earlier test
    yield "s3://photos/packed"
    server.stop()


@pytest.mark.parametrize("num_workers", [0, WORKERS])
def test_shards_in_a_folder_give_the_samples_of_the_files(prepared_path, shards_path, tmp_path, num_workers):
    data = data_of(prepared_path, source_of(shards_path, tmp_path), num_workers=num_workers)
    assert_same_samples(data, data_of(prepared_path, None))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("num_workers", [0, WORKERS])
def test_shards_behind_a_web_server_give_the_samples_of_the_files(
    prepared_path, shards_path, web, tmp_path, num_workers
):
    data = data_of(prepared_path, source_of(web.address, tmp_path), num_workers=num_workers)
    assert_same_samples(data, data_of(prepared_path, None))
    shards = [path.name for path in shards_path.glob("*.tar")]
    assert {name: web.asked[name] for name in shards} == dict.fromkeys(shards, 1), "each is downloaded once"


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, WORKERS])
def test_shards_in_s3_give_the_samples_of_the_files(prepared_path, bucket, tmp_path, num_workers):
    data = data_of(prepared_path, source_of(bucket, tmp_path), num_workers=num_workers)
    assert_same_samples(data, data_of(prepared_path, None))


def bytes_in(cache):
    """Return the bytes of a cache at one moment: the loader changes it meanwhile, so it is looked at until it rests."""
    before = None
    while True:
        try:
            now = {path.name: path.stat().st_size for path in cache.glob("*.shard")}
        except FileNotFoundError:
            continue
        if now == before:
            return sum(now.values())
        before = now


def test_a_cache_smaller_than_the_data_stays_within_its_limit(prepared_path, web, tmp_path, monkeypatch):
    source = source_of(web.address, tmp_path, window=1)
    sizes = [shard.size for shards in source.files().index().splits.values() for shard in shards]
    limit = 3 * max(sizes)
    assert limit < sum(sizes)
    data = data_of(prepared_path, source_of(web.address, tmp_path, window=1, cache_bytes=limit))
    largest = 0
    for epoch in EPOCHS:
        data.train_sampler.set_epoch(epoch)
        seen = []
        for loader in (data.train_dataloader(), data.val_dataloader()):
            for batch in loader:
                seen += batch["name"]
                largest = max(largest, bytes_in(tmp_path / "cache"))
        assert len(set(seen)) == len(seen) >= 9
    assert 0 < largest <= limit
    assert max(web.asked.values()) > 1, "something had to be fetched again"


def test_a_second_training_uses_the_cache(prepared_path, web, tmp_path):
    for _ in range(2):
        samples_of(data_of(prepared_path, source_of(web.address, tmp_path)), 0)
    assert max(count for name, count in web.asked.items() if name != INDEX_NAME) == 1


def test_a_cache_that_is_too_small_is_refused_with_what_is_needed(prepared_path, web, tmp_path):
    data = data_of(prepared_path, source_of(web.address, tmp_path, cache_bytes=9_000))
    with pytest.raises(SettingError, match=r"CACHE_SIZE is 9e-06 GB.*need 0\.0\d GB.*lower SHUFFLE_SHARDS"):
        data.train_dataloader()


def test_a_store_that_stumbles_is_asked_again(prepared_path, web, tmp_path):
    web.failures["train-00001.tar"] = 2
    web.cut["train-00000.tar"] = 1
    web.failures[INDEX_NAME] = 1
    assert len(samples_of(data_of(prepared_path, source_of(web.address, tmp_path)), 0)) >= 9


def test_a_download_with_a_wrong_checksum_is_repeated_once(web, tmp_path):
    files = source_of(web.address, tmp_path).files()
    shard = files.index().splits["train"][0]
    web.changed[shard.name] = 1
    assert files.path(shard).stat().st_size == shard.size
    assert files.discard(shard)
    web.changed[shard.name] = 2
    with pytest.raises(DataError, match="its SHA-256 is"):
        files.path(shard)
    assert web.asked[shard.name] == 4


def damaged(content: bytes) -> bytes:
    return content.replace(b"\xff\xd8", b"\xff\xd9")


DAMAGES = {
    "cut": (
        lambda path: path.write_bytes(path.read_bytes()[:-1700]),
        DataError,
        r"train-0000\d\.tar is broken: it has",
        r"train-0000\d\.tar is broken: it ends before byte",
    ),
    "longer": (
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        DataError,
        "the index says .*Upload the packed dataset again",
        None,
    ),
    "changed": (
        lambda path: path.write_bytes(damaged(path.read_bytes())),
        DataError,
        r"train-0000\d\.tar is broken: its SHA-256 is",
        r"train-0000\d\.tar is broken: the checksum of street_0\d\.jpg and its mask differs",
    ),
    "gone": (
        lambda path: path.unlink(),
        MissingInputError,
        r"train-0000\d\.tar is not there",
        r"Shard .*train-0000\d\.tar cannot be read \(No such file",
    ),
}
"""What happens to a shard, the error, and its message from a store and from a folder; None: a folder is read."""


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.processes)])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_shard_is_named(prepared_path, web, shards_path, tmp_path, damage, num_workers):
    change, error, in_store, in_folder = DAMAGES[damage]
    for path in shards_path.glob("train-*.tar"):
        change(path)
    for address, message in ((web.address, in_store), (shards_path, in_folder)):
        data = data_of(prepared_path, source_of(address, tmp_path), num_workers=num_workers)
        if message is None:
            samples_of(data, 0)
            continue
        with pytest.raises(error, match=message):
            samples_of(data, 0)
    assert not list((tmp_path / "cache").glob("*.shard"))


def test_a_copy_that_breaks_in_the_cache_is_fetched_again(prepared_path, web, tmp_path):
    source = source_of(web.address, tmp_path)
    expected = samples_of(data_of(prepared_path, source), 0)
    for path in (tmp_path / "cache").glob("*.shard"):
        path.write_bytes(damaged(path.read_bytes()))
    assert samples_of(data_of(prepared_path, source), 0).keys() == expected.keys()
    assert web.asked["train-00000.tar"] == 2
    for path in (tmp_path / "cache").glob("*.shard"):
        os.truncate(path, 100)
    assert samples_of(data_of(prepared_path, source), 0).keys() == expected.keys()


def test_an_address_without_a_data_set_is_named(prepared_path, web, tmp_path):
    for address, error, message in (
        ("nowhere", MissingInputError, 'Packed dataset not found: nowhere.*Run "uv run clothseg pack" first'),
        ("ftp://host/x", SettingError, "store of kind ftp. Allowed"),
        ("http://127.0.0.1:9/x", MachineError, r"http://127\.0\.0\.1:9/x/shards\.json cannot be read"),
    ):
        with pytest.raises(error, match=message):
            data_of(prepared_path, source_of(address, tmp_path))
    with pytest.raises(MissingInputError, match=rf"{web.address}/none/shards\.json is not there"):
        data_of(prepared_path, source_of(f"{web.address}/none", tmp_path))
    assert web.asked[f"none/{INDEX_NAME}"] == 1, "a file that is not there is not asked for again"


@pytest.mark.slow
def test_a_store_without_the_bucket_is_named(prepared_path, bucket, tmp_path):
    with pytest.raises((MissingInputError, MachineError), match=r"s3://other/x/shards\.json"):
        data_of(prepared_path, source_of("s3://other/x", tmp_path))


def test_an_index_that_is_none_is_named(prepared_path, web, shards_path, tmp_path):
    (shards_path / INDEX_NAME).write_bytes(b"<html>")
    for address in (web.address, shards_path):
        with pytest.raises(DataError, match=r"shards\.json is not the index of a packed dataset"):
            data_of(prepared_path, source_of(address, tmp_path))


def test_a_cache_that_cannot_be_written_is_named(prepared_path, web, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(MachineError, match=r"Cannot write to the cache .*choose another CACHE_PATH"):
        samples_of(data_of(prepared_path, source_of(web.address, tmp_path)), 0)


def test_settings_name_a_packed_data_set_or_none(prepared_path, shards_path, tmp_path):
    assert ShardSource.from_settings(Settings()) is None
    settings = Settings(shards=str(shards_path), cache_path=tmp_path / "cache", cache_size=0.5, shuffle_shards=3)
    assert ShardSource.from_settings(settings) == ShardSource(str(shards_path), tmp_path / "cache", 500_000_000, 3)
    assert read_manifest(settings) == read_manifest(Settings(data_path=prepared_path))


class Moving:
    """Shards that other processes delete and fetch again: `gone` reads find no file."""

    def __init__(self, folder, gone=0):
        self.folder, self.gone, self.discarded = folder, gone, 0

    def path(self, shard):
        self.gone -= 1
        return self.folder / (shard.name if self.gone < 0 else "gone")

    def discard(self, shard):
        self.discarded += 1
        return True


def test_a_read_whose_shard_is_gone_or_short_is_tried_again(shards_path):
    shards = ShardIndex.from_json((shards_path / INDEX_NAME).read_bytes(), where="test").splits["val"]
    images = []
    for gone in (0, 2):
        images.append(PackedPairs(shards, Moving(shards_path, gone), num_classes=13, window=1).read(0)[0])
    assert (images[0] == images[1]).all()
    with pytest.raises(MissingInputError, match=r"Shard .*gone cannot be read \(No such file"):
        PackedPairs(shards, Moving(shards_path, gone=3), num_classes=13, window=1).read(0)
    pairs = PackedPairs(shards, files := Moving(shards_path), num_classes=13, window=1)
    assert pairs.name(0) == "street_07"
    os.truncate(shards_path / shards[0].name, 600)
    with pytest.raises(DataError, match=r"val-00000\.tar is broken: it ends before byte"):
        pairs.read(0)
    assert files.discarded == 3


def test_damaged_contents_of_a_shard_are_named():
    pair, shard = PackedPair("a.jpg", 0, 512, 100, 1024, 50, 7), Shard("x.tar", 1, 2048, "", 1536, 100)
    good = contents_to_json([pair])
    assert contents_from_json(good, shard) == [pair]
    values = json.loads(good)
    wrong = []
    for change, message in (
        ({"version": 9}, "of version 9"),
        ({"photo": []}, "lists 0 photos, the index 1"),
        ({"number": [-1]}, "outside its 2,048 bytes"),
        ({"photo_size": [513]}, "outside its 2,048 bytes"),
        ({"mask_size": [1025]}, "outside its 2,048 bytes"),
        ({"number": ["x"]}, "ValueError"),
    ):
        with pytest.raises(DataError, match=r"Shard x\.tar does not list its contents") as caught:
            contents_from_json(json.dumps(values | change).encode(), shard)
        if message not in str(caught.value):
            wrong.append((change, str(caught.value)))
    assert not wrong, wrong
