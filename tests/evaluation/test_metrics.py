import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

from clothseg.evaluation.counts import COUNTS, PhotoCounts, SplitCounts
from clothseg.evaluation.metrics import GARMENT_GROUPS, summarise
from clothseg.scores import boundary_counts
from tests.evaluation.conftest import CLASSES, shifted, truth_of

NAMES = CLASSES.names


def counts_of(pairs):
    return SplitCounts.of(NAMES, (PhotoCounts.of(f"{n}.jpg", *pair, len(NAMES)) for n, pair in enumerate(pairs)))


def pairs_of(count, by=3):
    return [(shifted(truth_of(seed), by + seed % 4), truth_of(seed)) for seed in range(count)]


def test_iou_and_f1_equal_torchmetrics_over_all_photos():
    pairs = pairs_of(12)
    summary = summarise(counts_of(pairs))
    prediction, truth = (torch.cat([torch.from_numpy(pair[one].ravel()).long() for pair in pairs]) for one in (0, 1))
    for name, metric in (("iou", MulticlassJaccardIndex), ("f1", MulticlassF1Score)):
        theirs = metric(num_classes=4, average=None)(prediction, truth).numpy()
        ours = [one.scores[name].value for one in summary.classes]
        np.testing.assert_allclose(ours[:3], theirs[:3], rtol=1e-6)
        assert np.isnan(ours[3])
        assert summary.means["with_background"][name].value == pytest.approx(theirs[:3].mean())
        assert summary.means["without_background"][name].value == pytest.approx(theirs[1:3].mean())


def test_a_hand_computed_case():
    truth = np.zeros((10, 10), np.uint8)
    truth[:5] = 1
    prediction = np.zeros((10, 10), np.uint8)
    prediction[:4] = 1
    prediction[9, :5] = 2
    summary = summarise(counts_of([(prediction, truth)]))
    background, dress, shoe, _ = summary.classes
    assert (background.pixels, background.predicted_pixels) == (50, 55)
    assert background.scores["iou"].value == pytest.approx(45 / 60)
    assert dress.scores["iou"].value == pytest.approx(40 / 50)
    assert dress.scores["recall"].value == pytest.approx(0.8)
    assert dress.scores["precision"].value == 1
    assert dress.scores["f1"].value == pytest.approx(80 / 90)
    assert shoe.scores["iou"].is_absent
    assert shoe.photos == 0
    assert shoe.predicted_pixels == 5
    assert summary.accuracy.value == pytest.approx(0.85)
    assert summary.means["with_background"]["iou"].value == pytest.approx((0.75 + 0.8) / 2)
    assert summary.means["without_background"]["iou"].value == pytest.approx(0.8)
    assert summary.photo_iou.value == pytest.approx(0.8 / 2), "the shoe that is not there counts with 0"


def test_boundary_iou_is_that_of_all_photos_together():
    pairs = pairs_of(6)
    hits, union = sum(boundary_counts(*pair, 4) for pair in pairs)
    ours = [one.scores["boundary_iou"].value for one in summarise(counts_of(pairs)).classes]
    np.testing.assert_allclose(ours[:3], hits[:3] / union[:3])
    assert np.isnan(ours[3])


def test_intervals_contain_the_score_and_narrow_with_more_photos():
    few, many = (summarise(counts_of(pairs_of(count))).means["with_background"]["iou"] for count in (8, 80))
    for one in (few, many):
        assert one.low < one.value < one.high
    assert many.high - many.low < few.high - few.low


def test_a_class_in_too_few_photos_has_a_score_and_no_interval():
    for count in (4, 5):
        pairs = pairs_of(10)
        for _, truth in pairs[:count]:
            truth[55:58, 40:44] = 3
        classes = summarise(counts_of(pairs)).classes
        assert classes[3].photos == count
        assert classes[3].scores["recall"].value == 0
        assert classes[3].scores["recall"].has_interval == (count == 5)
        assert classes[1].scores["recall"].has_interval


def test_object_sizes_add_up_to_all_objects():
    counts = counts_of(pairs_of(9))
    summary = summarise(counts)
    assert [one.objects for one in summary.sizes] == [9 + 2 * 6, 0, 0]
    assert summary.sizes[0].class_objects == (0, 9, 12, 0)
    assert summary.sizes[0].photos == 9
    assert summary.sizes[1].iou.is_absent
    recalls = np.average([one for one in summary.sizes[0].class_iou if one == one], weights=[9, 12])
    assert summary.sizes[0].iou.value == pytest.approx(recalls)


def test_groups_of_garments_contain_every_photo_once():
    for number in range(60):
        assert sum(low <= number and (high is None or number <= high) for low, high, _ in GARMENT_GROUPS) == 1
    counts = counts_of(pairs_of(9))
    assert counts.num_garments.tolist() == [1, 2, 2] * 3
    assert [one.photos for one in summarise(counts).groups] == [9, 0, 0, 0, 0]


def test_a_photo_without_garments_predicted_so_is_perfect():
    empty = np.zeros((5, 5), np.uint8)
    assert counts_of([(empty, empty)]).photo_iou.tolist() == [1]


def test_the_counts_of_each_photo_add_up_to_the_matrix():
    pairs = pairs_of(4)
    counts = counts_of(pairs)
    np.testing.assert_array_equal(counts.counts[:, COUNTS.index("truth")].sum(axis=0), counts.matrix.sum(axis=1))
    np.testing.assert_array_equal(counts.counts[:, COUNTS.index("predicted")].sum(axis=0), counts.matrix.sum(axis=0))
    np.testing.assert_array_equal(counts.counts[:, COUNTS.index("hits")].sum(axis=0), counts.matrix.diagonal())


def test_a_rare_class_does_not_raise_the_means_of_resamples_without_it():
    """Every resample's mean is over the same classes: a perfect model with one class never found scores 2/3 in all."""
    pairs = [(truth_of(1).copy(), truth_of(1)) for _ in range(12)]
    pairs[3][1][55:58, 40:44] = 3
    pairs[3][0][55:58, 40:44] = 0
    mean = summarise(counts_of(pairs)).means["without_background"]["recall"]
    assert (mean.value, mean.low, mean.high) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_masks_of_other_sizes_are_not_one_truth():
    wide, tall = (PhotoCounts.of("a.jpg", *[np.zeros(shape, np.uint8)] * 2, len(NAMES)) for shape in ((2, 8), (8, 2)))
    assert wide.truth_checksum != tall.truth_checksum
