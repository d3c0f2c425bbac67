"""Which photos an address means; the names of their outputs are those that the same files on a disk would get."""

from pathlib import Path

import numpy as np
import pytest

from clothseg.cluster.remote import file_system, find
from clothseg.encoding import encode_jpeg, marked
from clothseg.errors import InputError, MissingInputError, SettingError
from tests.cluster.photo_server import PhotoServer
from tests.cluster.two_nodes import BUCKET

NAMES = (
    "10.jpg",
    "2.jpg",
    "a.jpg",
    "a.PNG",
    "deep/кофта +1.webp",
    "deep/.hidden.jpg",
    ".hidden/b.jpg",
    "notes.txt",
    "a_mask.png",
)


@pytest.fixture
def folder(tmp_path):
    """A folder with files of these names."""
    for name in NAMES:
        path = tmp_path / "names" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "names"


@pytest.fixture
def address(store, folder):
    """The same in a store."""
    address = f"{store.root}/search/names"
    for path in folder.rglob("*"):
        if path.is_file():
            store.files.pipe_file(f"{address}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    yield address
    store.files.rm(address, recursive=True)


@pytest.fixture
def web(folder):
    """The same on a web server, which lists folders as pages."""
    with PhotoServer(folder.parent) as server:
        yield server.address


def named(found):
    return [(photo.file, photo.stem) for photo in found[0]]


def test_a_folder_in_a_store_gives_what_the_same_folder_on_a_disk_gives(address, folder):
    in_store = find([address], [], output="out")
    assert named(in_store) == named(find([str(folder)], [], output="out"))
    for photo in in_store[0]:
        assert (photo.source, photo.identity[:2]) == (
            f"{address}/{photo.file}",
            (photo.source, len(photo.file.encode())),
        )
    assert in_store[1] == ()


def test_a_trailing_slash_changes_nothing(address):
    assert find([f"{address}/"], [], output="out") == find([address], [], output="out")


def test_a_folder_of_a_web_server_gives_the_same(web, folder):
    on_web, problems = find([f"{web}/names/"], [], output="out")
    on_disk, _ = find([str(folder)], [], output="out")
    assert sorted(photo.file for photo in on_web) == sorted(photo.file for photo in on_disk)
    assert problems == ()
    (folder / "new.jpg").touch()
    again, _ = find([f"{web}/names/"], [], output="out")
    assert {photo.file for photo in again} - {photo.file for photo in on_web} == {"new.jpg"}, "listings are not kept"


def test_an_object_that_changes_has_another_identity(address, store):
    before = {photo.file: photo.identity for photo in find([address], [], output="out")[0]}
    store.files.pipe_file(f"{address}/2.jpg", b"!.jpg")
    after = {photo.file: photo.identity for photo in find([address], [], output="out")[0]}
    assert {name for name in before if before[name] != after[name]} == {"2.jpg"}


def test_what_an_earlier_run_wrote_is_no_photo(address, store):
    for name in ("results/2_overlay.jpg", "2_overlay.jpg"):
        store.files.pipe_file(f"{address}/{name}", marked(encode_jpeg(np.zeros((9, 9, 3), np.uint8))))
    found = {photo.file: photo.stem for photo in find([address], [], output=address)[0]}
    assert found["2.jpg"] == "2"
    assert found["a_mask.png"] == "a_mask", "no run wrote it"
    assert found["a.jpg"] == "a.jpg", "so nothing overwrites it"
    assert not [name for name in found if name.endswith("2_overlay.jpg")]


def test_outputs_never_overwrite_a_photo(store):
    base = f"{store.root}/overwrite"
    for name in ("one/a.jpg", "two/a_mask.png"):
        store.files.pipe_file(f"{base}/{name}", b"")
    found, _ = find([f"{base}/one/a.jpg", f"{base}/two/a_mask.png"], [], output=f"{base}/two")
    assert found[0].stem == "a.jpg"


def test_single_photos_are_not_asked_about_and_signatures_are_no_names():
    found, problems = find(
        ["https://nowhere.invalid/x/a%20b.jpg?signature=1", "https://nowhere.invalid/y/a%20b.jpg"], [], output="out"
    )
    assert [(photo.file, photo.stem) for photo in found] == [("a b.jpg", "x/a b.jpg"), ("a b.jpg", "y/a b.jpg")]
    assert problems == ()


def test_names_that_leave_their_folder_are_refused(s3):
    address = f"{s3.root}/leaving"
    s3.files.pipe_file(f"{address}/../../a.jpg", b"")
    found, problems = find([address], [], output="out")
    assert found == ()
    assert isinstance(problems[0], InputError)
    assert "leaves its folder" in str(problems[0])


def test_what_is_not_there_is_named(store):
    found, problems = find([f"{store.root}/nothing", store.root.replace(BUCKET, "no-such-bucket/a")], [], output="out")
    assert found == ()
    assert [type(problem) for problem in problems] == [MissingInputError, MissingInputError]
    store.files.pipe_file(f"{store.root}/texts/a.txt", b"")
    assert "No photos in" in str(find([f"{store.root}/texts"], [], output="out")[1][0])


def test_a_folder_that_may_not_be_listed_is_named(store, monkeypatch):
    def refuse(*_, **options):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(file_system(store.root.partition(":")[0]), "find", refuse)
    found, (problem,) = find([f"{store.root}/photos"], [], output="out")
    assert found == ()
    assert f"Folder cannot be listed: {store.root}/photos (Forbidden)" in str(problem)


def test_other_kinds_and_mixtures_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"Photos cannot be at ftp://host/a\.jpg\. Allowed: .* s3://"):
        find(["ftp://host/a.jpg"], [], output="out")
    with pytest.raises(SettingError, match=r"Both a path and an address: .*Pass them in two runs"):
        find([str(tmp_path), "s3://bucket/a.jpg"], [], output="out")


def test_paths_are_found_as_by_the_local_engine(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1234")
    (photo,), _ = find([str(tmp_path)], [], output="s3://bucket/out")
    status = Path(tmp_path / "a.jpg").stat()
    assert (photo.file, photo.stem) == ("a.jpg", "a")
    assert photo.identity == (str(tmp_path / "a.jpg"), 4, status.st_mtime_ns)
