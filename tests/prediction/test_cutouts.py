import doctest
import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import clothseg.prediction.cutouts
from clothseg.encoding import HEAD_LENGTH, is_marked, marked
from clothseg.errors import ClothsegError, InputError
from clothseg.prediction.cutouts import CutoutStyle, cut_out, without_specks

RED, BLUE = (200, 30, 40), (20, 60, 220)


def disk(size, radius, shift=(0.0, 0.0)):
    """How much of each pixel a disk in the middle covers, drawn 8 times as large and averaged."""
    axis = (np.arange(8 * size) + 0.5) / 8 - size / 2
    inside = (axis[:, None] - shift[0]) ** 2 + (axis[None] - shift[1]) ** 2 < radius**2
    return inside.reshape(size, 8, size, 8).mean(axis=(1, 3))


def photo_of(coverage, noise=6):
    mixed = coverage[..., None] * np.array(RED) + (1 - coverage[..., None]) * np.array(BLUE)
    return np.clip(mixed + np.random.default_rng(0).normal(0, noise, mixed.shape), 0, 255).astype(np.uint8)


def test_examples_in_docstrings():
    assert doctest.testmod(clothseg.prediction.cutouts).failed == 0


def test_soft_edges_estimate_the_coverage_and_remove_the_backgrounds_colour():
    for size, radius, pixel, shift in ((96, 30.4, 1.0, (0.6, -0.4)), (480, 160.3, 6.0, (5.0, -3.0))):
        truth = disk(size, radius)
        photo, mask = photo_of(truth), disk(size, radius, shift) >= 0.5  # the mask is off by up to a network pixel
        soft = cut_out(photo, mask, pixel=pixel)
        error = np.abs(soft[..., 3] / 255 - truth).mean()
        assert error < 0.5 * np.abs(mask - truth).mean()
        seen = soft[..., 3] > 64
        assert np.abs(soft[seen][:, :3] - np.array(RED)).mean() < 12
        band = cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & (truth < 0.9) & mask
        assert np.abs(photo[band] - np.array(RED)).mean() > 40, "hard edges would show the background there"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.sampled_from((1.0, 3.7)), st.booleans())
