"""Archives unpack to checked photos or are refused; a killed run resumes and gives the same folder."""

import os
import random
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from clothseg.data.unzip import Unpacked, read_unpacked, unpack
from clothseg.errors import DataError, MachineError, MissingInputError


def photos(count: int = 40, num_bytes: int = 3_000) -> dict[str, bytes]:
    chance = random.Random(5)
    return {f"train/{number:03d}.jpg": chance.randbytes(num_bytes + number) for number in range(count)}


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return pack(tmp_path / "train2020.zip", photos())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fashionist" / "train"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_photo_comes_out_and_nothing_else(tmp_path: Path, folder: Path, compression: int) -> None:
    junk = {"train/.DS_Store": b"x", "__MACOSX/train/._a.jpg": b"x", "train/._a.jpg": b"x", "train/Thumbs.db": b"x"}
    others = {"train/": b"", "train/read me.txt": b"hello", "other/z.jpg": b"elsewhere", "train/empty.jpg": b""}
    named = {"train/sub dir/ä\n.PNG": b"y" * 5000, "train/-a.jpeg": b"z"}
    path = pack(tmp_path / "a.zip", photos() | junk | others | named, compression)
    calls: list[tuple[int, int | None]] = []

    result = unpack(path, folder, members_under="train", progress=lambda *call: calls.append(call))

    expected = photos() | named | {"train/empty.jpg": b""}
    assert tree(folder) == {name.removeprefix("train/"): content for name, content in expected.items()}
    assert (result.num_photos, result.num_bytes) == (43, sum(map(len, expected.values())))
    assert calls == sorted(calls)
    assert calls[-1] == (result.num_bytes, result.num_bytes)
    assert len(calls) == 43


def test_a_finished_folder_is_left_alone_and_repaired_where_it_is_not(archive: Path, folder: Path) -> None:
    first = unpack(archive, folder, members_under="train")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    calls: list[tuple[int, int | None]] = []
    assert unpack(archive, folder, members_under="train", progress=lambda *call: calls.append(call)) == first
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    whole = tree(folder)
    (folder / "003.jpg").unlink()
    (folder / "007.jpg").write_bytes(b"short")
    assert read_unpacked(folder) is None
    assert unpack(archive, folder, members_under="train") == first == read_unpacked(folder)
    assert tree(folder) == whole
    assert len([path for path in before if path.stat().st_mtime_ns == before[path]]) == len(before) - 2


def test_a_folder_is_complete_only_with_its_record_of_this_archive(tmp_path: Path, archive: Path, folder: Path) -> None:
    assert read_unpacked(folder) is None
    result = unpack(archive, folder, members_under="train")
    mark = folder.with_name("train.unpacked.json")
    assert read_unpacked(folder) == result == Unpacked("train2020.zip", result.digest, 40, result.num_bytes)

    for damaged in (b"", b"[]", b'{"archive": 1}', b"\xff"):
        mark.write_bytes(damaged)
        assert read_unpacked(folder) is None
        assert unpack(archive, folder, members_under="train") == result

    changed = photos() | {"train/005.jpg": photos()["train/006.jpg"][:3005]}  # as long as before, with other bytes
    new = pack(tmp_path / "new.zip", changed)
    good = new.read_bytes()
    new.write_bytes(good.replace(changed["train/005.jpg"], bytes(3005)))
    with pytest.raises(DataError, match="checksum"):
        unpack(new, folder, members_under="train")
    assert read_unpacked(folder) is None  # it was complete with the other archive's photos; now nobody knows
    new.write_bytes(good)
    unpack(new, folder, members_under="train")
    assert (folder / "005.jpg").read_bytes() == changed["train/005.jpg"]


