import io
import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from clothseg.errors import MissingModelError, ModelError, PictureError, SettingError
from clothseg.labels import GROUPS
from clothseg.prediction.predictor import Predictor, in_order, load
from tests.conftest import HANG_SECONDS
from tests.prediction.conftest import ColorRuntime


def test_a_figure_is_segmented(predictor, figure):
    photo, mask = figure
    segmentation = predictor.predict(photo)
    assert [label.name for label in segmentation.labels] == ["upperbody", "lowerbody"]
    assert (segmentation.mask == mask).mean() > 0.97
    np.testing.assert_array_equal(segmentation.photo, photo)
    assert segmentation.file == ""
    assert segmentation.model == {"name": "colors", "version": "1"}


@settings(max_examples=60)
@given(st.integers(1, 200), st.integers(1, 200))
@example(1, 1)
@example(1, 300)
@example(300, 1)
@example(4000, 3)
@example(3, 4000)
@example(33_000, 2)
def test_any_photo_size_in_the_same_size_out(predictor, height, width):
    photo = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
    segmentation = predictor.predict(photo)
    assert segmentation.mask.shape == (height, width)
    assert segmentation.mask.dtype == np.uint8
    assert segmentation.mask.max() < GROUPS.num_classes
    assert segmentation.overlay().shape == photo.shape
    assert (segmentation.to_coco()["height"], segmentation.to_coco()["width"]) == (height, width)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_paths_bytes_images_and_arrays_are_photos(predictor, figure, photo_file):
    photo, _ = figure
    expected = predictor.predict(photo).mask
    path = photo_file("figure.png")
    for given_photo, file in (
        (path, str(path)),
        (str(path), str(path)),
        (path.read_bytes(), ""),
        (Image.fromarray(photo), ""),
        (Image.open(path), str(path)),
        (np.asfortranarray(photo), ""),
    ):
        segmentation = predictor.predict(given_photo)
        np.testing.assert_array_equal(segmentation.mask, expected)
        assert segmentation.file == file


def test_a_read_only_photo_of_the_networks_own_size(predictor):
    photo = np.full((64, 64, 3), GROUPS.palette[2], np.uint8)
    photo.flags.writeable = False
    assert (predictor.predict(photo).mask == 2).all()


def test_changes_made_while_reading_are_noted(predictor, figure):
    frames = [Image.fromarray(figure[0]), Image.new("RGB", (60, 90))]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    segmentation = predictor.predict(content)
    assert segmentation.notes == ("only the first of 2 frames is used",)
    assert (segmentation.mask == figure[1]).mean() > 0.97


