"""A defective record is skipped with its id and reason, and costs nothing else."""

from collections import Counter

import msgspec
import pytest

from clothseg.data.annotations import AnnotationFile, AnnotationRecord, CategoryRecord, ImageRecord
from clothseg.data.links import PhotoNames
from clothseg.data.records import check_records, unknown_names
from clothseg.errors import DataError
from clothseg.labels import GROUPS, ClassList, ClothingClass

PHOTOS = {name: [f"{name}.jpg"] for name in ("a", "b", "street/c")} | {"double": ["double.jpg", "double.png"]}
OUTLINE = msgspec.Raw(b"[[1, 1, 9, 1, 9, 9]]")


def image(**values):
    return ImageRecord(**({"id": 1, "file_name": "a.jpg", "width": 20, "height": 10} | values))


def annotation(**values):
    defaults = {"id": 11, "image_id": 1, "category_id": 5, "area": 32, "segmentation": OUTLINE}
    return AnnotationRecord(**(defaults | values))


CATEGORIES = (CategoryRecord(5, "dress", "wholebody"), CategoryRecord(6, "crown", "jewellery"))


def gather(tmp_path, images, annotations, *, categories=CATEGORIES, classes=GROUPS, strict=True):
    file = AnnotationFile(tmp_path, list(images), list(annotations), list(categories), [])
    return check_records(file, classes, PhotoNames(PHOTOS, tmp_path), strict_categories=strict)


def test_records_without_a_defect_become_tasks_in_the_order_of_the_file(tmp_path):
    records = gather(
        tmp_path,
        [image(id="x", file_name="street/c.jpg"), image()],
        [annotation(), annotation(id=12, image_id="x", area=None), annotation(id=13, area=0), annotation(id=None)],
    )

    assert records.problems == []
    first, second = records.tasks
    assert (len(records.tasks), first.file_name, first.height, first.width) == (2, "street/c.jpg", 10, 20)
    assert [(one.annotation_id, one.class_id, one.area) for one in second.instances] == [
        (11, 12, 32),
        (13, 12, None),
        (None, 12, 32),
    ]
    assert first.instances[0].segmentation == OUTLINE


WRONG_IMAGES = [
    ({"id": None}, "image id"),
    ({"id": True}, "image id"),
    ({"id": [2]}, "image id"),
    ({"id": {}}, "image id"),
    ({"width": None}, "image size"),
    ({"height": None}, "image size"),
    ({"width": 0}, "image size"),
    ({"width": -20}, "image size"),
    ({"width": "20"}, "image size"),
    ({"width": 20.5}, "image size"),
    ({"width": 10**30}, "image size"),
    ({"width": 200_000, "height": 200_000}, "image size"),
    ({"file_name": None}, "file name"),
    ({"file_name": 7}, "file name"),
    ({"file_name": ["a.jpg"]}, "file name"),
    ({"file_name": ""}, "file name"),
    ({"file_name": "."}, "file name"),
    ({"file_name": "../a.jpg"}, "file name"),
    ({"file_name": "street/../../a.jpg"}, "file name"),
    ({"file_name": "/a.jpg"}, "file name"),
    ({"file_name": "C:/a.jpg"}, "file name"),
    ({"file_name": "..\\a.jpg"}, "file name"),
    ({"file_name": "\\\\server\\a.jpg"}, "file name"),
    ({"file_name": "a\0.jpg"}, "file name"),
    ({"file_name": ".hidden.jpg"}, "file name"),
    ({"file_name": "b.png"}, "missing photo"),
    ({"file_name": "none.jpg"}, "missing photo"),
    ({"file_name": "b"}, "missing photo"),
    ({"file_name": "c.jpg"}, "missing photo"),
    ({"file_name": "elsewhere/b.jpg"}, "missing photo"),
    ({"file_name": "double.jpg"}, "shared stem"),
    ({"file_name": "a.png"}, "shared stem"),
    ({"file_name": "./a.jpg"}, "shared stem"),
]


