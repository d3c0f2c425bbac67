import pytest

from clothseg.cluster import stored_journal
from clothseg.cluster.search import Photo
from clothseg.cluster.stored_journal import StoredJournal
from clothseg.cluster.targets import Store
from clothseg.prediction.journal import Entry

PHOTOS = [Photo(f"s3://in/{number}.jpg", f"{number}.jpg", str(number), ("", number, 0)) for number in range(5)]


@pytest.fixture
def place(store):
    """An empty prefix."""
    yield Store(f"{store.root}/journal")
    store.files.rm(f"{store.root}/journal", recursive=True)


@pytest.fixture
def journal(place, tmp_path_factory):
    """Begins a journal as a new process would, with nothing but the store."""
    return lambda run="one": StoredJournal(place, tmp_path_factory.mktemp("here"), {"run": run})


def write(place, photo):
    place.write(f"{photo.stem}_mask.png", b"12")
    return Entry(photo.stem, photo.identity, {f"{photo.stem}_mask.png": 2}, {"file": photo.file})


def test_parts_hold_what_is_done_without_a_proper_end(place, journal, monkeypatch):
    monkeypatch.setattr(stored_journal, "MOST_ENTRIES", 2)
    killed = journal()
    assert killed.start(PHOTOS, resume=True) == {}
    killed.__enter__()
    for photo in PHOTOS[:3]:  # the third waits for its part when the process is gone
        killed.add(write(place, photo))
    killed._journal.__exit__()  # closes the file here, and stores nothing
    resumed = journal()
    assert resumed.start(PHOTOS, resume=True) == {"0": ("0_mask.png",), "1": ("1_mask.png",)}
    with resumed:
        resumed.add(write(place, PHOTOS[4]))
    last = journal()
    assert last.start(PHOTOS, resume=True).keys() == {"0", "1", "4"}
    assert [result["file"] for result in last.results(PHOTOS)] == ["0.jpg", "1.jpg", "4.jpg"]
    assert len([name for name in place.sizes() if name.startswith(stored_journal.PARTS)]) == 1, "parts are put together"


def test_what_changed_or_is_gone_or_of_another_run_is_not_done(place, journal):
    begun = journal()
    begun.start(PHOTOS, resume=False)
    with begun:
        for photo in PHOTOS:
            begun.add(write(place, photo))
    place.delete(["0_mask.png"])
    place.write("1_mask.png", b"123")
    changed = [*PHOTOS[:2], Photo("s3://in/2.jpg", "2.jpg", "2", ("", 2, 99)), *PHOTOS[3:]]
    assert journal().start(changed, resume=True).keys() == {"3", "4"}
    assert journal("another").start(changed, resume=True) == {}
    assert journal().start(changed, resume=True) == {}, "the other run's journal has taken its place"


def test_parts_of_an_older_run_that_were_not_deleted_do_not_count(place, journal, monkeypatch):
    for run, photos in (("one", PHOTOS), ("another", PHOTOS[:1])):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "delete", lambda *_: None)  # as if the process were killed before it
            begun = journal(run)
            begun.start(PHOTOS, resume=False)
        with begun:
            for photo in photos:
                begun.add(write(place, photo))
    assert journal("another").start(PHOTOS, resume=True).keys() == {"0"}
