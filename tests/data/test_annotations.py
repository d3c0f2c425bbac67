"""Annotation files open whole, in part, or with a named error, whatever is in them."""

import json

import pytest

from clothseg.data.annotations import choose_share, describe_annotations, open_annotations, open_rows
from clothseg.errors import DataError, MissingInputError
from tests.data.small_mirror import write_mirror


def write(tmp_path, content):
    path = tmp_path / "instances.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def minimal(**rows):
    return {"images": [], "annotations": [], "categories": []} | rows


def test_a_file_is_what_json_says_it_is(tmp_path):
    content = write_mirror(tmp_path / "mirror")["train"]

    file = open_annotations(write(tmp_path, content))

    assert [[one.id, one.width, one.height, one.file_name] for one in file.images] == [
        [one["id"], one["width"], one["height"], one["file_name"]] for one in content["images"]
    ]
    assert [
        {name: getattr(one, name) for name in ("id", "image_id", "category_id", "area")}
        | {"segmentation": json.loads(bytes(one.segmentation)), "iscrowd": 0}
        for one in file.annotations
    ] == content["annotations"]
    assert [(one.id, one.name, one.supercategory) for one in file.categories] == [
        (one["id"], one["name"], one["supercategory"]) for one in content["categories"]
    ]
    assert file.problems == []
    assert describe_annotations(file.path) == ("Noise, train", "CC0")


def test_what_is_no_annotation_file_is_refused_by_name(tmp_path):
    wrong = []
    for content in (
        b"",
        b"{",
        b"<html></html>",
        b"[1, 2]",
        b"null",
        b"\x80abc",
        b"{}",
        b'{"images": [], "annotations": []}',
        b'{"images": {}, "annotations": [], "categories": []}',
        b'{"images": [], "annotations": 5, "categories": []}',
        b'{"images": [], "annotations": [], "categories": []} and more',
        b'{"images": [], "annotations": [NaN], "categories": [',
        b'{"images": ' + b"[" * 100_000 + b"]" * 100_000 + b', "annotations": [], "categories": []}',
        json.dumps(minimal()).encode("utf-16-le"),
    ):
        path = write(tmp_path, content)
        for open_file in (describe_annotations, open_annotations, open_rows):
            with pytest.raises(DataError) as caught:
                open_file(path)
            if str(path) not in str(caught.value) or caught.value.exit_code != 3:
                wrong.append((open_file.__name__, content[:40], str(caught.value)))
    assert not wrong, wrong


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, error, problem in (
        (tmp_path / "missing.json", MissingInputError, "not found"),
        (tmp_path, DataError, "is a folder, not a file"),
    ):
        with pytest.raises(error, match=problem):
            open_annotations(path)


def test_rows_that_are_no_records_are_skipped_with_reason_and_the_rest_is_kept(tmp_path):
    rows = [None, 5, {"id": 7}, "text", [], [[]], {"id": 8}, True]
    wrong = (0, 1, 3, 4, 5, 7)

    file = open_annotations(write(tmp_path, minimal(images=rows, annotations=rows, categories=rows)))

    assert [one.id for one in (*file.images, *file.annotations, *file.categories)] == [7, 8] * 3
    reasons = ("image record", "annotation record", "category record")
    assert [(one.reason, one.detail.partition(" cannot")[0]) for one in file.problems] == [
        (reason, f"row {number}") for reason in reasons for number in wrong
    ]


def test_a_number_too_large_for_a_float_costs_its_record_only(tmp_path):
    content = b'{"images": [], "categories": [], "annotations": [{"id": 4, "area": 1e999}, {"id": 5, "area": 2}]}'

    file = open_annotations(write(tmp_path, content))

    assert [one.id for one in file.annotations] == [5]
    assert [(one.reason, one.annotation_id) for one in file.problems] == [("annotation record", 4)]


def test_text_that_is_no_unicode_costs_its_record_only(tmp_path):
    content = b'{"images": [{"id": 1, "file_name": "\xff.jpg"}, {"id": 2}], "categories": [], "annotations": []}'

    file = open_annotations(write(tmp_path, content))

    assert [one.id for one in file.images] == [2]
    assert [(one.reason, one.image_id) for one in file.problems] == [("image record", 1)]


def test_nan_and_infinity_as_python_writes_them_become_null_outside_of_strings(tmp_path):
    row = {"id": 1, "area": float("nan"), "segmentation": [[float("inf"), -float("inf"), 3]]}
    image = {"id": 1, "file_name": 'NaN, Infinity "-Infinity".jpg', "width": float("-inf")}
    path = write(tmp_path, minimal(images=[image], annotations=[row]))

    file = open_annotations(path)

    assert file.annotations[0].area is None
    assert bytes(file.annotations[0].segmentation) == b"[[null, null, 3]]"
    assert file.images[0].file_name == image["file_name"]
    assert file.images[0].width is None
    assert json.loads(bytes(open_rows(path).images[0]))["file_name"] == image["file_name"]


def test_a_byte_order_mark_is_ignored(tmp_path):
    assert open_annotations(write(tmp_path, json.dumps(minimal()).encode("utf-8-sig"))).images == []


def test_utf_16_with_a_mark_is_decoded_and_broken_utf_16_named(tmp_path):
    text = json.dumps({"images": [{"id": 1, "file_name": "é.jpg"}], "annotations": [], "categories": []})
    for encoding, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        path = write(tmp_path, mark + text.encode(encoding))
        assert [image.file_name for image in open_annotations(path).images] == ["é.jpg"]
        assert len(open_rows(path).images) == 1
        with pytest.raises(DataError, match="is not a COCO annotation file"):
            open_annotations(write(tmp_path, mark + text.encode(encoding)[:-1]))


def test_a_file_need_not_say_what_it_is(tmp_path):
    wrong = []
    for info in (None, 5, {"description": None}, {"description": 7}, {"description": " "}, []):
        for licenses in (None, 5, [5], [{"name": None}], [{}], {}):
            found = describe_annotations(write(tmp_path, minimal(info=info, licenses=licenses)))
            if found != (None, None):
                wrong.append((info, licenses, found))
    assert not wrong, wrong


def test_a_share_is_the_same_for_the_same_names_in_any_order():
    names = [f"{number}.jpg" for number in range(100)]

    chosen = choose_share(names, 0.25)

    assert len(chosen) == 25
    assert choose_share(list(reversed(names)), 0.25) == chosen
    assert [len(choose_share(["a", "b", "c"], share)) for share in (0.001, 0.5, 0.999)] == [1, 2, 2]
    with pytest.raises(DataError, match="2 photos"):
        choose_share(["a"], 0.5)