def test_a_photo_of_which_the_model_is_unusually_unsure_gets_a_note(figure):
    runtime = ColorRuntime(64)
    runtime.description = replace(runtime.description, usual_score=0.6)
    predictor = Predictor(runtime, model={"name": "colors", "version": "1"})
    assert predictor.predict(figure[0]).notes == ()
    upperbody, lowerbody = GROUPS.palette[[2, 10]].astype(int)
    between = np.full((64, 64, 3), (upperbody + lowerbody) // 2, np.uint8)
    segmentation = predictor.predict(between)
    (note,) = segmentation.notes
    assert f"less sure of it (score {segmentation.labels[0].score:.2f}) than of 19 in 20 photos" in note
    assert segmentation.to_coco()["notes"] == [note]
    assert predictor.predict(np.zeros((64, 64, 3), np.uint8)).notes == (), "no garment, no doubt"


def test_arrays_of_another_shape_or_type_are_refused(predictor):
    for shape in ((5, 5), (5, 5, 4), (0, 5, 3), (2, 5, 5, 3)):
        with pytest.raises(PictureError, match="Photo array is uint8 of shape"):
            predictor.predict(np.zeros(shape, np.uint8))
    with pytest.raises(PictureError, match="float64"):
        predictor.predict(np.zeros((5, 5, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_a_bad_model(predictor, figure, monkeypatch, value):
    runtime = predictor._runtime
    whole = runtime.logits

    def broken(batch):
        logits = whole(batch)
        logits[0, 3, 5, 5] = value
        return logits

    monkeypatch.setattr(runtime, "logits", broken)
    with pytest.raises(ModelError, match=r"The model colors gives NaN or infinity on this photo.*use another model"):
        predictor.predict(figure[0])


def test_results_come_in_the_order_of_the_photos(predictor):
    photos = [np.full((8, 8 + number, 3), GROUPS.palette[number % 13], np.uint8) for number in range(40)]
    segmentations = list(predictor.predict_many(iter(photos)))
    assert [one.mask.shape[1] for one in segmentations] == [photo.shape[1] for photo in photos]
    assert [one.mask[0, 0] for one in segmentations] == [number % 13 for number in range(40)]
    assert list(predictor.predict_many([])) == []
    for several in (predictor.predict_many, predictor.outcomes):
        with pytest.raises(SettingError, match="Pass a list"):
            several("photo.jpg")
    with pytest.raises(SettingError, match=r"model is 5\. Pass the path"):
        load(5)


def test_an_unreadable_photo_among_many_is_reported_at_its_position(predictor, figure):
    photos = [figure[0], b"no photo", figure[0]]
    outcomes = list(predictor.outcomes(photos))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert [outcome.photo for outcome in outcomes] == photos
    assert isinstance(outcomes[1].error, PictureError)
    many = predictor.predict_many(photos)
    assert next(many).mask.shape == (90, 60)
    with pytest.raises(PictureError):
        next(many)


def test_memory_does_not_grow_with_the_number_of_photos(predictor):
    num_pixels = 400 * 400
    taken = 0

    def photos():
        nonlocal taken
        for _ in range(150):
            taken += 1
            yield np.zeros((400, 400, 3), np.uint8)

    tracemalloc.start()
    try:
        for done, _ in enumerate(predictor.predict_many(photos()), start=1):
            assert taken <= done + 4, "photos are taken as they are needed"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150 * num_pixels, "fewer than 50 of the 150 photos at once"


def test_closing_the_results_early_ends_the_threads(predictor, figure):
    many = predictor.predict_many(figure[0] for _ in range(100))
    next(many)
    many.close()
    assert not [thread for thread in threading.enumerate() if "clothseg-photo" in thread.name]


def test_the_starter_model_is_the_default_without_checkpoints(tmp_path, figure):
    predictor = load(checkpoints_path=tmp_path)
    assert "packaged starter model" in predictor.origin
    assert predictor.predict(figure[0]).classes.num_classes == 13


def test_a_missing_model_error_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr("clothseg.starter.MODEL_NAMES", dict.fromkeys(("fp32", "int8"), "taken-out.onnx"))
    with pytest.raises(MissingModelError, match=r"No model: .*Train one with: uv run train.py, or name a model file"):
        load(checkpoints_path=tmp_path)
    with pytest.raises(MissingModelError, match=r"Model not found: .*none\.ckpt"):
        load(tmp_path / "none.ckpt")


def test_a_slow_reader_makes_the_workers_wait():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), workers=2)
    for number in range(5):
        assert next(results) == number
        assert len(taken) <= number + 4
    results.close()
    assert len(taken) <= 8


def test_workers_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=HANG_SECONDS)  # broken unless three are there at once
    assert len(list(in_order(lambda _: meeting.wait(), range(6), workers=3))) == 6


@pytest.mark.parametrize("culprit", ["work", "items"])
def test_an_error_comes_at_its_position_and_ends_the_threads(culprit):
    def items():
        yield from (1, 2)
        if culprit == "items":
            raise KeyError("the caller's")
        yield 3

    def work(number):
        if number == 3:
            raise KeyError("the work's")
        return number

    results, done = in_order(work, items(), workers=1), []
    with pytest.raises(KeyError):
        done.extend(results)
    assert done in ([1, 2], [])  # items are taken ahead, so theirs may come early
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clothseg-photo")]


class Streams(ColorRuntime):
    """Computes as its base does and records how many calls run at a time; a call waits for one on each stream."""

    def __init__(self, streams):
        super().__init__(64)
        self.streams = streams
        self.most_at_a_time = 0
        self._now = 0
        self._all_streams = threading.Barrier(streams, timeout=HANG_SECONDS)
        self._lock = threading.Lock()

    def logits(self, batch):
        with self._lock:
            self._now += 1
            self.most_at_a_time = max(self.most_at_a_time, self._now)
        self._all_streams.wait()
        time.sleep(0.01)  # one call too many at a time would come in it
        found = super().logits(batch)
        with self._lock:
            self._now -= 1
        return found


@pytest.mark.parametrize("streams", [1, 3])
def test_the_network_computes_as_many_photos_at_a_time_as_the_runtime_has_streams(figure, streams):
    runtime = Streams(streams)
    found = list(Predictor(runtime, model={}).predict_many([figure[0]] * 4 * streams))
    assert runtime.most_at_a_time == streams
    assert all((one.mask == found[0].mask).all() for one in found)
