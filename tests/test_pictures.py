import importlib.util
import io
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from clothseg import pictures
from clothseg.encoding import encode_jpeg, encode_png, orient
from clothseg.errors import DataError, LargePictureError, MachineError, MissingInputError, PictureError
from clothseg.labels import GROUPS
from clothseg.pictures import read_mask, read_picture, whole_file, write_whole


def photo(height=40, width=30):
    """Four quarters: red, green, blue, white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[: height // 2, width // 2 :, 1] = 255
    pixels[height // 2 :, : width // 2, 2] = 255
    pixels[height // 2 :, width // 2 :] = 255
    return pixels


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_every_format_gives_its_pixels():
    for kind in ("PNG", "WEBP", "BMP", "TIFF", "PPM"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(Image.fromarray(photo()), kind, **options)
        np.testing.assert_array_equal(read_picture(content).pixels, photo(), kind)
    for kind in ("JPEG", "AVIF", "GIF"):
        content = encoded(Image.fromarray(photo()), kind)
        assert np.abs(read_picture(content).pixels.astype(int) - photo()).mean() < 8, kind


STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation → how a camera held that way stores an upright photo: the inverse of what a viewer does."""


def test_exif_orientation_is_applied():
    wrong = []
    for kind in ("JPEG", "PNG", "WEBP"):
        for orientation, transpose in STORED.items():
            upright = Image.fromarray(photo())
            stored = upright if transpose is None else upright.transpose(transpose)
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {"quality": 95} if kind != "PNG" else {}
            pixels = read_picture(encoded(stored, kind, exif=exif, **options)).pixels
            if pixels.shape != (40, 30, 3) or np.abs(pixels.astype(int) - photo()).mean() >= 8:
                wrong.append((kind, orientation, pixels.shape))
    assert not wrong, wrong


def test_hidden_colour_under_transparency_does_not_show():
    pixels = np.dstack([photo(), np.zeros((40, 30), np.uint8)])
    picture = read_picture(encoded(Image.fromarray(pixels), "PNG"))
    assert (picture.pixels == 255).all()
    assert "transparent" in picture.notes[0]


