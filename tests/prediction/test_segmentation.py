import io
import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask

from clothseg.errors import InputError, MachineError, SettingError
from clothseg.labels import GROUPS, ClassList, ClothingClass
from clothseg.prediction.cutouts import CutoutStyle
from clothseg.prediction.segmentation import Segmentation
from clothseg.transforms import resize_mask
from tests.conftest import needs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

UPPERBODY, LOWERBODY = GROUPS.id_of("upperbody"), GROUPS.id_of("lowerbody")


@pytest.fixture
def segmentation(figure):
    photo, mask = figure
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(13, 30, 20)).astype(np.float32)
    logits += 5 * (mask[1::3, 1::3] == np.arange(13)[:, None, None])
    return Segmentation(mask, photo, GROUPS, logits, file="album/figure.one.jpg", model={"name": "m", "version": "1"})


def softmax_of(logits):
    exponentials = np.exp(logits.astype(np.float64))
    return exponentials / exponentials.sum(axis=0)


def test_labels_name_the_garments_largest_first(segmentation):
    assert [label.name for label in segmentation.labels] == ["upperbody", "lowerbody"]
    upperbody = segmentation.labels[0]
    assert upperbody.class_id == UPPERBODY
    assert upperbody.area == 35 * 30
    assert upperbody.share == pytest.approx(35 * 30 / (90 * 60))
    assert upperbody.bbox == (5, 10, 30, 35)
    mask = segmentation.mask.copy()
    mask[10] = 0
    assert [label.name for label in replace(segmentation, mask=mask).labels] == ["lowerbody", "upperbody"]


def test_the_score_is_the_mean_softmax_over_the_class(segmentation):
    softmax = softmax_of(segmentation.logits)
    for label in segmentation.labels:
        inside = segmentation.mask[1::3, 1::3] == label.class_id
        # At the network's resolution; linear resizing moves it a little at the border.
        assert label.score == pytest.approx(softmax[label.class_id][inside].mean(), abs=0.05)


def test_scores_are_exact_wherever_a_garment_ends(segmentation):
    softmax, small_size = softmax_of(segmentation.logits), segmentation.logits.shape[1:]
    for after in range(40, 60):
        mask = np.zeros((90, 60), np.uint8)
        mask[20:after, 60 - after : after] = UPPERBODY
        inside = resize_mask(mask, small_size) == UPPERBODY
        (label,) = replace(segmentation, mask=mask).labels
        assert label.score == pytest.approx(softmax[UPPERBODY][inside].mean(), abs=1e-5), after


