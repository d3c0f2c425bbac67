import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clothseg.encoding import encode_jpeg, encode_png, marked
from clothseg.errors import InputError, MissingInputError, PictureError
from clothseg.pictures import read_picture
from clothseg.prediction.segmentation import CUTOUT_ENDING
from clothseg.prediction.sources import Candidate, _named, _numbered, find_photos, read_list


@pytest.fixture
def touch(tmp_path, monkeypatch):
    """Makes empty files below the test's own folder, which is also where relative paths begin."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(b"")

    return make


def stems(*inputs, output="out"):
    return {photo.source: photo.stem for photo in find_photos(inputs, output=Path(output)).photos}


def test_a_photo_is_named_by_its_stem(touch):
    touch("a/b/photo.v2.jpg", "odd.txt")
    assert stems("a/b/photo.v2.jpg") == {"a/b/photo.v2.jpg": "photo.v2"}
    assert stems("odd.txt") == {"odd.txt": "odd"}, "what a file is, is read from its content"


def test_a_folder_is_searched_in_natural_order(touch):
    touch("p/10.jpg", "p/2.jpg", "p/b/x.PNG", "p/a/y.webp", "p/notes.txt", "p/.hidden.jpg", "p/.git/z.jpg")
    assert list(stems("p").items()) == [
        ("p/2.jpg", "2"),
        ("p/10.jpg", "10"),
        ("p/a/y.webp", "a/y"),
        ("p/b/x.PNG", "b/x"),
    ]
    assert [photo.file for photo in find_photos(["p"], output=Path("out")).photos] == [
        "2.jpg",
        "10.jpg",
        "a/y.webp",
        "b/x.PNG",
    ]


def test_a_pattern_is_expanded(touch):
    touch("p/a/1.jpg", "p/a/2.png", "p/b/3.jpg", "p/b/notes.txt")
    assert stems("p/**/*.jpg") == {"p/a/1.jpg": "a/1", "p/b/3.jpg": "b/3"}
    assert stems("p/*/*") == {"p/a/1.jpg": "a/1", "p/a/2.png": "a/2", "p/b/3.jpg": "b/3"}
    assert stems("p/?") == stems("p/*/*"), "folders that match are searched through"
    touch(*(f"n/{number}.jpg" for number in range(1, 30)))
    assert list(stems("n/*.jpg").values()) == [str(number) for number in range(1, 30)], "in natural order"


def test_an_existing_name_is_not_read_as_a_pattern(touch):
    touch("look[1].jpg", "look1.jpg")
    assert stems("look[1].jpg") == {"look[1].jpg": "look[1]"}


def test_a_photo_given_twice_is_found_once(touch):
    touch("p/1.jpg", "p/2.jpg")
    assert stems("p/2.jpg", "p", "./p/../p/1.jpg") == {"p/2.jpg": "2", "p/1.jpg": "1"}


def test_photos_that_share_a_stem_keep_their_endings(touch):
    touch("p/a.jpg", "p/a.png", "p/b.jpg")
    assert stems("p") == {"p/a.jpg": "a.jpg", "p/a.png": "a.png", "p/b.jpg": "b"}


def test_a_kept_ending_may_be_the_stem_of_another(touch):
    touch("p/a.jpg", "p/a.png", "p/a.jpg.png")
    assert len(set(stems("p").values())) == 3


def test_photos_of_one_name_from_two_folders_get_the_folders_name(touch):
    touch("x/1.jpg", "y/1.jpg", "y/2.jpg")
    assert stems("x", "y") == {"x/1.jpg": "x/1.jpg", "y/1.jpg": "y/1.jpg", "y/2.jpg": "2"}
    assert stems("x/1.jpg", "y/1.jpg") == {"x/1.jpg": "x/1.jpg", "y/1.jpg": "y/1.jpg"}


def test_names_that_differ_by_case_or_accents_only_are_kept_apart(touch):
    touch("p/A.jpg", "p/a.png", "p/caf\u00e9.jpg", "p/cafe\u0301.jpg")
    found = list(stems("p").values())
    assert len(found) == len(list(Path("p").iterdir()))
    assert len({stem.casefold() for stem in found}) == len(found)
    assert {"A.jpg", "a.png"} < set(found)
    assert sum(stem.endswith("-2") for stem in found) == (1 if len(found) == 4 else 0)


def test_an_output_never_overwrites_a_photo(touch):
    touch("p/a.jpg", "p/a_mask.png")
    found = stems("p/a.jpg", "p/a_mask.png", output="p")
    assert found["p/a.jpg"] == "a.jpg"
    assert found["p/a_mask.png"] == "a_mask"


OUTPUT_OF_A_RUN = marked(encode_png(np.zeros((2, 2), np.uint8)))


def test_outputs_of_an_earlier_run_are_not_photos(touch):
    touch("p/a.jpg", "p/b.jpg", "p/out/deep/z.jpg")
    outputs = ("p/a_mask.png", "p/a_cutout-waist.png", "p/a_soft-waist.png", "p/out/a_mask.png", "p/gone_mask.png")
    for name in outputs:
        Path(name).write_bytes(OUTPUT_OF_A_RUN)
    Path("p/a_overlay.jpg").write_bytes(marked(encode_jpeg(np.zeros((9, 9, 3), np.uint8))))
    expected = {"p/a.jpg": "a", "p/b.jpg": "b", "p/out/deep/z.jpg": "out/deep/z"}
    for output in ("p", "p/out", "elsewhere"):
        assert stems("p", output=output) == expected
    assert stems("p/*.*", output="p") == {"p/a.jpg": "a", "p/b.jpg": "b"}
    given = stems("p/a.jpg", "p/a_mask.png", output="p")
    assert given == {"p/a.jpg": "a.jpg", "p/a_mask.png": "a_mask"}, "given itself, it is an input and stays"


def test_a_picture_that_no_run_wrote_is_never_overwritten(touch):
    touch("p/a.jpg", "p/a_mask.png", "p/B.jpg", "p/b_cutout-my-bag.png", "p/c.jpg", "p/sub/c_overlay.jpg")
    named = {"p/a.jpg": "a.jpg", "p/a_mask.png": "a_mask", "p/B.jpg": "B.jpg", "p/c.jpg": "c"}
    named |= {"p/b_cutout-my-bag.png": "b_cutout-my-bag", "p/sub/c_overlay.jpg": "sub/c_overlay"}
    assert stems("p", output="p") == named
    assert stems("p/a.jpg", output="p") == {"p/a.jpg": "a.jpg"}, "nor where the folder was not searched"
    assert stems("p/c.jpg", output="p/sub") == {"p/c.jpg": "c.jpg"}


def test_unusual_names_are_kept(touch):
    for number, name in enumerate(
        ("two words.jpg", "new\nline.jpg", "кофта.jpg", "-dash.jpg", "..dots...jpg", "a'\"b.jpg")
    ):
        touch(f"{number}/{name}")
        given = f"{number}/{name}" if name.startswith(".") else str(number)
        (photo,) = find_photos([given], output=Path("out")).photos
        assert photo.source == str(Path(f"{number}") / name)
        assert photo.file == name
        assert photo.stem == name.removesuffix(".jpg")


def test_names_as_long_as_file_systems_allow_leave_room_for_the_ending(touch):
    touch(f"p/{'ж' * 125}.jpg", f"p/{'ж' * 124}.jpg")
    found = list(stems("p").values())
    assert len(set(found)) == 2
    assert all(len(os.fsencode(f"{stem}_results.json")) <= 255 for stem in found)
    longest_class = CUTOUT_ENDING.format(name=35 * "c", suffix="webp")
    assert all(len(os.fsencode(stem + longest_class)) <= 255 for stem in found)


def test_missing_inputs_are_named_and_the_rest_found(touch):
    touch("a.jpg", "empty/notes.txt")
    os.mkfifo("pipe")
    search = find_photos(["no.jpg", "a.jpg", "empty", "no/*.jpg", "pipe", ""], output=Path("out"))
    assert [photo.stem for photo in search.photos] == ["a"]
    messages = [str(problem) for problem in search.problems]
    assert messages[0] == "Photo not found: no.jpg. Check the path"
    assert isinstance(search.problems[0], MissingInputError)
    assert messages[1].startswith("No photos in empty. Looked for names ending in .avif")
    assert messages[2].startswith("No photos in no/*.jpg")
    assert messages[3].startswith("Neither a photo nor a folder but a pipe")
    assert messages[4].startswith("Photo not found: ''")
    assert all(isinstance(problem, InputError) for problem in search.problems)


def test_a_pipe_in_a_folder_is_not_waited_for_and_is_named_when_it_is_read(touch):
    touch("p/a.jpg", "out/c.txt")
    for pipe in ("p/b.jpg", "p/b_mask.png", "out/a_mask.png"):
        os.mkfifo(pipe)
    assert stems("p") == stems("p/*") == {"p/a.jpg": "a.jpg", "p/b.jpg": "b", "p/b_mask.png": "b_mask"}
    with pytest.raises(PictureError, match=r"pipe, socket or device, not a file: p/b\.jpg"):
        read_picture(Path("p/b.jpg"))


names = st.text(st.sampled_from("aAé.-2 "), min_size=1, max_size=4).filter(lambda name: name.strip(". "))


@settings(max_examples=100)
@given(st.sets(st.tuples(st.sampled_from(["x", "y", "X"]), names, st.sampled_from([".jpg", ".PNG"])), max_size=8))
def test_no_two_photos_ever_share_a_name(found):
    photos = [Candidate.on_disk(Path(folder, name + suffix), Path(folder)) for folder, name, suffix in sorted(found)]
    result = _named(photos, Path("out"))
    assert len({photo.stem.casefold() for photo in result}) == len(photos)
    assert _named(photos, Path("out")) == result


def test_numbers_skip_names_that_are_taken():
    assert _numbered(["a", "a", "a-2", "a"], lambda name: name == "a-3") == ["a", "a-2", "a-2-2", "a-4"]


def test_photos_of_a_list_keep_the_paths_in_it(touch, tmp_path):
    touch("p/a/1.jpg", "p/b/1.jpg", "p/b/2.jpg", "p/c/3.jpg")
    listed = ["p/a/1.jpg", "p/b/1.jpg", str(tmp_path / "p/b/2.jpg"), "p/c", "gone.jpg"]
    search = find_photos([], output=Path("out"), listed=listed)
    assert [photo.stem for photo in search.photos] == ["p/a/1", "p/b/1", "2", "p/c/3"]
    assert [photo.file for photo in search.photos] == ["p/a/1.jpg", "p/b/1.jpg", "2.jpg", "p/c/3.jpg"]
    assert [str(problem) for problem in search.problems] == ["Photo not found: gone.jpg. Check the path"]
    assert find_photos([], output=Path("out"), listed=listed[1:2]).photos == search.photos[1:2]
    (outside,) = find_photos([], output=Path("out"), listed=["p/../p/c/3.jpg"]).photos
    assert outside.stem == "3", "outputs never leave the output folder"


def test_lists_are_lines_or_end_in_zero_bytes():
    assert read_list("a.jpg\r\n two words.jpg\n\nкофта.jpg".encode()) == ["a.jpg", " two words.jpg", "кофта.jpg"]
    assert read_list(b"new\nline.jpg\0b.jpg\0") == ["new\nline.jpg", "b.jpg"]
    assert read_list(b"\xff.jpg\n") == ["\udcff.jpg"]
    assert read_list(b"") == []


def test_lists_of_windows_programs_are_decoded():
    text = "кофта.jpg\r\nb c.jpg\r\n"
    marks = {"utf-8-sig": b"", "utf-16": b"", "utf-32": b"", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    wrong = {name for name, mark in marks.items() if read_list(mark + text.encode(name)) != ["кофта.jpg", "b c.jpg"]}
    assert not wrong
    for name in ("utf-16-le", "utf-16-be"):
        assert read_list("a/b.jpg\r\n".encode(name)) == ["a/b.jpg"], "without a mark"
    assert read_list(b"\xef\xbb\xbfnew\nline.jpg\0\xff.jpg\0") == ["new\nline.jpg", "\udcff.jpg"]
    assert read_list("a.jpg\0b c.jpg\0".encode("utf-16")) == ["a.jpg", "b c.jpg"]


def test_what_is_no_list_is_refused():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    for content in (encode_jpeg(pixels), encode_png(pixels), b"%PDF-1.7\n\x00\x00\x01", b"\x1f\x8b\x08ab\n"):
        with pytest.raises(InputError, match="no list of names"):
            read_list(content)


def test_linked_folders_are_followed_once_and_circles_are_not(touch):
    touch("p/a.jpg", "p/real/b.jpg", "elsewhere/c.jpg")
    Path("p/more").symlink_to("../elsewhere")
    Path("p/again").symlink_to("../elsewhere")
    Path("p/alias").symlink_to("real")
    Path("p/real/up").symlink_to("..")
    Path("p/real/out").symlink_to("../..")
    Path("p/broken.jpg").symlink_to("nowhere")
    assert list(stems("p")) == ["p/a.jpg", "p/again/c.jpg", "p/broken.jpg", "p/real/b.jpg"]
    assert list(stems("p/more")) == ["p/more/c.jpg"]


def test_brackets_in_the_names_of_folders_are_no_pattern(touch):
    touch("look[1]/a.jpg", "look1/b.jpg", "x[y]/z[1]/c.jpg")
    assert list(stems("look[1]")) == ["look[1]/a.jpg"]
    assert stems("look[1]/*.jpg") == {"look[1]/a.jpg": "a"}
    assert stems("x[y]/**/*.jpg") == {"x[y]/z[1]/c.jpg": "z[1]/c"}
    assert stems("look[0-9]/*") == {"look1/b.jpg": "look1/b"}


def test_paths_that_the_system_refuses_are_named_and_the_rest_found(touch):
    touch("a.jpg")
    Path("loop").symlink_to("loop")
    refused = {
        "x" * 300: "the name is too long",
        "loop/b.jpg": "circle",
        "a\0b": "zero byte",
        "x" * 300 + "/*": "too long",
    }
    search = find_photos([*refused, "a.jpg"], output=Path("out"))
    assert [photo.stem for photo in search.photos] == ["a"]
    messages = [str(problem) for problem in search.problems]
    wrong = [one for one, reason in zip(messages, refused.values(), strict=True) if reason not in one]
    assert not wrong


def test_a_folder_that_may_not_be_entered_costs_no_other_photo(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are root's alone
        monkeypatch.chdir(folder)
        Path(folder).chmod(0o755)
        Path("p/closed").mkdir(parents=True)
        Path("p/a.jpg").touch()
        Path("p/closed").chmod(0)
        is_root = os.geteuid() == 0
        if is_root:  # whom no folder keeps out
            os.seteuid(65534)
        try:
            search = find_photos(["p", "p/closed/b.jpg"], output=Path("out"))
        finally:
            if is_root:
                os.seteuid(0)
            Path("p/closed").chmod(0o700)
    assert [photo.stem for photo in search.photos] == ["a"]
    assert [str(one).endswith("(permission denied). Check its permissions") for one in search.problems] == [True, False]
    assert "permission denied" in str(search.problems[1])