def test_an_opaque_alpha_channel_is_no_news():
    pixels = np.dstack([photo(), np.full((40, 30), 255, np.uint8)])
    picture = read_picture(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(picture.pixels, photo())
    assert picture.notes == ()


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = read_picture(encoded(Image.fromarray(values), "PNG")).pixels
    np.testing.assert_array_equal(pixels[..., 0].ravel(), np.arange(256))


def test_other_colour_modes_become_rgb():
    for mode in ("L", "1", "P", "CMYK", "LA", "YCbCr"):
        kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
        pixels = read_picture(encoded(Image.fromarray(photo()).convert(mode), kind)).pixels
        assert pixels.shape == (40, 30, 3), mode
        assert pixels[35, 25].min() > 200, "the white quarter stays white"
        assert np.abs(pixels[5, 5].astype(int) - pixels[5, 25]).max() > 30 or mode == "1", mode


def test_of_an_animation_the_first_frame_is_used_and_said():
    frames = [Image.fromarray(photo()), Image.fromarray(255 - photo())]
    for kind in ("GIF", "WEBP"):
        picture = read_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
        assert np.abs(picture.pixels.astype(int) - photo()).mean() < 8
        assert picture.notes == ("only the first of 2 frames is used",)
    phone = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert read_picture(phone).notes == (), "the second view of a phone's photo is no frame that is missed"


def test_pillow_images_and_arrays_are_photos_too():
    np.testing.assert_array_equal(read_picture(Image.fromarray(photo())).pixels, photo())
    np.testing.assert_array_equal(read_picture(photo()).pixels, photo())


def test_arrays_of_another_form_are_refused_with_the_form():
    for shape, dtype in (((4, 4), np.uint8), ((4, 4, 3), float), ((3, 4, 4), np.uint8), ((0, 4, 3), np.uint8)):
        with pytest.raises(PictureError, match=r"Pass \(H, W, 3\) uint8"):
            read_picture(np.zeros(shape, dtype))


def huge_png_header(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


JPEG = encode_jpeg(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
PNG = encode_png(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))


BAD_PHOTOS = [
    (b"", "empty"),
    (b"hello, this is no photo", "Not a photo"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "Not a photo"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "Not a photo"),
    (JPEG[: len(JPEG) // 2], "broken or cut off"),
    (JPEG[:300], "Not a photo|broken or cut off"),
    (PNG[: len(PNG) // 2], "broken or cut off"),
    (PNG[:1000] + b"\0" * 50 + PNG[1050:], "broken or cut off"),
    (encoded(Image.fromarray(photo(200, 200)), "WEBP")[:-60], "broken or cut off|Not a photo"),
    (huge_png_header(12000, 12000), "too large: .* has 12000 x 12000 pixels, at most 89,000,000 are read"),
    (huge_png_header(60000, 60000), "too large: .* has more than 89,000,000 pixels"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "HEIC|broken"),
]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_photo_is_a_named_error(tmp_path):
    path = tmp_path / "bad.jpg"
    for content, message in BAD_PHOTOS:
        path.write_bytes(content)
        with pytest.raises(PictureError, match=message) as caught:
            read_picture(path)
        assert "bad.jpg" in str(caught.value)
        with pytest.raises(PictureError, match=message):
            read_picture(content)


def test_missing_photos_and_folders_are_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"not found.*none\.jpg"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)


def test_the_limit_of_pixels_is_the_callers_to_set():
    with pytest.raises(LargePictureError, match="30 x 40 pixels, at most 1,000"):
        read_picture(encoded(Image.fromarray(photo()), "PNG"), max_pixels=1000)


@pytest.mark.skipif(importlib.util.find_spec("pi_heif") is None, reason="pi-heif is not installed")
def test_a_heic_photo_has_the_same_limit():
    with pytest.raises(LargePictureError, match="at most 1,000"):
        read_picture((Path(__file__).parent / "heic" / "upright.heic").read_bytes(), max_pixels=1000)


def test_objects_of_python_programs_are_photos_too(tmp_path):
    content = encoded(Image.fromarray(photo()), "PNG")
    path = tmp_path / "p.png"
    path.write_bytes(content)
    with path.open("rb") as opened:
        for source in (io.BytesIO(content), opened, bytearray(content), memoryview(content), path, str(path)):
            np.testing.assert_array_equal(read_picture(source).pixels, photo())
    with path.open("r", encoding="latin-1") as text:
        for source in (None, 3, text, opened, ["p.png"]):
            with pytest.raises(PictureError, match=r"Not a photo: .*Pass a path|cannot be read: .*p\.png"):
                read_picture(source)


def test_paths_that_are_no_files_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in ((tmp_path / "pipe.jpg", "is a pipe"), (tmp_path / ("x" * 300), "the name is too long")):
        with pytest.raises(PictureError, match=reason):
            read_picture(path)


def test_large_texts_and_profiles_of_a_png_are_read():
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=True)
    profile = swapped_profile() + bytes(2_000_000)
    for options in ({"pnginfo": text}, {"icc_profile": profile}):
        content = encoded(Image.fromarray(photo()), "PNG", **options)
        pixels = read_picture(content).pixels
        if "pnginfo" in options:
            np.testing.assert_array_equal(pixels, photo())
        else:
            assert pixels[0, 0].argmax() == 1, "its profile was applied"
    with pytest.raises(PictureError, match="broken"):
        read_picture(content[:-2000])
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1 << 20


def test_an_avif_that_calls_itself_a_picture_of_any_kind_is_read():
    content = encoded(Image.fromarray(photo()), "AVIF", quality=100, subsampling="4:4:4")
    assert content[8:12] == b"avif"
    assert b"mif1" in content[16:32]
    renamed = content[:8] + b"mif1" + content[12:]
    np.testing.assert_array_equal(read_picture(renamed).pixels, read_picture(content).pixels)


def swapped_profile():
    """sRGB's profile with its red and green primaries exchanged, so that red pixels mean green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


def test_colour_profiles_are_converted_to_srgb():
    image = Image.fromarray(photo())
    translucent = image.copy()
    translucent.putalpha(128)
    for kind, source in (("JPEG", image), ("PNG", image), ("PNG", translucent), ("WEBP", image), ("TIFF", image)):
        options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
        pixels = read_picture(encoded(source, kind, icc_profile=swapped_profile(), **options)).pixels
        assert pixels[2, 2].argmax() == 1, f"{kind}: red pixels were meant green"
        assert pixels[2, -2].argmax() == 0
        assert pixels[-2, 2].argmax() == 2
        assert pixels[-2, -2].min() > 250


def test_srgb_by_another_name_changes_no_pixel_and_a_broken_profile_is_ignored_with_a_note():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray_only = encoded(Image.fromarray(photo()[..., 0]), "PNG", icc_profile=srgb)
    for profile, note in ((srgb, None), (srgb[:100], "broken"), (b"nonsense", "broken")):
        picture = read_picture(encoded(Image.fromarray(photo()), "PNG", icc_profile=profile))
        np.testing.assert_array_equal(picture.pixels, photo())
        assert list(picture.notes) == [] if note is None else note in picture.notes[0]
    assert "not L" in read_picture(gray_only).notes[0]
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = read_picture(encoded(Image.fromarray(photo()), "PNG", icc_profile=lab))
    np.testing.assert_array_equal(picture.pixels, photo())
    assert picture.notes == ("its colour profile is for Lab colours, not RGB, and was ignored",)


def test_read_mask(tmp_path):
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / "mask.png"
    for palette in (None, GROUPS.palette):
        path.write_bytes(encode_png(mask, palette=palette))
        np.testing.assert_array_equal(read_mask(path), mask)
    path.write_bytes(encode_png(photo()))
    with pytest.raises(DataError, match="has mode RGB"):
        read_mask(path)
    for content, message in (
        (encode_png(mask)[:40], "Mask is broken or cut off: "),
        (JPEG, r"Not a mask that can be read: .*mask\.png\. Formats: PNG, BMP, GIF"),
        (huge_png_header(60000, 60000), "Mask is too large: "),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_mask(path)
    with pytest.raises(MissingInputError, match="Mask not found"):
        read_mask(tmp_path / "none.png")


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.bin"
    write_whole(path, b"old")

    def fail_half_way():
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_a_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    write_whole(path, b"content", sync=True)
    assert path.read_bytes() == b"content"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="what is synced is seen in Linux's /proc")
def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path, monkeypatch):
    path, synced, sync = tmp_path / "result.bin", [], os.fsync

    def note(descriptor):
        synced.append((Path(f"/proc/self/fd/{descriptor}").resolve(), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_whole(path, b"content", sync=True)
    assert synced == [(tmp_path / ".result.bin.part", False), (tmp_path, True)]
    write_whole(path, b"content")
    assert len(synced) == 2


def test_folders_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match=r"Cannot write .*file/result\.png"):
        write_whole(tmp_path / "file" / "result.png", b"content")
    if os.geteuid() != 0:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(MachineError, match="Permission denied"):
            write_whole(tmp_path / "result.png", b"content")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the device that is always full")
def test_a_full_disk_is_named(tmp_path):
    def fill():
        with whole_file(tmp_path / "result.bin") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"content")

    with pytest.raises(MachineError, match="the disk is full"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_suffixes_are_lower_case():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in pictures.PHOTO_SUFFIXES)


def low_bit_png(values, bits):
    rows = [b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in values]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def grey_bmp(values, bits, palette):
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in values[::-1]]
    pixels = b"".join(row + bytes(-len(row) % 4) for row in rows)
    colors = b"".join(bytes((grey, grey, grey, 0)) for grey in palette)
    start = 54 + len(colors)
    height, width = values.shape
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(pixels), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + colors + pixels


def test_masks_are_rotated_as_their_photos_are():
    """Tools that copy a photo's EXIF block into its mask leave the pixels of both as the camera stored them."""
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        expected = orient(stored, orientation)
        grey, indexed = Image.fromarray(stored), Image.fromarray(stored)
        indexed.putpalette(GROUPS.palette.tobytes())
        for image in (grey, indexed):
            stream = io.BytesIO()
            image.save(stream, "PNG", exif=exif)
            assert np.array_equal(read_mask(stream.getvalue()), expected), (orientation, image.mode)


def test_mask_values_are_read_as_stored_whatever_their_bits():
    for bits in (1, 2, 4, 8):
        values = (np.arange(35) % 2**bits).astype(np.uint8).reshape(5, 7)
        assert (read_mask(low_bit_png(values, bits)) == values).all(), bits
    for bits, palette in ((1, (0, 255)), (4, range(0, 256, 17)), (8, range(256)), (8, (0, 1, 2))):
        values = (np.arange(35) % len(palette)).astype(np.uint8).reshape(5, 7)
        assert (read_mask(grey_bmp(values, bits, palette)) == values).all(), (bits, palette)
    for bits, palette in ((8, (0, 255)), (4, (0, 255)), (4, range(16))):
        with pytest.raises(DataError, match=f"BMP of {bits} bits with a grey palette"):
            read_mask(grey_bmp(np.ones((5, 7), np.uint8), bits, palette))


def test_a_fault_of_our_own_is_no_broken_photo(monkeypatch):
    monkeypatch.setattr(pictures, "orient", lambda pixels, orientation: pixels.no_such_name)
    for content in (JPEG, PNG):
        with pytest.raises(AttributeError, match="no_such_name"):
            read_picture(content)
