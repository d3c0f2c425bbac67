import cv2
import numpy as np
import pytest

from clothseg.errors import InputError, SettingError
from clothseg.labels import CATEGORIES, GROUPS, named_classes
from clothseg.prediction.try_on import try_on

BOXES = {  # rows and columns of each garment, in a photo of 200 x 120 pixels
    "hat": (5, 20, 45, 75),
    "shirt": (40, 100, 40, 80),
    "pants": (100, 160, 42, 78),
    "shoe": (160, 175, 42, 78),
    "bag": (60, 90, 80, 100),
}


def picture(classes, *names, hole=False):
    mask = np.zeros((200, 120), np.uint8)
    for name in names:
        top, bottom, left, right = BOXES[name]
        mask[top:bottom, left:right] = classes.id_of(name)
    if hole:
        mask[60:70, 55:60] = 0
    photo = np.full((200, 120, 3), 90, np.uint8)
    photo[mask == classes.id_of("shirt")] = (200, 30, 40)
    return photo, mask


def test_the_mask_is_grown_and_filled_and_leaves_everything_else():
    for classes in (GROUPS, CATEGORIES):
        photo, mask = picture(classes, *BOXES, hole=True)
        for region, own in (("upper", ["shirt"]), ("lower", ["pants"]), ("full", ["shirt", "pants"])):
            painted, garment = try_on(photo, mask, classes, region)
            assert (painted.shape, painted.dtype, set(np.unique(painted))) == (mask.shape, np.uint8, {0, 255})
            inside = np.isin(mask, [classes.id_of(name) for name in own])
            assert (painted[inside] == 255).all()
            others = [classes.id_of(name) for name in BOXES if name not in own]
            assert not painted[np.isin(mask, others)].any(), "other garments stay"
            top = np.flatnonzero(inside.any(axis=1))[0]
            assert not painted[:top].any(), "nothing above, where the head is"
            if "shirt" in own:
                assert (painted[60:70, 55:60] == 255).all()
            grown = int((painted[top + 20] > 0).sum() - inside[top + 20].sum())
            assert 1 <= grown <= 8
            assert (garment.shape, garment.dtype) == ((1024, 768, 3), np.uint8)
            assert (garment[:10] == 255).all()
    _, garment = try_on(*picture(GROUPS, "shirt"), GROUPS, "upper")
    left, top, width, height = cv2.boundingRect((garment[..., 1] < 200).astype(np.uint8))
    assert (left + width / 2, top + height / 2) == pytest.approx((384, 512), abs=3), "centred"
    assert garment[512, 384].tolist() == pytest.approx([200, 30, 40], abs=2)


def test_what_covers_the_whole_body_counts_for_every_region():
    mask = np.zeros((200, 120), np.uint8)
    mask[40:150, 40:80] = GROUPS.id_of("dress")
    for region in ("upper", "lower", "full"):
        assert (try_on(np.zeros((200, 120, 3), np.uint8), mask, GROUPS, region).mask[mask > 0] == 255).all()
    mask[100:150, 40:80] = GROUPS.id_of("pants")
    painted = try_on(np.zeros((200, 120, 3), np.uint8), mask, GROUPS, "lower").mask
    assert not painted[mask == GROUPS.id_of("dress")].any(), "where there are trousers, a coat is not of the region"


def test_parts_of_the_body_stay_where_the_model_knows_them():
    classes = named_classes(["Background", "Hat", "Hair", "Upper-clothes", "Pants", "Face", "Left-arm"])
    mask = np.zeros((200, 120), np.uint8)
    mask[40:100, 40:80] = classes.id_of("shirt")
    mask[60:90, 80:90] = mask[70:75, 50:70] = classes.id_of("left arm")
    mask[30:42, 55:65] = classes.id_of("face")
    painted = try_on(np.zeros((200, 120, 3), np.uint8), mask, classes, "upper").mask
    assert not painted[np.isin(mask, [classes.id_of("left arm"), classes.id_of("face")])].any()
    assert (painted[60:90, 38:40] == 255).all(), "over the background it grows"


def test_specks_are_no_garment():
    photo, mask = picture(GROUPS, "shirt")
    mask[190:192, 100:102] = mask[150:160, 60:70] = GROUPS.id_of("shirt")
    painted, _ = try_on(photo, mask, GROUPS, "upper")
    assert not painted[185:].any()
    assert (painted[150:160, 60:70] == 255).all(), "a piece of 4% of the garment is one"


def test_regions_that_cannot_be_given():
    photo, mask = picture(GROUPS, "hat", "pants")
    with pytest.raises(InputError, match="no garment of the region upper"):
        try_on(photo, mask, GROUPS, "upper")
    with pytest.raises(SettingError, match="Allowed: upper, lower, full"):
        try_on(photo, mask, GROUPS, "sleeves")
