"""Photo files of every kind, through `Predictor.predict`: each gives a mask or a named error."""

import contextlib
import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from clothseg.errors import InputError, MissingInputError, PictureError
from clothseg.labels import GROUPS
from clothseg.prediction.folder import FolderRun
from clothseg.prediction.sources import find_photos

UPPERBODY = GROUPS.id_of("upperbody")


def two_halves(height=80, width=48):
    """White above, the colour of upperbodies below."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[height // 2 :] = GROUPS.palette[UPPERBODY]
    return pixels


def encoded(image, kind, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def noise(kind):
    """A photo that does not compress to nothing, so that cutting it cuts pixels."""
    return encoded(np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8), kind)


def cut(content, share=0.5):
    return content[: int(len(content) * share)]


def png_of(*chunks):
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def header(width, height, depth=8, color=2):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


def rotated(kind, orientation, pixels=None):
    """A photo as a camera stores it, with the EXIF orientation that undoes the rotation; by default the two halves."""
    transposes = (None, 0, 3, 1, 5, 2, 6, 4)  # Pillow's numbers of Transpose, for orientations 1 to 8
    image = Image.fromarray(two_halves() if pixels is None else pixels)
    if orientation > 1:
        image = image.transpose(Image.Transpose(transposes[orientation - 1]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, **({} if kind == "PNG" else {"quality": 95}))


def hidden_color():
    """White above; below, the colour of upperbodies fully transparent: it must not count."""
    alpha = np.full((80, 48), 255, np.uint8)
    alpha[40:] = 0
    return encoded(np.dstack([two_halves(), alpha]), "PNG")


def animation(kind):
    frames = [Image.fromarray(two_halves()), Image.new("RGB", (48, 80))]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


BROKEN = {
    "empty.jpg": (b"", "empty"),
    "text.jpg": (b"this is a text, not a photo, whatever its name says", "Not a photo"),
    "page.png": (b"<!doctype html><html><body>404</body></html>", "Not a photo"),
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "Not a photo"),
    "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "Not a photo"),
    "half.png": (cut(noise("PNG")), "broken or cut off"),
    "half.jpg": (cut(noise("JPEG")), "broken or cut off"),
    "nearly.jpg": (cut(noise("JPEG"), 0.95), "broken or cut off"),
    "half.webp": (cut(noise("WEBP")), "broken or cut off|Not a photo"),
    "half.avif": (cut(noise("AVIF")), "broken or cut off|Not a photo"),
    "half.gif": (cut(noise("GIF")), "broken or cut off"),
    "half.tif": (cut(noise("TIFF")), "broken or cut off"),
    "half.bmp": (cut(noise("BMP")), "broken or cut off"),
    "signature.png": (b"\x89PNG\r\n\x1a\n", "Not a photo|broken"),
    "checksum.png": (noise("PNG")[:60] + b"\xff\xff\xff\xff" + noise("PNG")[64:], "broken or cut off"),
    "bomb.png": (
        png_of(header(12_000, 12_000, 1, 0), (b"IDAT", zlib.compress(bytes(1501 * 12_000), 1)), (b"IEND", b"")),
        "too large",
    ),
    "header.png": (png_of(header(60_000, 60_000), (b"IDAT", b""), (b"IEND", b"")), "too large"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "HEIC|broken"),
}
"""Photos that are refused: (content, what the message says)."""

ROTATED = (("JPEG", 6), ("JPEG", 3), ("PNG", 8), ("PNG", 2), ("WEBP", 5), ("WEBP", 7))

GOOD = {
    **{f"rotated{number}.{kind.lower()}": rotated(kind, number) for kind, number in ROTATED},
    "plain.avif": encoded(two_halves(), "AVIF", quality=95),
    "plain.bmp": encoded(two_halves(), "BMP"),
    "plain.tif": encoded(two_halves(), "TIFF"),
    "plain.ppm": encoded(two_halves(), "PPM"),
    "cmyk.jpg": encoded(Image.fromarray(two_halves()).convert("CMYK"), "JPEG", quality=95),
    "palette.gif": encoded(Image.fromarray(two_halves()).convert("P", palette=Image.Palette.ADAPTIVE), "GIF"),
    "indexed.png": encoded(Image.fromarray(two_halves()).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "animated.gif": animation("GIF"),
    "animated.webp": animation("WEBP"),
    "two words.png": encoded(two_halves(), "PNG"),
    "new\nline.png": encoded(two_halves(), "PNG"),
    "кофта 👕.png": encoded(two_halves(), "PNG"),
    "many.dots..in.it.png": encoded(two_halves(), "PNG"),
    "-dash.png": encoded(two_halves(), "PNG"),
    "%s {0} $HOME *.png": encoded(two_halves(), "PNG"),
    "no ending": encoded(two_halves(), "PNG"),
    "lies.jpg": encoded(two_halves(), "PNG"),
}
"""Photos that show an upperbody in the lower half, in many formats and with unusual names."""

GREY = {
    "grey16.png": encoded(np.repeat(np.linspace(0, 65_535, 80).astype(np.uint16)[:, None], 48, axis=1), "PNG"),
    "grey.png": encoded(np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[:, None], 48, axis=1), "PNG"),
}
"""Black at the top, white at the bottom."""


@pytest.fixture
def put(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_photos_raise_errors_that_name_them(predictor, put):
    wrong = []
    for name, (content, message) in BROKEN.items():
        try:
            predictor.predict(put(name, content))
        except PictureError as error:
            said = str(error)
            if not re.search(message, said) or name not in said or "\n" in said:
                wrong.append((name, said))
        else:
            wrong.append((name, "no error"))
    assert not wrong, wrong


def test_missing_files_and_folders_raise_errors_that_name_them(predictor, tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.jpg"):
        predictor.predict(tmp_path / "none.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(PictureError, match=r"is a folder, not a file: .*folder\.jpg"):
        predictor.predict(tmp_path / "folder.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match=r"dangling\.jpg"):
        predictor.predict(tmp_path / "dangling.jpg")


def test_formats_and_unusual_names(predictor, put):
    wrong = []
    for name, content in GOOD.items():
        segmentation = predictor.predict(put(name, content))
        upperbody = segmentation.mask == UPPERBODY
        if (
            upperbody.shape != (80, 48)
            or upperbody[46:].mean() <= 0.97
            or upperbody[:34].any()
            or bool(segmentation.notes) != ("animated" in name)
        ):
            wrong.append((name, upperbody.shape, upperbody[46:].mean(), upperbody[:34].any(), segmentation.notes))
    assert not wrong, wrong


def test_masks_are_exif_oriented(predictor, figure):
    pixels, mask = figure
    wrong = []
    for kind in ("JPEG", "PNG", "WEBP"):
        for orientation in range(1, 9):
            content = rotated(kind, orientation, pixels)
            with Image.open(io.BytesIO(content)) as image:  # encoded bytes and Pillow images are read differently
                for photo in (content, image):
                    found = predictor.predict(photo).mask
                    if found.shape != mask.shape or (found == mask).mean() <= 0.96:
                        wrong.append((kind, orientation, type(photo).__name__))
    assert not wrong, wrong


def test_colors_under_full_transparency_are_ignored(predictor, put):
    segmentation = predictor.predict(put("hidden.png", hidden_color()))
    assert not (segmentation.mask == UPPERBODY).any()
    assert segmentation.notes == ("its transparent parts are shown on white",)


def test_grey_photos_keep_their_range(predictor, put):
    for name, content in GREY.items():
        photo = predictor.predict(put(name, content)).photo
        np.testing.assert_allclose(photo[:, 0, 0], np.linspace(0, 255, 80), atol=1, err_msg=name)
    bits = encoded(Image.fromarray(two_halves()).convert("1", dither=Image.Dither.NONE), "PNG")
    assert set(np.unique(predictor.predict(bits).photo)) == {0, 255}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_folder_of_all_of_them(predictor, tmp_path):
    """Each broken photo is named, all others are segmented, no two share a file, and no partial file is left."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, content in {**GOOD, **GREY, **{name: content for name, (content, _) in BROKEN.items()}}.items():
        (photos / name).write_bytes(content)
    for name in ("a.jpg", "a.png", "A.PNG"):
        (photos / name).write_bytes(encoded(two_halves(), "PNG"))
    (photos / "folder.jpg").mkdir()
    output = tmp_path / "output"
    output.mkdir()
    search = find_photos([photos, photos / "no ending", photos / "drawing.svg", photos / "script.eps"], output=output)
    assert search.problems == ()
    reports = list(FolderRun(predictor, search.photos, output).outcomes())
    assert len(reports) == len(list(photos.iterdir())) - 1
    refused = {report.photo.file for report in reports if report.error is not None}
    assert refused == set(BROKEN)
    written = [path for report in reports for path in report.files]
    assert len({str(path).casefold() for path in written}) == len(written) == 2 * (len(reports) - len(refused))
    for path in written:
        with Image.open(path) as image:
            image.load()
    assert not [path for path in output.rglob("*") if path.name.endswith(".part")]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
def test_corrupted_bytes_give_a_mask_or_a_named_error(predictor):
    """Bytes are changed at random; nothing but a `PictureError` may be raised.

    Source: corrupt PNGs like the one without a palette crash torchvision.io.read_image.
    """
    contents = [png_of(header(9, 9, 8, 3), (b"IDAT", zlib.compress(bytes(90))), (b"IEND", b""))]
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "PPM"):
        whole = noise(kind)
        rng = np.random.default_rng(0)
        for _ in range(30):
            content = bytearray(whole)
            for place in rng.integers(0, len(content), rng.integers(1, 12)):
                content[place] = rng.integers(0, 256)
            contents.append(bytes(content[: rng.integers(len(content) // 2, len(content) + 1)]))
    read = 0
    for content in contents:
        with contextlib.suppress(PictureError):
            segmentation = predictor.predict(content)
            assert segmentation.mask.shape == segmentation.photo.shape[:2]
            read += 1
    assert 0 < read < len(contents)
