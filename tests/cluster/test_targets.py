import pytest

from clothseg.cluster import remote
from clothseg.cluster.targets import Folder, Store, place_of
from clothseg.errors import MachineError, MissingExtraError, MissingInputError, PictureError, SettingError
from clothseg.prediction.journal import JOURNAL_NAME
from tests.cluster.two_nodes import BUCKET


def test_a_path_is_a_folder_and_an_address_a_store(tmp_path):
    assert place_of(tmp_path) == Folder(tmp_path)
    assert place_of("s3://bucket/results/") == Store("s3://bucket/results")


def test_results_go_only_where_a_file_is_whole_or_not_there():
    for address in ("https://example.org/results", "ftp://host/results", "memory://results"):
        with pytest.raises(SettingError, match=r"Results cannot be at .*Allowed: a path, or .*s3://"):
            place_of(address)


def test_a_folder_that_a_worker_does_not_see_is_refused(tmp_path):
    with pytest.raises(MachineError, match="does not see the output folder"):
        Folder(tmp_path).check_from_worker()
    (tmp_path / JOURNAL_NAME).touch()
    Folder(tmp_path).check_from_worker()


def test_a_store_keeps_what_is_written(store):
    place = place_of(f"{store.root}/kept")
    assert place.sizes() == {}
    place.check()
    place.write("a/кофта +#1_mask.png", b"12345")
    assert place.sizes() == {"a/кофта +#1_mask.png": 5}
    assert place.read("a/кофта +#1_mask.png") == b"12345"
    place.delete(["a/кофта +#1_mask.png"])
    assert place.sizes() == {}


def test_a_bucket_that_is_not_there_is_named_at_once(store):
    address = store.root.replace(BUCKET, "no-such-bucket/results")
    with pytest.raises(MachineError, match="No bucket no-such-bucket"):
        place_of(address).check()
    with pytest.raises(MachineError, match=rf"Cannot write {address}/a\.png: .*--resume"):
        place_of(address).write("a.png", b"1")


def test_a_photo_that_cannot_be_fetched_says_why(store):
    with pytest.raises(MissingInputError, match=rf"Photo not found: {store.root}/gone\.jpg"):
        remote.read(f"{store.root}/gone.jpg")
    with pytest.raises(PictureError, match=r"Photo cannot be fetched: http://127\.0\.0\.1:9/a\.jpg \(.*--resume"):
        remote.read("http://127.0.0.1:9/a.jpg")
    with pytest.raises(PictureError, match="Photo is too large"):
        remote.read(f"{store.root}/large.jpg", remote.MOST_BYTES + 1)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    def fail(*_, **options):
        raise ImportError

    monkeypatch.setattr("fsspec.filesystem", fail)
    for scheme, package in (("s3", "s3fs"), ("s3a", "s3fs"), ("gs", "gcsfs"), ("https", "aiohttp")):
        with pytest.raises(MissingExtraError, match=f"pip install {package}"):
            remote.file_system.__wrapped__(scheme)
