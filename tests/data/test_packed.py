"""Batches from shards in a folder, behind a web server and in an S3 store are those of the files, in their order."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clothseg.data import packed
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.pack import pack
from clothseg.data.packed import INDEX_NAME, read_manifest
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError
from clothseg.settings import Settings
from tests.conftest import needs
from tests.data.file_server import FileServer, serving
from tests.data.test_datamodule import assert_equal, batches_of

SMALL = 6_000
"""Bytes of a shard that holds about two of the drawn photos."""
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
    monkeypatch.setattr(packed, "PAUSES", (0.02, 0.02, 0.02))


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
    packed._open.cache_clear()
    yield "s3://photos/packed"
    server.stop()


def data_of(prepared_path: Path, shards: object = None, **options: Any) -> ClothSegmentationData:
    values = {"img_size": 64, "batch_size": 4, "num_workers": 0, **options}
    return ClothSegmentationData(prepared_path, shards=None if shards is None else str(shards), **values)


def epoch_of(data: ClothSegmentationData, epoch: int = 0) -> list[Any]:
    data.train_sampler.set_epoch(epoch)
    return batches_of(data.train_dataloader()) + batches_of(data.val_dataloader())


def assert_same(prepared_path: Path, address: object, num_workers: int) -> None:
    data, files = data_of(prepared_path, address, num_workers=num_workers), data_of(prepared_path)
    for epoch in (0, 4):
        assert_equal(epoch_of(data, epoch), epoch_of(files, epoch))


@pytest.mark.parametrize("num_workers", [0, WORKERS])
def test_a_folder_and_a_web_server_give_the_batches_of_the_files(
    prepared_path, shards_path, web, num_workers, monkeypatch
):
    monkeypatch.setattr(packed, "PAUSES", ())  # a connection that does not answer is an error
    assert len(list(shards_path.glob("train-*.tar"))) > 2
    for address in (shards_path, web.address, f"{web.address}/"):
        assert_same(prepared_path, address, num_workers)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_s3_gives_the_batches_of_the_files(prepared_path, bucket, num_workers):
    assert_same(prepared_path, bucket, num_workers)
    with pytest.raises((MissingInputError, MachineError), match=r"s3://other/x/shards\.json"):
        data_of(prepared_path, "s3://other/x")


def test_the_photos_of_a_batch_are_requested_at_once(prepared_path, web):
    data = data_of(prepared_path, web.address, batch_size=7)
    web.delay = 0.3
    start = time.monotonic()
    assert len(epoch_of(data)) == 2
    assert time.monotonic() - start < 5 * web.delay, "ten photos in two batches"


def test_a_store_that_fails_cuts_or_changes_an_answer_is_asked_again(prepared_path, web):
    expected = epoch_of(data_of(prepared_path))
    web.failures["train-00001.tar"] = web.failures[INDEX_NAME] = web.cut["train.npy"] = 2
    web.cut["train-00000.tar"] = web.changed["train-00002.tar"] = 1
    assert_equal(epoch_of(data_of(prepared_path, web.address)), expected)
    assert not any(web.failures[name] > 0 for name in web.failures)
    assert not web.changed["train-00002.tar"]


DAMAGES = {
    "cut": (lambda content: content[:-3000], "is broken: it ends before byte"),
    "changed": (lambda content: content.replace(b"\xff\xd8", b"\xff\xd9"), "is broken: a checksum differs"),
    "empty": (lambda content: b"", "is broken: it ends before byte"),
}


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.processes)])
def test_a_broken_or_missing_shard_is_named(prepared_path, web, shards_path, num_workers):
    whole = {path: path.read_bytes() for path in shards_path.glob("train-*.tar")}
    for change, message in DAMAGES.values():
        for path, content in whole.items():
            path.write_bytes(change(content))
        for address in (web.address, shards_path):
            data = data_of(prepared_path, address, num_workers=num_workers)
            with pytest.raises(DataError, match=rf"Shard {address}/train-0000\d\.tar {message}.*clothseg pack"):
                epoch_of(data)
    for path in whole:
        path.unlink()
    for address in (web.address, shards_path):
        data = data_of(prepared_path, address, num_workers=num_workers)
        with pytest.raises(MissingInputError, match=rf"{address}/train-0000\d\.tar is not there.*copy all its files"):
            epoch_of(data)


def test_an_address_without_a_packed_dataset_is_named(prepared_path, web):
    for address, error, message in (
        (
            "nowhere",
            MissingInputError,
            r'Packed dataset not found: nowhere/shards\.json.*run "uv run clothseg pack" first',
        ),
        (f"{web.address}/none", MissingInputError, rf"Packed dataset not found: {web.address}/none/shards\.json"),
        ("ftp://host/x", SettingError, "store of kind ftp. Allowed"),
        ("http://127.0.0.1:9/x", MachineError, r"http://127\.0\.0\.1:9/x/shards\.json cannot be read"),
    ):
        with pytest.raises(error, match=message):
            data_of(prepared_path, address)
    assert web.asked[f"none/{INDEX_NAME}"] == 1, "a file that is not there is not asked for again"


def test_a_web_server_that_sends_whole_files_only_is_refused(prepared_path, web):
    web.sends_parts = False
    with pytest.raises(MachineError, match="does not send parts of a file"):
        data_of(prepared_path, web.address)


def test_a_foreign_index_is_refused(prepared_path, shards_path):
    values = json.loads((shards_path / INDEX_NAME).read_bytes())
    rows = np.load(shards_path / "train.npy")
    for name, content, message in (
        (INDEX_NAME, b"<html>", r"is not the index of a packed dataset \(JSONDecodeError"),
        (INDEX_NAME, json.dumps(values | {"version": 1}), "its version is 1, this clothseg reads 2.*pack the dataset"),
        (INDEX_NAME, json.dumps({"version": 2}), "KeyError"),
        ("train.npy", b"", "does not list the photos of train"),
        ("train.npy", rows[:5], "not one row for 7 photos"),
        ("train.npy", rows["offset"], "it is uint64 of shape"),
        ("train.npy", np.array([{}], dtype=object), "allow_pickle=False"),
    ):
        path = shards_path / name
        before = path.read_bytes()
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(DataError, match=message):
            data_of(prepared_path, shards_path)
        path.write_bytes(before)


def test_settings_name_a_packed_dataset_or_none(prepared_path, shards_path):
    packed_manifest = read_manifest(Settings(shards=str(shards_path)))
    assert packed_manifest == read_manifest(Settings(data_path=prepared_path))
    assert ClothSegmentationData.from_settings(Settings(shards=str(shards_path))).manifest == packed_manifest