def test_a_wrong_image_is_skipped_with_its_annotations(tmp_path):
    wrong = []
    for values, reason in WRONG_IMAGES:
        record = image(**({"id": 2, "file_name": "b.jpg"} | values))

        records = gather(tmp_path, [image(), record], [annotation(), annotation(id=12, image_id=2)])

        # Nothing says which of two photos of one stem the mask is of.
        costs_both = reason == "shared stem" and values["file_name"] != "double.jpg"
        by_reason = Counter(problem.reason for problem in records.problems)
        by_reason.pop("missing image", None)  # the annotation of an image whose id is none
        named = [problem for problem in records.problems if problem.reason == reason][-1:]
        if (
            by_reason != {reason: 1 + costs_both}
            or [len(task.instances) for task in records.tasks] != [1] * (not costs_both)
            or [(problem.image_id, problem.annotation_id) for problem in named] != [(record.id, None)]
        ):
            wrong.append((values, records.problems))
    assert not wrong, wrong


def test_an_image_id_that_occurs_twice_costs_every_image_that_has_it(tmp_path):
    records = gather(
        tmp_path,
        [image(), image(file_name="b.jpg"), image(id=2, file_name="street/c.jpg")],
        [annotation(), annotation(id=12, image_id=2)],
    )

    assert [(one.reason, one.image_id, one.file_name) for one in records.problems] == [
        ("duplicate image id", 1, "a.jpg"),
        ("duplicate image id", 1, "b.jpg"),
    ]
    assert [task.file_name for task in records.tasks] == ["street/c.jpg"]


WRONG_ANNOTATIONS = [
    ({"image_id": 99}, "missing image"),
    ({"image_id": None}, "missing image"),
    ({"image_id": [1]}, "missing image"),
    ({"image_id": True}, "missing image"),
    ({"id": [5]}, "annotation id"),
    ({"id": False}, "annotation id"),
    ({"id": 11}, "duplicate annotation id"),
    ({"category_id": 99}, "unknown category"),
    ({"category_id": None}, "unknown category"),
    ({"category_id": {"a": 1}}, "unknown category"),
    ({"category_id": 6}, "category without class"),
    ({"area": "32"}, "area"),
    ({"area": -1}, "area"),
    ({"area": True}, "area"),
    ({"area": [32]}, "area"),
    ({"area": 10**40}, "area"),
]


def test_a_wrong_annotation_is_skipped_alone(tmp_path):
    wrong = []
    for values, reason in WRONG_ANNOTATIONS:
        record = annotation(**({"id": 12} | values))

        records = gather(tmp_path, [image()], [annotation(), record, annotation(id=13)])

        (task,) = records.tasks
        if (
            [(one.reason, one.annotation_id) for one in records.problems] != [(reason, record.id)]
            or [one.annotation_id for one in task.instances] != [11, 13]
            or task.num_skipped != (reason != "missing image")
        ):
            wrong.append((values, records.problems))
    assert not wrong, wrong


@pytest.mark.parametrize(
    "wrong",
    [
        CategoryRecord(None, "dress"),
        CategoryRecord([7], "dress"),
        CategoryRecord(7, None),
        CategoryRecord(7, ["dress"]),
        CategoryRecord(7, "dress", 5),
        CategoryRecord(5, "skirt", "lowerbody"),
    ],
)
def test_a_wrong_category_is_skipped(tmp_path, wrong):
    records = gather(
        tmp_path,
        [image()],
        [annotation(), annotation(id=12, category_id=8)],
        categories=[
            *CATEGORIES,
            wrong,
            CategoryRecord(8, "shirt, blouse", None),
            CategoryRecord(9, "dress", "wholebody"),
        ],
    )

    reasons = [one.reason for one in records.problems]
    if wrong.id == 5:  # two names for one id: nothing says which is right
        assert reasons == ["category record", "unknown category", "category without class"]
    else:
        assert reasons == ["category record", "category without class"]  # category 8 has no super-category
        assert [one.annotation_id for one in records.tasks[0].instances] == [11]


