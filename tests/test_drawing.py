import numpy as np

from clothseg.drawing import classes_in, color_mask, legend, overlay, side_by_side, with_legend
from clothseg.labels import GROUPS


def scene():
    image = np.full((60, 80, 3), 200, np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:60] = 2
    mask[45:60, 20:60] = 10
    return image, mask


def test_an_overlay_changes_garments_only():
    image, mask = scene()
    result = overlay(image, mask, GROUPS, opacity=0.5)
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    inside = result[25, 40]
    np.testing.assert_allclose(inside, (200 + GROUPS.palette[2].astype(int)) / 2, atol=1)
    np.testing.assert_array_equal(result[10, 30], GROUPS.palette[2], "an outline has the full colour")


def test_padding_is_drawn_grey_and_not_blended():
    image, mask = scene()
    mask[:, :5] = 255
    assert (color_mask(mask, GROUPS)[:, :5] == 128).all()
    np.testing.assert_array_equal(overlay(image, mask, GROUPS)[:, :4], image[:, :4])


def test_classes_in_a_mask():
    _, mask = scene()
    mask[0, 0] = 255
    assert classes_in(mask) == [2, 10]


def test_a_legend_shows_the_colors_at_any_height():
    for height in (1, 64, 200, 1000):
        picture = legend(GROUPS, range(13), height=height)
        assert picture.shape[0] <= max(height, 14 * 16)
        weights = np.array([1, 256, 65536])
        assert np.isin(GROUPS.palette @ weights, picture.reshape(-1, 3) @ weights).all()


def test_a_legend_with_shares_is_wider():
    plain = legend(GROUPS, [2], height=300)
    assert legend(GROUPS, [2], height=300, shares={2: 0.123}).shape[1] > plain.shape[1]


def test_with_legend_keeps_the_picture():
    image, mask = scene()
    result = with_legend(image, GROUPS, classes_in(mask))
    np.testing.assert_array_equal(result[:60, :80], image)


def test_side_by_side_puts_pictures_on_white():
    joined = side_by_side(np.zeros((10, 5, 3), np.uint8), np.zeros((20, 7, 3), np.uint8), gap=3)
    assert joined.shape == (20, 15, 3)
    assert (joined[:, 5:8] == 255).all()
    assert (joined[10:, :5] == 255).all()
