import json
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clothseg.labels import GROUPS
from clothseg.prediction.label_studio import pack, write_tasks


def unpack(packed):
    """Read the packing bit by bit, as thi.ng/umbrella's rle-pack describes it and Label Studio's front end does."""
    bits = iter("".join(f"{byte:08b}" for byte in packed))

    def take(count):
        return int("".join(next(bits) for _ in range(count)), 2)

    num_values, value_bits = take(32), take(5) + 1
    length_bits = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < num_values:
        is_run = take(1)
        length = take(length_bits[take(2)]) + 1
        values += length * [take(value_bits)] if is_run else [take(value_bits) for _ in range(length)]
    assert len(values) == num_values
    assert len(list(bits)) < 8, "nothing but the rest of the last byte is left"
    return np.array(values, np.uint8)


@settings(max_examples=60)
@given(arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
@example(np.ones((300, 400), bool))
@example(np.zeros((128, 128), bool))
@example(np.ones((1, 16384), bool))
def test_a_mask_survives_label_studios_packing(mask):
    channels = unpack(pack(mask)).reshape(*mask.shape, 4)
    for channel in range(4):
        np.testing.assert_array_equal(channels[..., channel], 255 * mask)


def test_tasks_carry_photos_garments_and_where_they_belong(results, segmentations, tmp_path):
    tasks_path, interface_path = write_tasks(tmp_path, GROUPS, iter(results))
    tasks = json.loads(tasks_path.read_text())
    interface = ElementTree.parse(interface_path).getroot()
    brush, image = interface.find("BrushLabels"), interface.find("Image")
    assert brush.get("toName") == image.get("name")
    assert image.get("value") == "$image", "the key of a task's data"
    assert [label.get("value") for label in brush] == list(GROUPS.names[1:])
    assert brush[1].get("background") == "#0082c8"
    for task, segmentation in zip(tasks, segmentations, strict=True):
        folder, _, photo = task["data"]["image"].partition("?d=")
        assert folder == "/data/local-files/"
        assert unquote(photo) == segmentation.file
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "m.onnx abababababab"
        assert 0 <= prediction["score"] <= 1
        rebuilt = np.zeros_like(segmentation.mask)
        for stroke in prediction["result"]:
            assert (stroke["type"], stroke["from_name"], stroke["to_name"]) == (
                "brushlabels",
                brush.get("name"),
                "image",
            )
            assert (stroke["original_height"], stroke["original_width"]) == segmentation.size
            assert stroke["value"]["format"] == "rle"
            (name,) = stroke["value"]["brushlabels"]
            alpha = unpack(stroke["value"]["rle"]).reshape(*segmentation.size, 4)[..., 3]
            rebuilt[alpha > 0] = GROUPS.id_of(name)
        np.testing.assert_array_equal(rebuilt, segmentation.mask)
        assert len({stroke["id"] for stroke in prediction["result"]}) == len(prediction["result"])


def test_photos_may_be_addressed_in_another_way(results, tmp_path):
    tasks_path, _ = write_tasks(tmp_path, GROUPS, results[:1], address="s3://bucket/")
    assert json.loads(tasks_path.read_text())[0]["data"]["image"] == "s3://bucket/album/two%20words%20%26%20more.jpg"


def test_label_studios_own_reader_reads_the_strokes(results, segmentations, tmp_path):
    """Run it with: uv run --with label-studio-sdk pytest tests/prediction."""
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed")
    tasks_path, _ = write_tasks(tmp_path, GROUPS, results)
    for task, segmentation in zip(json.loads(tasks_path.read_text()), segmentations, strict=True):
        for stroke in task["predictions"][0]["result"]:
            alpha = brush.decode_rle(stroke["value"]["rle"]).reshape(*segmentation.size, 4)[..., 3]
            class_id = GROUPS.id_of(stroke["value"]["brushlabels"][0])
            np.testing.assert_array_equal(alpha > 0, segmentation.mask == class_id)
