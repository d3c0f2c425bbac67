import pytest

from clothseg.cluster import remote, targets
from clothseg.cluster.targets import FolderTarget, StoredJournal, StoreTarget, target_of
from clothseg.errors import MachineError, MissingExtraError, MissingInputError, PictureError, SettingError
from clothseg.prediction.journal import JOURNAL_NAME, Entry, Journal
from clothseg.prediction.sources import Photo
from tests.cluster.two_nodes import BUCKET
from tests.conftest import needs


@pytest.mark.full
def test_a_path_is_a_folder_and_an_address_a_store(tmp_path):
    needs("s3fs")
    assert target_of(tmp_path) == FolderTarget(tmp_path)
    assert target_of("s3://bucket/results/") == StoreTarget("s3://bucket/results")


def test_results_go_only_where_a_file_is_whole_or_not_there():
    for address in ("https://example.org/results", "ftp://host/results", "memory://results"):
        with pytest.raises(SettingError, match=r"Results cannot be at .*Allowed: a path, or .*s3://"):
            target_of(address)


def test_a_folder_that_a_worker_does_not_see_is_refused(tmp_path):
    with pytest.raises(MachineError, match="does not see the output folder"):
        FolderTarget(tmp_path).check_from_worker()
    (tmp_path / JOURNAL_NAME).touch()
    FolderTarget(tmp_path).check_from_worker()


def test_a_store_keeps_what_is_written(store):
    target = target_of(f"{store.root}/kept")
    assert target.sizes() == {}
    target.check()
    target.write("a/кофта +#1_mask.png", b"12345")
    assert target.sizes() == {"a/кофта +#1_mask.png": 5}
    assert target.read("a/кофта +#1_mask.png") == b"12345"
    target.delete(["a/кофта +#1_mask.png"])
    assert target.sizes() == {}


def test_a_bucket_that_is_not_there_is_named_at_once(store):
    address = store.root.replace(BUCKET, "no-such-bucket/results")
    with pytest.raises(MachineError, match="No bucket no-such-bucket"):
        target_of(address).check()
    with pytest.raises(MachineError, match=rf"Cannot write {address}/a\.png \(.*--resume"):
        target_of(address).write("a.png", b"1")


def test_a_photo_that_cannot_be_fetched_says_why(store):
    with pytest.raises(MissingInputError, match=rf"Photo not found: {store.root}/gone\.jpg"):
        remote.read(f"{store.root}/gone.jpg")
    with pytest.raises(PictureError, match=r"Photo cannot be fetched: http://127\.0\.0\.1:9/a\.jpg \(.*--resume"):
        remote.read("http://127.0.0.1:9/a.jpg")
    with pytest.raises(PictureError, match="Photo is too large"):
        remote.read(f"{store.root}/large.jpg", remote.MAX_BYTES + 1)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    def fail(*_, **options):
        raise ImportError

    monkeypatch.setattr("fsspec.filesystem", fail)
    for scheme, package in (("s3", "s3fs"), ("s3a", "s3fs"), ("gs", "gcsfs"), ("https", "aiohttp")):
        with pytest.raises(MissingExtraError, match=f"{package} is not installed.*: uv sync --extra remote"):
            remote.file_system.__wrapped__(scheme)


PHOTOS = [Photo(f"s3://in/{number}.jpg", f"{number}.jpg", str(number), ("", number, 0)) for number in range(5)]


@pytest.fixture
def target(store):
    """An empty prefix."""
    yield StoreTarget(f"{store.root}/journal")
    store.files.rm(f"{store.root}/journal", recursive=True)


@pytest.fixture
def journal(target, tmp_path_factory):
    """Begins a journal as a new process would, with nothing but the store."""
    return lambda run="one": StoredJournal(target, tmp_path_factory.mktemp("here"), {"run": run})


def write(target, photo):
    target.write(f"{photo.stem}_mask.png", b"12")
    return Entry(photo.stem, photo.identity, {f"{photo.stem}_mask.png": 2}, {"file": photo.file})


def test_parts_of_the_journal_record_what_is_done_when_a_run_is_killed(target, journal, monkeypatch):
    monkeypatch.setattr(targets, "MAX_PART_ENTRIES", 2)
    killed = journal()
    assert killed.start(PHOTOS, resume=True) == {}
    killed.__enter__()
    for photo in PHOTOS[:3]:  # the third waits for its part when the process is gone
        killed.add(write(target, photo))
    Journal.__exit__(killed)  # closes the file here, and stores nothing
    resumed = journal()
    assert resumed.start(PHOTOS, resume=True) == {"0": ("0_mask.png",), "1": ("1_mask.png",)}
    with resumed:
        resumed.add(write(target, PHOTOS[4]))
    last = journal()
    assert last.start(PHOTOS, resume=True).keys() == {"0", "1", "4"}
    assert [result["file"] for result in last.results(PHOTOS)] == ["0.jpg", "1.jpg", "4.jpg"]
    assert len([name for name in target.sizes() if name.startswith(targets.PARTS)]) == 1, "parts are put together"


def test_what_changed_or_is_gone_or_of_another_run_is_not_done(target, journal):
    begun = journal()
    begun.start(PHOTOS, resume=False)
    with begun:
        for photo in PHOTOS:
            begun.add(write(target, photo))
    target.delete(["0_mask.png"])
    target.write("1_mask.png", b"123")
    changed = [*PHOTOS[:2], Photo("s3://in/2.jpg", "2.jpg", "2", ("", 2, 99)), *PHOTOS[3:]]
    assert journal().start(changed, resume=True).keys() == {"3", "4"}
    assert journal("another").start(changed, resume=True) == {}
    assert journal().start(changed, resume=True) == {}, "the other run's journal has taken its place"


def test_parts_of_an_older_run_that_were_not_deleted_do_not_count(target, journal, monkeypatch):
    for run, photos in (("one", PHOTOS), ("another", PHOTOS[:1])):
        with monkeypatch.context() as patch:
            patch.setattr(StoreTarget, "delete", lambda *_: None)  # as if the process were killed before it
            begun = journal(run)
            begun.start(PHOTOS, resume=False)
        with begun:
            for photo in photos:
                begun.add(write(target, photo))
    assert journal("another").start(PHOTOS, resume=True).keys() == {"0"}
