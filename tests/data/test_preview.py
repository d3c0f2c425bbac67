from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs, spread
from clothseg.data.preview import Preview, draw_sample
from clothseg.encoding import encode_png
from clothseg.errors import DataError, MissingInputError, SettingError
from clothseg.labels import GROUPS
from clothseg.pictures import read_picture


@given(count=st.integers(1, 20), total=st.integers(1, 500))
def test_chosen_samples_are_spread_over_the_set(count: int, total: int) -> None:
    chosen = spread(range(total), count)
    assert len(chosen) == len(set(chosen)) == min(count, total)
    assert chosen == sorted(chosen)
    assert 0 <= chosen[0] <= total / len(chosen)
    assert total - 1 - total / len(chosen) <= chosen[-1] < total
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_pictures_of_each_split_and_of_augmented_samples_are_saved(prepared_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "seen"
    folder = prepared_path / DATASET_FOLDER
    preview = Preview(prepared_path, output, count=2, img_size=64, seed=1)
    written = preview.save_pictures()
    assert sorted(output.iterdir()) == sorted(written)
    assert [path.name for path in written] == [
        "train_01_street_00.jpg",
        "train_02_street_06.jpg",
        "train_augmented.jpg",
        "val_01_street_07.jpg",
        "val_02_street_09.jpg",
    ]
    before = {path: path.read_bytes() for path in written}
    assert preview.save_pictures() == written
    assert {path: path.read_bytes() for path in written} == before
    photo = read_picture(folder / "train" / "street_00.jpg").pixels
    height, width = photo.shape[:2]
    shown = read_picture(written[0]).pixels
    assert shown.shape[0] >= height
    assert shown.shape[1] > 3 * width
    assert np.abs(shown[:height, :width].astype(int) - photo).mean() < 5


def test_a_sample_shows_photo_mask_overlay_and_names() -> None:
    mask = np.zeros((300, 200), dtype=np.uint8)
    mask[50:150, 50:150] = 2
    image = np.full((300, 200, 3), 200, dtype=np.uint8)
    picture = draw_sample(image, mask, GROUPS)
    assert np.array_equal(picture[:300, :200], image)
    assert np.array_equal(picture[100, 208 + 100], GROUPS.palette[2])
    assert np.array_equal(picture[10, 208 + 10], GROUPS.palette[0])
    blended = picture[100, 2 * 208 + 100].astype(int)
    assert np.abs(blended - (GROUPS.palette[2].astype(int) + 200) / 2).max() <= 1
    legend = picture[:, 3 * 208 :].reshape(-1, 3)
    assert (legend == GROUPS.palette[2]).all(axis=1).any()
    assert not (legend == GROUPS.palette[12]).all(axis=1).any()


def test_a_large_photo_is_shown_smaller() -> None:
    mask = np.zeros((2000, 1000), dtype=np.uint8)
    picture = draw_sample(np.zeros((2000, 1000, 3), dtype=np.uint8), mask, GROUPS)
    assert picture.shape[0] == 900


def test_the_augmented_samples_are_those_of_the_training(prepared_path: Path) -> None:
    from clothseg.data.datamodule import ClothSegmentationData

    folder = prepared_path / DATASET_FOLDER
    found = pairs(folder, Manifest.read(folder).splits["train"])
    grid = Preview(img_size=384, crop_size=256, seed=9).draw_augmented(found, [3, 5], GROUPS)
    data = ClothSegmentationData(prepared_path, img_size=384, crop_size=256, batch_size=2, num_workers=0, seed=9)
    for row, index in enumerate([3, 5]):
        for epoch in range(3):
            sample = data.train_dataset[(epoch, index)]["image"].permute(1, 2, 0).numpy()
            left = (epoch + 1) * 260
            assert np.array_equal(grid[row * 512 : row * 512 + 256, left : left + 256], sample)


def test_the_command_saves_pictures_and_card(
    prepared_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "seen"
    assert Preview(prepared_path, output, count=1, img_size=64).run() == 0
    printed = capsys.readouterr()
    paths = [Path(line) for line in printed.out.splitlines()]
    assert sorted(paths) == sorted(output.iterdir())
    assert output / "dataset_card.html" in paths
    assert "Saved 3 pictures" in printed.err


def _no_data_set(folder: Path) -> None:
    (folder / "dataset.json").unlink()


def _empty_split(folder: Path) -> None:
    for path in (folder / "val_masks").iterdir():
        path.unlink()


def _mask_of_another_size(folder: Path) -> None:
    (folder / "train_masks" / "street_03.png").write_bytes(encode_png(np.zeros((5, 5), dtype=np.uint8)))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_no_data_set, MissingInputError, r"data_prep\.py"),
        (_empty_split, DataError, '"val"'),
        (_mask_of_another_size, DataError, r"street_03\.png is 5 x 5 pixels"),
    ],
)
def test_a_damaged_data_set_is_refused_by_name(
    prepared_path: Path, tmp_path: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    damage(prepared_path / DATASET_FOLDER)
    with pytest.raises(error, match=message):
        Preview(prepared_path, tmp_path / "seen", count=7, img_size=64).save_pictures()


def test_a_count_below_one_is_refused(prepared_path: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--count is 0"):
        Preview(prepared_path, tmp_path / "seen", count=0).save_pictures()
    assert not (tmp_path / "seen").exists()


def test_pictures_of_photos_with_long_names_are_saved(prepared_path: Path, tmp_path: Path) -> None:
    folder = prepared_path / DATASET_FOLDER
    for path in (folder / "train" / "street_01.jpg", folder / "train_masks" / "street_01.png"):
        path.rename(path.with_stem("a" + "👗" * 61))
    assert all(
        path.is_file() for path in Preview(prepared_path, tmp_path / "seen", count=9, img_size=64).save_pictures()
    )