def test_a_garment_too_small_for_the_network_has_the_score_at_its_position(segmentation):
    mask = np.zeros((90, 60), np.uint8)
    mask[20, 18] = UPPERBODY  # one pixel, between the centres of the network's
    speck = replace(segmentation, mask=mask)
    assert not (mask[1::3, 1::3] == UPPERBODY).any()
    assert speck.labels[0].score == pytest.approx(softmax_of(segmentation.logits)[UPPERBODY, 20 // 3, 18 // 3])


def test_soft_masks_are_probabilities(segmentation):
    soft = np.stack([segmentation.soft_mask(name) for name in GROUPS.names])
    assert soft.shape == (13, 90, 60)
    assert soft.dtype == np.float32
    assert soft.min() >= 0
    np.testing.assert_allclose(soft.sum(axis=0), 1, atol=1e-4)
    assert soft[UPPERBODY][segmentation.mask == UPPERBODY].mean() > 0.8


def test_soft_masks_of_huge_logits_stay_finite(segmentation):
    huge = Segmentation(segmentation.mask, segmentation.photo, GROUPS, segmentation.logits * np.float32(1e4))
    assert np.isfinite(huge.soft_mask("upperbody")).all()
    assert 0 <= huge.labels[0].score <= 1


def test_the_mask_cannot_be_changed_in_place(segmentation):
    with pytest.raises(ValueError, match="read-only"):
        segmentation.mask[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        segmentation.mask = None


def test_a_segmentation_is_one_line_and_a_picture_in_a_notebook(segmentation):
    garments = ", ".join(f"{label.name} {label.share:.1%}" for label in segmentation.labels)
    height, width = segmentation.size
    assert repr(segmentation) == f"<Segmentation {segmentation.file!r}, {width} x {height} pixels: {garments}>"
    empty = replace(segmentation, mask=np.zeros_like(segmentation.mask), file="a\nb.jpg")
    assert repr(empty).endswith(f"'a\\nb.jpg', {width} x {height} pixels: no garment>")
    with Image.open(io.BytesIO(segmentation._repr_png_())) as picture:
        np.testing.assert_array_equal(np.array(picture), segmentation.overlay(legend=True))
    large = replace(segmentation, mask=np.zeros((30, 2000), np.uint8), photo=np.zeros((30, 2000, 3), np.uint8))
    with Image.open(io.BytesIO(large._repr_png_())) as picture:
        assert 800 <= picture.width < 2000


def test_an_overlay_has_the_photos_size(segmentation):
    assert segmentation.overlay().shape == (90, 60, 3)
    np.testing.assert_array_equal(segmentation.overlay(opacity=0)[0], segmentation.photo[0])
    legend = segmentation.overlay(legend=True)
    assert legend.shape[0] == 90
    assert legend.shape[1] > 60


def test_a_cutout_keeps_the_frame_and_hides_nothing(segmentation):
    cutout = segmentation.cutout("upperbody")
    assert cutout.shape == (90, 60, 4)
    inside = segmentation.mask == UPPERBODY
    np.testing.assert_array_equal(cutout[inside][:, :3], segmentation.photo[inside])
    assert (cutout[inside][:, 3] == 255).all()
    assert not cutout[~inside].any(), "no colour is hidden where the garment is not"


def test_cut_outs_of_all_clothes_and_of_garments_by_their_names(segmentation, tmp_path):
    worn = segmentation.cutout(edges="hard")
    np.testing.assert_array_equal(segmentation.cutout("clothes", edges="hard"), worn)
    np.testing.assert_array_equal(worn[..., 3] > 0, segmentation.mask > 0)
    np.testing.assert_array_equal(segmentation.cutout("shirt"), segmentation.cutout("upperbody"))
    style = CutoutStyle(canvas="40x50", background="white", cutout_format="jpeg")
    for words, names in (
        ("clothes", ["clothes"]),
        ("tight, jeans", ["lowerbody"]),
        ("frame,trousers,clothes", ["clothes", "lowerbody"]),
        ("hat", []),
    ):
        files = segmentation.save(tmp_path, stem="a", cutouts=words, style=style)
        assert [path.name for path in files[2:]] == [f"a_cutout-{name}.jpg" for name in names]
        for path in files[2:]:
            with Image.open(path) as image:
                assert (image.format, image.size) == ("JPEG", (40, 50))
    for options, words in (
        ({"cutouts": "jens"}, "Nearest: jeans"),
        ({"cutouts": "tight,frame"}, "frame does not go with tight"),
        ({"style": style}, "no cut-outs are written"),
        ({"try_on": None}, "None contains no name"),
    ):
        with pytest.raises(SettingError, match=words):
            segmentation.save(tmp_path, **options)
    for call in (segmentation.cutout, segmentation.polygons, segmentation.soft_mask, segmentation.try_on):
        with pytest.raises(SettingError, match=r"no name of a class|Allowed: upper, lower, full"):
            call(3)
    with pytest.raises(InputError, match=r"No hat .*It shows: tops and jackets"):
        segmentation.cutout("hat", canvas="9x9")


def test_files_for_try_on_programs(segmentation, tmp_path):
    files = segmentation.save(tmp_path, stem="a", try_on="lower, full")
    assert [path.name for path in files[2:]] == [
        f"a_tryon-{region}-{name}" for region in ("lower", "full") for name in ("mask.png", "garment.jpg")
    ]
    np.testing.assert_array_equal(np.array(Image.open(files[2])), segmentation.try_on("lower").mask)
    hat = replace(segmentation, mask=np.full_like(segmentation.mask, 3))
    assert len(hat.save(tmp_path, stem="b", try_on="upper")) == 2, "a photo without such a garment has no such files"


def test_a_tight_cutout_is_the_garments_box(segmentation):
    assert segmentation.cutout("upperbody", tight=True).shape == (35, 30, 4)
    with pytest.raises(InputError, match=r"No waist .*It shows: tops and jackets, trousers and skirts"):
        segmentation.cutout("waist", tight=True)
    assert not segmentation.cutout("waist").any()
    with pytest.raises(SettingError, match="upperbody"):
        segmentation.cutout("uperbody")


def test_coco_results_are_the_contracts(segmentation):
    results = json.loads(json.dumps(segmentation.to_coco()))
    assert list(results) == ["version", "file", "width", "height", "model", "segments"]
    assert results["version"] == 1
    assert results["file"] == "album/figure.one.jpg"
    assert (results["width"], results["height"]) == (60, 90)
    assert results["model"] == {"name": "m", "version": "1"}
    assert [segment["class_id"] for segment in results["segments"]] == [UPPERBODY, LOWERBODY]
    rebuilt = np.zeros((90, 60), np.uint8)
    for segment in results["segments"]:
        assert list(segment) == ["class_id", "label", "rle", "area", "bbox", "score"]
        assert segment["label"] == GROUPS.names[segment["class_id"]]
        decoded = pycocotools_mask.decode(segment["rle"])
        assert segment["area"] == decoded.sum()
        rebuilt[decoded == 1] = segment["class_id"]
    np.testing.assert_array_equal(rebuilt, segmentation.mask)


def test_saved_files_are_read_back(segmentation, tmp_path):
    mask_path, overlay_path, results_path = segmentation.save(tmp_path / "new" / "folder", json=True)
    assert mask_path == tmp_path / "new" / "folder" / "figure.one_mask.png"
    with Image.open(mask_path) as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.array(mask), segmentation.mask)
        np.testing.assert_array_equal(np.array(mask.convert("RGB")), GROUPS.palette[segmentation.mask])
    with Image.open(overlay_path) as overlay:
        assert overlay.format == "JPEG"
        expected = segmentation.overlay(legend=True)
        assert overlay.size == (expected.shape[1], expected.shape[0])
        assert np.abs(np.array(overlay).astype(int) - expected).mean() < 10
    assert json.loads(results_path.read_text()) == segmentation.to_coco()
    assert {path.name for path in mask_path.parent.iterdir()} == {
        "figure.one_mask.png",
        "figure.one_overlay.jpg",
        "figure.one_results.json",
    }


def test_without_json_two_files_are_saved(segmentation, tmp_path):
    assert [path.name for path in segmentation.save(tmp_path, stem="a/b")] == ["b_mask.png", "b_overlay.jpg"]
    assert (tmp_path / "a" / "b_mask.png").is_file()


def test_saving_into_a_file_is_refused(segmentation, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(MachineError, match="taken"):
        segmentation.save(tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_photo_wider_than_jpeg_allows_still_gets_an_overlay(tmp_path):
    mask = np.zeros((2, 70_000), np.uint8)
    mask[:, :40_000] = UPPERBODY
    logits = np.zeros((13, 1, 64), np.float32)
    wide = Segmentation(mask, np.zeros((2, 70_000, 3), np.uint8), GROUPS, logits)
    mask_path, overlay_path = wide.save(tmp_path, full_overlay=True)
    assert mask_path.name == "photo_mask.png"
    with Image.open(mask_path) as image:
        assert image.size == (70_000, 2)
    with Image.open(overlay_path) as image:
        assert 60_000 < image.width < 65_536


def test_an_overlay_shows_a_photo_of_more_than_3840_pixels_at_a_half_or_a_third(tmp_path):
    for side, shown in ((3840, 3840), (3841, 1920), (7680, 3840), (7681, 2560)):
        mask = np.zeros((side, 60), np.uint8)
        photo = np.zeros((side, 60, 3), np.uint8)
        tall = Segmentation(mask, photo, GROUPS, np.zeros((13, 64, 1), np.float32))
        for full_overlay, height in ((False, shown), (True, side)):
            _, overlay_path = tall.save(tmp_path, full_overlay=full_overlay)
            with Image.open(overlay_path) as image:
                assert image.height == height, side


def test_cutouts_and_soft_masks_are_saved_for_each_garment_shown(segmentation, tmp_path):
    for kind, upperbody in (("frame", (90, 60)), ("tight", (35, 30))):
        files = segmentation.save(tmp_path / kind, stem="deep/a", cutouts=kind, soft_masks=True)
        assert [path.relative_to(tmp_path / kind).as_posix() for path in files] == [
            "deep/a_mask.png",
            "deep/a_overlay.jpg",
            "deep/a_cutout-upperbody.png",
            "deep/a_cutout-lowerbody.png",
            "deep/a_soft-upperbody.png",
            "deep/a_soft-lowerbody.png",
        ]
        with Image.open(files[2]) as image:
            assert image.mode == "RGBA"
            assert image.size == upperbody[::-1]
            np.testing.assert_array_equal(np.array(image), segmentation.cutout("upperbody", tight=kind == "tight"))
        with Image.open(files[4]) as image:
            assert image.mode == "L"
            soft = np.array(image) / 255
        assert np.abs(soft - segmentation.soft_mask("upperbody")).max() < 0.003
    plain = segmentation.save(tmp_path / "plain")
    assert len(plain) == 2


def test_no_two_classes_share_a_file(segmentation, tmp_path):
    names = ["background", *(f"class {number}" for number in range(1, 9)), "bag, wallet", "legs/feet", "A b", "a-b"]
    classes = ClassList(tuple(ClothingClass(name, (number, 0, 0)) for number, name in enumerate(names)))
    mask = np.tile(np.arange(13, dtype=np.uint8), (30, 2))
    logits = np.zeros((13, 30, 26), np.float32)
    other = Segmentation(mask, np.zeros((30, 26, 3), np.uint8), classes, logits, file="a.jpg")
    files = other.save(tmp_path, cutouts="tight")
    assert len({path.name.casefold() for path in files}) == 2 + 12
    assert [path.name for path in files[-4:]] == [
        "a_cutout-bag-wallet.png",
        "a_cutout-legs-feet.png",
        "a_cutout-A-b-11.png",
        "a_cutout-a-b-12.png",
    ]


def test_polygons_are_exact_on_demand(segmentation):
    (polygon,) = segmentation.polygons("upperbody", tolerance=0)
    assert sorted(polygon.tolist()) == [[5, 10], [5, 45], [35, 10], [35, 45]]
    assert segmentation.polygons("waist") == []


@pytest.mark.full
def test_detections_of_supervision(segmentation, segmentations):
    needs("supervision")
    detections = segmentation.to_supervision()
    assert detections.class_id.tolist() == [UPPERBODY, LOWERBODY]
    assert detections.data["class_name"].tolist() == ["upperbody", "lowerbody"]
    assert detections.xyxy.tolist() == [[5, 10, 35, 45], [15, 45, 45, 80]]
    assert detections.confidence.tolist() == pytest.approx([label.score for label in segmentation.labels])
    painted = sum(class_id * mask for class_id, mask in zip(detections.class_id, detections.mask, strict=True))
    assert np.array_equal(painted, segmentation.mask)
    assert detections.area.tolist() == [label.area for label in segmentation.labels]
    assert len(segmentations[2].to_supervision()) == 0
