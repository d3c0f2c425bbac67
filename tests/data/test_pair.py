"""A photo and its mask are decoded exactly, or refused by name."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.data.pair import read_pair
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import DataError, MissingInputError
from clothseg.labels import IGNORED_ID
from clothseg.pictures import read_mask


@pytest.fixture
def photo() -> np.ndarray:
    """(60, 90, 3) uint8 RGB with a gradient in each direction."""
    y, x = np.mgrid[:60, :90]
    return np.dstack((x * 2, y * 4, 255 - x)).astype(np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    """(60, 90) uint8 class ids."""
    ids = np.zeros((60, 90), dtype=np.uint8)
    ids[10:40, 20:50] = 2
    ids[30:50, 40:80] = 12
    return ids


def read_photo(path: Path) -> np.ndarray:
    """Read a photo of 90 x 60 pixels with a mask beside it."""
    (path.parent / "mask of it.png").write_bytes(encode_png(np.zeros((60, 90), dtype=np.uint8)))
    return read_pair(path, path.parent / "mask of it.png", num_classes=13)[0]


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    stream = io.BytesIO()
    picture.save(stream, **options)
    path.write_bytes(stream.getvalue())
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_photos_need_not_be_jpegs(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    path = save(Image.fromarray(photo), tmp_path / f"a{suffix}", format=suffix[1:].upper(), lossless=True)
    assert np.array_equal(read_photo(path), photo)


def test_masks_keep_their_ids_in_any_png(tmp_path: Path, mask: np.ndarray) -> None:
    palette = np.arange(39, dtype=np.uint8).reshape(13, 3)
    (tmp_path / "grey.png").write_bytes(encode_png(mask))
    (tmp_path / "palette.png").write_bytes(encode_png(mask, palette=palette))
    save(Image.fromarray(mask), tmp_path / "pillow.png", format="PNG")
    save(Image.fromarray(mask > 0), tmp_path / "bits.png", format="PNG")
    for name in ("grey", "palette", "pillow"):
        assert np.array_equal(read_mask(tmp_path / f"{name}.png"), mask)
    assert np.array_equal(read_mask(tmp_path / "bits.png"), mask > 0)


def test_files_cut_off_anywhere_are_refused_by_name(tmp_path: Path, photo: np.ndarray, mask: np.ndarray) -> None:
    whole = {"photo": encode_jpeg(photo), "mask": encode_png(mask)}
    for part, content in whole.items():
        for share in (0.2, 0.5, 0.9, 0.995):
            for name, written in (whole | {part: content[: int(len(content) * share)]}).items():
                (tmp_path / f"{name}.bin").write_bytes(written)
            with pytest.raises(DataError, match=f"{part}.bin"):
                read_pair(tmp_path / "photo.bin", tmp_path / "mask.bin", num_classes=13)


def test_what_is_no_photo_is_refused_by_name(tmp_path: Path) -> None:
    for content in (b"", b"no photo", b"\xff\xd8\xff", b"<svg></svg>"):
        (tmp_path / "a.jpg").write_bytes(content)
        for read in (read_photo, read_mask):
            with pytest.raises(DataError, match=r"a\.jpg"):
                read(tmp_path / "a.jpg")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"not found: .*gone\.png.*data_prep\.py"):
        read_photo(tmp_path / "gone.png")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_photo(tmp_path)


def test_what_would_be_waited_for_without_end_is_refused(tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(photo))
    os.mkfifo(tmp_path / "a.png")
    for photo_name, mask_name in (("a.jpg", "a.png"), ("a.png", "a.jpg")):
        with pytest.raises(DataError, match=r"is a pipe, socket or device, not a file: .*a\.png"):
            read_pair(tmp_path / photo_name, tmp_path / mask_name, num_classes=13)


def test_a_pair_that_does_not_fit_is_refused(tmp_path: Path, photo: np.ndarray, mask: np.ndarray) -> None:
    photo_path, mask_path = tmp_path / "a.jpg", tmp_path / "a.png"
    photo_path.write_bytes(encode_jpeg(photo))
    mask_path.write_bytes(encode_png(mask[:-1]))
    with pytest.raises(DataError, match=r"a\.png is 90 x 59 pixels, its photo .*a\.jpg 90 x 60"):
        read_pair(photo_path, mask_path, num_classes=13)
    mask_path.write_bytes(encode_png(mask))
    with pytest.raises(DataError, match=r"a\.png has class id 12; the dataset has the ids 0 to 11"):
        read_pair(photo_path, mask_path, num_classes=12)
    mask[0] = IGNORED_ID
    mask_path.write_bytes(encode_png(mask))
    with pytest.raises(DataError, match=r"a\.png has class id 12; the dataset has the ids 0 to 11"):
        read_pair(photo_path, mask_path, num_classes=12)
    image, ids = read_pair(photo_path, mask_path, num_classes=13)
    assert np.array_equal(ids, read_mask(mask_path))
    assert np.abs(image.astype(int) - photo).mean() < 4


def test_a_photo_too_large_to_decode_is_refused_from_its_header(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode_jpeg(photo))
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = (60000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"too large.*a\.jpg"):
        read_photo(path)