def test_any_size_and_mask(height, width, seed, pixel, tight):
    random = np.random.default_rng(seed)
    photo = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    inside = cv2.resize(random.random((1 + height // 9, 1 + width // 9)).astype(np.float32), (width, height)) > 0.6
    soft, hard = (cut_out(photo, inside, CutoutStyle(edges=edges), pixel=pixel) for edges in ("soft", "hard"))
    np.testing.assert_array_equal(hard[..., 3], 255 * inside)
    np.testing.assert_array_equal(hard[inside][:, :3], photo[inside])
    assert soft.shape == hard.shape == (height, width, 4)
    assert not soft[soft[..., 3] == 0].any(), "no colour is hidden where the garment is not"
    far = int(2 * max(2, 3 * pixel)) + 3  # the band is fitted at a smaller size, and so a little wider
    around = np.ones((2 * far + 1, 2 * far + 1), np.uint8)
    assert not soft[cv2.dilate(inside.view(np.uint8), around) == 0].any()
    deep = cv2.erode(inside.view(np.uint8), around) > 0
    np.testing.assert_array_equal(soft[deep], hard[deep])
    cropped = cut_out(photo, inside, pixel=pixel, tight=True)
    pieces = cv2.dilate(without_specks(inside).view(np.uint8), around)
    left, top, across, down = cv2.boundingRect(pieces)
    soft = soft[top : top + down, left : left + across]
    if soft[..., 3].any():
        rows, columns = np.nonzero(soft[..., 3])
        box = soft[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        np.testing.assert_array_equal(cropped, box)
    opaque = cut_out(photo, inside, CutoutStyle(background="#102030"), pixel=pixel, tight=tight)
    assert (opaque[..., 3] == 255).all()
    blurred = cut_out(photo, inside, CutoutStyle(background="blur", canvas="31x17"), pixel=pixel)
    assert blurred.shape == (17, 31, 4)
    assert (blurred[..., 3] == 255).all()


@pytest.mark.parametrize("edges", ["soft", "hard"])
def test_specks_are_in_the_photos_frame_but_do_not_move_a_cropped_garment(edges):
    clean = disk(80, 20) >= 0.5
    photo, with_speck = photo_of(disk(80, 20)), clean.copy()
    with_speck[75:78, 2:5] = True  # 0.7% of the disk
    piece = clean.copy()
    piece[72:77, 2:7] = True  # 2%
    for style in (CutoutStyle(edges=edges), CutoutStyle(edges=edges, canvas="60x50")):
        whole = cut_out(photo, clean, style, tight=True)
        np.testing.assert_array_equal(cut_out(photo, with_speck, style, tight=True), whole)
        assert cut_out(photo, piece, style, tight=True)[..., 3].astype(bool).sum() != whole[..., 3].astype(bool).sum()
    assert cut_out(photo, with_speck, CutoutStyle(edges="hard"))[76, 3, 3] == 255
    dust = np.zeros((80, 80), bool)
    dust[::4, ::4] = True  # 400 pixels, none of which is a hundredth of all
    assert cut_out(photo, dust, CutoutStyle(edges="hard"), tight=True).shape == (77, 77, 4)


def test_backgrounds(tmp_path):
    coverage = disk(80, 20)
    photo, mask = photo_of(coverage), coverage >= 0.5
    picture = np.zeros((40, 20, 3), np.uint8)
    picture[:, :, 1] = 250
    Image.fromarray(picture).save(tmp_path / "green.png")
    colors = {"white": (255, 255, 255), "#010203": (1, 2, 3), str(tmp_path / "green.png"): (0, 250, 0), "blur": BLUE}
    for background, color in colors.items():
        result = cut_out(photo, mask, CutoutStyle(background=background))
        tolerance = 4 if background == "blur" else 0
        assert np.abs(result[3, 3, :3].astype(int) - color).max() <= tolerance, background
        np.testing.assert_allclose(result[40, 40, :3].astype(int), photo[40, 40], atol=1)
    blurred = cut_out(photo, mask, CutoutStyle(background="blur"))
    beside = (coverage == 0) & (disk(80, 24) > 0)
    assert np.abs(blurred[beside][:, :3] - np.array(BLUE)).max() < 25, "the garment's colour does not spread"


def test_a_canvas_centres_the_garment_within_its_margin():
    photo = np.full((60, 90, 3), 200, np.uint8)
    photo[20:50, 10:20] = RED
    mask = np.zeros((60, 90), bool)
    mask[20:50, 10:20] = True
    for canvas, margin, box in (("200x200", "5%", (70, 10, 60, 180)), ("100×300", "0", (0, 0, 100, 300))):
        style = CutoutStyle(edges="hard", canvas=canvas, margin=margin)
        result = cut_out(photo, mask, style)
        assert result.shape == (*style.canvas_size[::-1], 4)
        assert cv2.boundingRect(result[..., 3]) == box
        assert (result[result[..., 3] > 0][:, :3] == RED).all(), "no dark edge where it was scaled"


def test_each_format_can_be_read_and_is_marked():
    coverage = disk(64, 20)
    for kind, mode in (("png", "RGBA"), ("webp", "RGBA"), ("jpeg", "RGB")):
        for background in ("transparent", "white"):
            style = CutoutStyle(cutout_format=kind, background=background)
            cutout = cut_out(photo_of(coverage, noise=0), coverage >= 0.5, style)
            content = marked(style.encode(cutout))
            assert is_marked(content[:HEAD_LENGTH])
            image = Image.open(io.BytesIO(content))
            assert (image.format, image.mode) == (kind.upper(), mode if background == "transparent" else "RGB")
            on_white = Image.new("RGBA", image.size, "white")
            on_white.alpha_composite(image.convert("RGBA"))
            expected = cut_out(photo_of(coverage, noise=0), coverage >= 0.5, CutoutStyle(background="white"))
            assert np.abs(np.array(on_white).astype(int) - expected).mean() < 2.5
    with pytest.raises(InputError, match="Take PNG"):
        CutoutStyle(cutout_format="webp").encode(np.zeros((1, 20_000, 4), np.uint8))


def test_values_that_are_not_allowed(tmp_path):
    (tmp_path / "text.txt").write_text("no picture")
    wrong = []
    for values, message in (
        ({"edges": "round"}, "Allowed: soft, hard"),
        ({"cutout_format": "gif"}, "Allowed: png, webp, jpeg"),
        ({"canvas": "2000"}, "as in 2000x2000"),
        ({"canvas": "0x20"}, "0 pixels"),
        ({"canvas": "99999x99999"}, "Allowed: 1 to 89,000,000"),
        ({"margin": "50%"}, "below 50%"),
        ({"margin": "wide"}, "below 50%"),
        ({"margin": "10%"}, "Set canvas"),
        ({"canvas": "20000x20", "cutout_format": "webp"}, "Allowed for webp: 16,383"),
        ({"canvas": (20, 20)}, "Pass a text"),
        ({"background": "#ffffff80"}, "neither a colour"),
        ({"background": "navi"}, "Nearest: navy"),
        ({"background": str(tmp_path / "text.txt")}, "Not a photo"),
    ):
        try:
            CutoutStyle(**values)
        except ClothsegError as error:
            if message not in str(error):
                wrong.append((values, str(error)))
        else:
            wrong.append(values)
    assert not wrong
