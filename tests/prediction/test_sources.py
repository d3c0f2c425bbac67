import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clothseg.errors import InputError, MissingInputError
from clothseg.prediction.naming import _numbered
from clothseg.prediction.segmentation import CUTOUT_ENDING
from clothseg.prediction.sources import _Candidate, _unique_stems, find_photos, read_list


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
    return {str(photo.path): photo.stem for photo in find_photos(inputs, output=Path(output)).photos}


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


def test_outputs_of_an_earlier_run_are_not_photos(touch):
    touch("p/a.jpg", "p/a_mask.png", "p/a_overlay.jpg", "p/b_mask.png", "p/c.jpg", "p/c.jpg_mask.png", "p/_mask.png")
    expected = {"p/a.jpg": "a", "p/b_mask.png": "b_mask", "p/c.jpg": "c", "p/_mask.png": "_mask"}
    assert stems("p", output="p") == stems("p/*", output="p") == expected, "b has no photo beside its mask"
    assert "p/a_mask.png" in stems("p", output="elsewhere")
    touch("p/out/a_mask.png", "p/out/deep/z.jpg")
    assert not any("out/" in path for path in stems("p", output="p/out"))
    assert not any("out/" in path for path in stems("p/**/*.jpg", output="p/out"))
    assert "p/out/a_mask.png" in stems("p/out/a_mask.png", output="p/out"), "given itself, it is taken"


def test_unusual_names_are_kept(touch):
    for number, name in enumerate(
        ("two words.jpg", "new\nline.jpg", "кофта.jpg", "-dash.jpg", "..dots...jpg", "a'\"b.jpg")
    ):
        touch(f"{number}/{name}")
        given = f"{number}/{name}" if name.startswith(".") else str(number)
        (photo,) = find_photos([given], output=Path("out")).photos
        assert photo.path == Path(f"{number}") / name
        assert photo.file == name
        assert photo.stem == name.removesuffix(".jpg")


def test_names_as_long_as_file_systems_allow_leave_room_for_the_ending(touch):
    touch(f"p/{'ж' * 125}.jpg", f"p/{'ж' * 124}.jpg")
    found = list(stems("p").values())
    assert len(set(found)) == 2
    assert all(len(os.fsencode(f"{stem}_results.json")) <= 255 for stem in found)
    longest_class = CUTOUT_ENDING.format(name=35 * "c")
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
    assert messages[3].startswith("Neither a photo nor a folder: pipe")
    assert messages[4].startswith("Photo not found: ''")
    assert all(isinstance(problem, InputError) for problem in search.problems)


def test_a_pipe_in_a_folder_is_not_waited_for(touch):
    touch("p/a.jpg")
    os.mkfifo("p/b.jpg")
    assert stems("p") == {"p/a.jpg": "a"}


names = st.text(st.sampled_from("aAé.-2 "), min_size=1, max_size=4).filter(lambda name: name.strip(". "))


@settings(max_examples=100)
@given(st.sets(st.tuples(st.sampled_from(["x", "y", "X"]), names, st.sampled_from([".jpg", ".PNG"])), max_size=8))
def test_no_two_photos_ever_share_a_name(found):
    photos = [_Candidate(Path(folder, name + suffix), Path(folder)) for folder, name, suffix in sorted(found)]
    result = _unique_stems(photos, Path("out"))
    assert len({stem.casefold() for stem in result}) == len(photos)
    assert _unique_stems(photos, Path("out")) == result


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


def test_cutouts_and_soft_masks_of_an_earlier_run_are_not_photos(touch):
    touch("p/a.jpg", "p/a_cutout-legs-and-feet.png", "p/a_soft-upperbody.png", "p/b_cutout-waist.png")
    assert stems("p", output="p") == {"p/a.jpg": "a", "p/b_cutout-waist.png": "b_cutout-waist"}
    found = stems("p/a.jpg", "p/a_soft-upperbody.png", output="p")
    assert found["p/a.jpg"] == "a.jpg", "given itself, it would be overwritten"
