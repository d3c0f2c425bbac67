import numpy as np

from clothseg.evaluation.objects import FOUND, IOU, NUMBER, RECALL, SIZES, count_consistency, count_objects

SMALL, MEDIUM, LARGE = range(3)


def test_objects_are_counted_as_by_hand():
    truth, prediction = np.zeros((2, 200, 300), np.uint8)
    truth[10:20, 10:30] = 1  # 200 pixels: small
    prediction[10:20, 20:40] = 1  # 100 hits of 200, and 100 beside them
    truth[50:90, 50:90] = 1  # 1,600 pixels: medium
    prediction[50:90, 50:90] = 1  # found exactly
    truth[80:200, 150:270] = 2  # 14,400 pixels: large, not found at all
    objects = count_objects(prediction, truth, 4)
    assert objects.shape == (3, 4, 4)
    np.testing.assert_allclose(objects[SMALL, 1], [1, 0.5, 100 / 300, 0])
    np.testing.assert_allclose(objects[MEDIUM, 1], [1, 1, 1, 1])
    np.testing.assert_allclose(objects[LARGE, 2], [1, 0, 0, 0])
    assert objects.sum(axis=(0, 1))[NUMBER] == 3
    assert objects[:, 0].sum() == objects[:, 3].sum() == 0, "neither the background nor an absent class has objects"


def test_a_predicted_pixel_counts_with_the_nearest_object_only():
    truth, prediction = np.zeros((2, 50, 100), np.uint8)
    truth[20:30, 10:20] = truth[20:30, 80:90] = 1
    prediction[20:30, 5:25] = 1  # around the left one: 100 hits and 100 beside it
    objects = count_objects(prediction, truth, 2)[SMALL, 1]
    np.testing.assert_allclose(objects, [2, 1 + 0, 0.5 + 0, 1])


def test_regions_that_touch_at_a_corner_are_one_object():
    truth = np.zeros((20, 20), np.uint8)
    truth[2:6, 2:6] = truth[6:10, 6:10] = 1
    assert count_objects(truth, truth, 2)[:, 1, NUMBER].tolist() == [1, 0, 0]


def test_sizes_have_the_bounds_they_say():
    found = {}
    for area in (1, 1023, 1024, 9215, 9216):
        truth = np.zeros((1, 10_000), np.uint8)
        truth[0, :area] = 1
        found[area] = int(count_objects(truth, truth, 2)[:, 1, NUMBER].argmax())
    assert found == {1: SMALL, 1023: SMALL, 1024: MEDIUM, 9215: MEDIUM, 9216: LARGE}
    assert [(one.least, one.below) for one in SIZES] == [(1, 1024), (1024, 9216), (9216, None)]


def test_predictions_sum_up_to_the_pixels_of_the_class():
    """Recall times area and the unions give back the hits and predicted pixels that the confusion matrix counts."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        truth = np.kron(rng.integers(0, 3, (6, 6)), np.ones((9, 7))).astype(np.uint8)
        prediction = np.kron(rng.integers(0, 3, (9, 7)), np.ones((6, 6))).astype(np.uint8)
        counted = count_objects(prediction, truth, 3)
        slow = _slow_objects(prediction, truth)
        np.testing.assert_allclose(counted.sum(axis=0)[:, [NUMBER, RECALL]], slow, atol=1e-9)
        assert (counted[..., IOU] <= counted[..., RECALL] + 1e-9).all()
        assert (counted[..., FOUND] <= counted[..., NUMBER]).all()


def _slow_objects(prediction, truth):
    """Flood fill, one pixel at a time: (C, 2) objects and sums of recalls."""
    found, seen = np.zeros((3, 2)), np.zeros(truth.shape, bool)
    for start in zip(*np.nonzero(truth), strict=True):
        if seen[start]:
            continue
        class_id, waiting, region = truth[start], [start], []
        seen[start] = True
        while waiting:
            y, x = waiting.pop()
            region.append((y, x))
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                inside = 0 <= near[0] < truth.shape[0] and 0 <= near[1] < truth.shape[1]
                if inside and not seen[near] and truth[near] == class_id:
                    seen[near] = True
                    waiting.append(near)
        found[class_id] += 1, np.mean([prediction[one] == class_id for one in region])
    return found


def test_a_large_garment_is_torn_or_wrong_as_by_hand():
    wrong_results = {}
    for pixels, torn, wrong in [
        ([(1, 100)], 0, 0),
        ([(1, 87), (2, 13)], 1, 0),
        ([(1, 88), (2, 12)], 0, 0),  # more than 12% is needed
        ([(2, 87), (1, 13)], 1, 1),
        ([(2, 100)], 0, 1),
        ([(0, 60), (1, 40)], 0, 1),  # less than half was found
        ([(1, 34), (2, 33), (3, 33)], 1, 0),
        ([(0, 80), (1, 10), (2, 10)], 0, 1),
    ]:
        truth, prediction = np.zeros((2, 50, 100), np.uint8)
        truth[:10, :10] = 1  # 100 of 5,000 pixels: just large
        prediction[:10, :10] = np.repeat(*zip(*pixels, strict=True)).reshape(10, 10)
        prediction[20:, :] = 3  # the prediction elsewhere does not matter
        counts = count_consistency(prediction, truth, 4).tolist()
        wrong_results |= {str(pixels): counts} if counts != [1, torn, wrong] else {}
    assert not wrong_results


def test_consistency_counts_each_large_garment_of_a_photo_and_no_small_one():
    truth, prediction = np.zeros((2, 100, 100), np.uint8)
    truth[:20, :10] = 1  # 200 pixels: large
    truth[:20, 40:50] = 1  # another one of the class
    truth[50:69, :10] = 2  # 190 pixels: small
    prediction[:20, :10] = 1
    assert count_consistency(prediction, truth, 3).tolist() == [2, 0, 1]
    assert count_consistency(truth, truth, 3).tolist() == [2, 0, 0]
    assert count_consistency(truth, np.zeros_like(truth), 3).tolist() == [0, 0, 0]