def test_custom_classes_leave_categories_out_on_purpose(tmp_path):
    classes = ClassList((ClothingClass("background", (0, 0, 0)), ClothingClass("crowns", (9, 9, 9), (), ("crown",))))

    records = gather(
        tmp_path, [image()], [annotation(), annotation(id=12, category_id=6)], classes=classes, strict=False
    )

    assert (records.problems, records.left_out) == ([], {"dress": 1})
    assert [(one.annotation_id, one.class_id) for one in records.tasks[0].instances] == [(12, 1)]


def test_no_category_in_any_class_is_an_error_that_names_both_sides(tmp_path):
    classes = ClassList((ClothingClass("background", (0, 0, 0)), ClothingClass("hats", (9, 9, 9), (), ("hatt",))))

    with pytest.raises(DataError, match=r"'crown', 'dress'.*'hatt'.*--classes"):
        gather(tmp_path, [image()], [annotation()], classes=classes, strict=False)


def test_shifted_ids_are_sorted_by_name(tmp_path):
    shifted = [CategoryRecord(6, "dress", "wholebody"), CategoryRecord(5, "tie", "neck")]

    records = gather(tmp_path, [image()], [annotation(), annotation(id=12, category_id=6)], categories=shifted)

    assert [GROUPS.names[one.class_id] for one in records.tasks[0].instances] == ["neck", "wholebody"]


def linked(tmp_path, ids, links, field):
    """Gather annotations with these links to images or categories with these ids."""
    records = [annotation(id=number, **{field: link}) for number, link in enumerate(links)]
    if field == "image_id":
        return gather(tmp_path, [image(id=one) for one in ids], records)
    return gather(tmp_path, [image()], records, categories=[CategoryRecord(one, "dress", "wholebody") for one in ids])


def test_links_that_are_all_off_by_one_number_are_refused(tmp_path):
    """They would link most annotations to another photo or category than was meant, and name only the last."""
    for field in ("image_id", "category_id"):
        for ids, links, advice in (
            ((1, 2, 3), (0, 1, 2, 2), f"{field} 0 to 2, but the ids are 1 to 3.*Add 1 to .*those with {field} 0 are"),
            ((0, 1, 2), (1, 2, 3), f"Subtract 1 from each {field}; .* {field} 3 are wrong, remove them"),
            ((1, 2, 3), ("0", "001", "2"), "Add 1 to"),
            ((0, 1, 2), (-1, 0, 1, "none"), "Add 1 to"),
            (("7", "8", "9"), (8.0, 9.0, 10.0), "Subtract 1 from"),
            (range(10, 30), range(13, 33), f"Subtract 3 from .* {field} 30, 31, 32 are"),
            (range(90), range(7, 97), f"Subtract 7 from .* {field} 90, 91, 92, 93, 94, … are"),
        ):
            with pytest.raises(DataError, match=advice):
                linked(tmp_path, ids, links, field)


def test_a_link_that_is_wrong_alone_costs_one_annotation(tmp_path):
    for ids, links in (
        ((1, 2, 3), (1, 2, 4)),
        ((1, 2, 4), (1, 2, 3, 4)),
        ((1, 2, 3), (0, 1, 2, 3)),
        ((1, 2, 3), (2, 999)),
        (("x", "y"), ("x", 1)),
        (range(100), (50, 130)),
        ((7, "07"), (7, "007")),  # fits two records
    ):
        for field, reason in (("image_id", "missing image"), ("category_id", "unknown category")):
            problems = linked(tmp_path, ids, links, field).problems
            assert [one.reason for one in problems if one.annotation_id is not None] == [reason], (links, problems)


def test_names_that_the_file_does_not_have_are_reported_with_the_nearest(tmp_path):
    classes = ClassList(
        (ClothingClass("background", (0, 0, 0)), ClothingClass("x", (9, 9, 9), ("whole body",), ("dres", "crown")))
    )
    file = AnnotationFile(tmp_path, [], [], list(CATEGORIES), [])

    assert unknown_names(file, classes) == [
        "category 'dres' (nearest: dress)",
        "super-category 'whole body' (nearest: wholebody, jewellery)",
    ]