def test_the_disk_has_all_photos_before_the_record_says_so(
    archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(os, "sync", lambda: seen.append((len(tree(folder)), len(tree(folder.parent)))))
    unpack(archive, folder, members_under="train")
    assert seen == [(40, 40)]
    assert len(tree(folder.parent)) == 41


def test_half_written_and_wrong_photos_without_a_record_are_written_again(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "000.jpg").write_bytes(photos()["train/000.jpg"][:100])  # as another program leaves it
    (folder / "001.jpg").write_bytes(bytes(3_001))  # as a power cut leaves it: the length, but zeros
    (folder / "002.jpg").write_bytes(photos()["train/002.jpg"])
    kept = (folder / "002.jpg").stat().st_mtime_ns
    unpack(archive, folder, members_under="train")
    assert tree(folder) == {name.removeprefix("train/"): content for name, content in photos().items()}
    assert (folder / "002.jpg").stat().st_mtime_ns == kept


def renamed(*names: str) -> Callable[[Path], None]:
    return lambda path: pack(path, photos(3) | dict.fromkeys(names, b"x" * 99)).touch()


def with_name_twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("train/a.jpg", "train/a.jpg"):
            archive.writestr(name, b"x")


def with_raw_name(name: bytes) -> Callable[[Path], None]:
    """Pack a name that zipfile would not write."""

    def build(path: Path) -> None:
        pack(path, {"x" * len(name): b"content"})
        path.write_bytes(path.read_bytes().replace(b"x" * len(name), name))

    return build


def with_entry(**values: int) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train/a.jpg", b"fine")
            info = zipfile.ZipInfo("train/b.jpg")
            for name, value in values.items():
                setattr(info, name, value)
            archive.writestr(info, b"target")

    return build


def with_changed_table(change: Callable[[zipfile.ZipInfo], None]) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("train/a.jpg", "train/b.jpg"):
                archive.writestr(name, random.Random(1).randbytes(5000))
            change(archive.infolist()[1])

    return build


def sharing_bytes(info: zipfile.ZipInfo) -> None:
    info.header_offset = 0


def encrypted(info: zipfile.ZipInfo) -> None:
    info.flag_bits |= 1


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # zipfile warns of what is tested here
def test_unsafe_archives_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    hostile: dict[str, tuple[Callable[[Path], object], str]] = {
        "parent": (renamed("../evil.jpg"), "outside"),
        "parent within": (renamed("train/../../evil.jpg"), "outside"),
        "no photo, but hostile": (renamed("../evil.txt"), "outside"),
        "absolute": (renamed("/etc/evil.jpg"), "outside"),
        "drive": (renamed("C:/evil.jpg"), "colon"),
        "backslash": (renamed("train\\evil.jpg"), "backslash"),
        "NUL": (with_raw_name(b"train/evil.jpg\0.txt"), "NUL"),
        "symlink": (with_entry(external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link"),
        "pipe": (with_entry(external_attr=(stat.S_IFIFO | 0o777) << 16), "is a link or a device"),
        "long name": (renamed(f"train/{'a' * 300}.jpg"), "is too long; a name may have 255 bytes"),
        "long path": (renamed(f"train/{'a/' * 1000}b.jpg"), "bytes, with all folders 2000"),
        "lzma": (with_entry(compress_type=zipfile.ZIP_LZMA), "method 14"),
        "encrypted": (with_changed_table(encrypted), "is encrypted"),
        "overlap": (with_changed_table(sharing_bytes), "share the same bytes"),
        "case": (renamed("train/000.JPG"), "'000.jpg' and '000.JPG' are both there"),
        "twice": (with_name_twice, "'a.jpg' and 'a.jpg' are both there"),
        "accents": (renamed("train/\u00e4.jpg", "train/a\u0308.jpg"), "are both there"),
        "file and folder": (renamed("train/000.jpg/a.jpg"), "is a file, and the folder of"),
        "folder": (lambda path: pack(path, {"photos/a.jpg": b"x"}), "but photos only under: photos"),
        "no photos": (lambda path: pack(path, {"train/a.txt": b"x"}), "but no photos at all"),
        "empty": (lambda path: pack(path, {}), "empty zip archive"),
        "no bytes": (lambda path: path.write_bytes(b""), "not a whole zip archive"),
        "no zip": (lambda path: path.write_bytes(b"<html>"), "not a whole zip archive"),
    }
    wrong = []
    for name, (build, message) in hostile.items():
        path = tmp_path / name / "a.zip"
        path.parent.mkdir()
        build(path)
        with pytest.raises(DataError) as caught:
            unpack(path, path.parent / "fashionist" / "train", members_under="train")
        said = str(caught.value)
        if message not in said or str(path) not in said or "\n" in said or list(path.parent.iterdir()) != [path]:
            wrong.append((name, said))
    assert not wrong, wrong


def test_zip_bombs_are_refused(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = {f"train/{number:03d}.jpg": bytes(2_000_000) for number in range(2)}
    path = pack(tmp_path / "a.zip", zeros, zipfile.ZIP_DEFLATED)
    for limit, value, message in (
        ("_RATIO_FROM", 1_000_000, r"'000\.jpg' would unpack from [\d,]+ to 2,000,000 bytes"),
        ("_MAX_PHOTO_BYTES", 1_000_000, r"has 2,000,000 bytes; a photo may have 1,000,000"),
        ("_RATIO_FROM", 3_000_000, r"'the total' would unpack .* to 4,000,000 bytes"),
        ("_MAX_MEMBERS", 1, "2 entries"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"clothseg.data.unzip.{limit}", value)
            with pytest.raises(DataError, match=message):
                unpack(path, folder, members_under="train")
    assert not folder.exists()
    assert unpack(path, folder, members_under="train").num_photos == 2


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_size_does_not_unpack_to_more(
    tmp_path: Path, folder: Path, compression: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("train/a.jpg", bytes(5_000_000))
        archive.infolist()[0].file_size = 1000
        archive.infolist()[0].CRC = zlib.crc32(bytes(1000))
    with pytest.raises(DataError, match="checksum"):
        unpack(path, folder, members_under="train")
    assert tree(folder) == {}
    monkeypatch.setattr("clothseg.data.unzip._MAX_PHOTO_BYTES", 2_000)
    with pytest.raises(DataError, match=r"a photo may have 2,000"):
        unpack(path, folder, members_under="train")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_named_and_a_good_archive_heals_what_is_there(
    tmp_path: Path, folder: Path, compression: int
) -> None:
    path = pack(tmp_path / "a.zip", photos(), compression)
    good = path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        place = opened.getinfo("train/020.jpg").header_offset + 30 + len("train/020.jpg") + 1500
    path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])

    with pytest.raises(DataError, match=r"a\.zip is damaged: the checksum of 'train/020\.jpg' .* Delete it"):
        unpack(path, folder, members_under="train")
    assert read_unpacked(folder) is None
    for name, content in tree(folder).items():  # what is there under a final name is whole
        assert content == photos()[f"train/{name}"]

    path.write_bytes(good)
    unpack(path, folder, members_under="train")
    assert tree(folder) == {name.removeprefix("train/"): content for name, content in photos().items()}


def test_an_archive_is_refused_or_unpacks_right_whatever_byte_is_damaged(tmp_path: Path) -> None:
    members = photos(2, num_bytes=20)
    good = pack(tmp_path / "good.zip", members, zipfile.ZIP_DEFLATED).read_bytes()
    expected = {name.removeprefix("train/"): content for name, content in members.items()}
    outcomes = set()
    for place in range(len(good)):
        path = tmp_path / "a.zip"
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        folder = tmp_path / str(place) / "train"
        try:
            unpack(path, folder, members_under="train")
        except DataError:
            outcomes.add("refused")
        else:
            outcomes.add("right")
            assert set(tree(folder).values()) <= set(expected.values())
        assert all(content in expected.values() for content in tree(folder).values())
    assert outcomes == {"refused", "right"}


def test_a_cut_archive_is_refused(archive: Path, folder: Path) -> None:
    content = archive.read_bytes()
    for kept in (0.1, 0.5, 0.9, 0.999):
        archive.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(DataError, match=r"not a whole zip archive .* Delete it"):
            unpack(archive, folder, members_under="train")


def test_a_missing_archive_and_a_folder_that_cannot_be_written_are_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"Archive not found: .*none\.zip"):
        unpack(tmp_path / "none.zip", tmp_path / "train", members_under="train")
    (tmp_path / "train").write_text("a file")
    with pytest.raises(MachineError, match="Cannot unpack"):
        unpack(archive, tmp_path / "train", members_under="train")


def test_a_full_disk_is_noticed_before_the_first_photo(
    archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("."))(10**9, 10**9 - 4321, 4321)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(MachineError, match="120,780 bytes needed, 4,321 free"):
        unpack(archive, folder, members_under="train")
    assert tree(folder) == {}


_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from clothseg.data.unzip import unpack
left = int(sys.argv[3])
def progress(done, total):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
unpack(Path(sys.argv[1]), Path(sys.argv[2]), members_under="train", progress=progress)
"""


@pytest.mark.processes
def test_kill_9_and_again_gives_the_same_folder(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", photos(400), zipfile.ZIP_DEFLATED)
    undisturbed = tmp_path / "undisturbed"
    unpack(path, undisturbed / "train", members_under="train")
    chance = random.Random(11)
    for round_number in range(3):
        place = tmp_path / str(round_number)
        command = [sys.executable, "-c", _KILLED_RUN, str(path), str(place / "train")]
        killed = subprocess.run([*command, str(chance.randrange(380))], capture_output=True, check=False)
        assert killed.returncode == -9
        assert read_unpacked(place / "train") is None
        unpack(path, place / "train", members_under="train")
        assert tree(place) == tree(undisturbed)
