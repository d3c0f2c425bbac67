import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from clothseg.data import index_png
from clothseg.data.index_png import decode_index_png
from clothseg.encoding import encode_png

MASKS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=90))


@given(mask=MASKS, has_palette=st.booleans(), has_isal=st.booleans())
def test_what_was_written_is_read(mask: np.ndarray, has_palette: bool, has_isal: bool) -> None:
    content = encode_png(mask, palette=np.zeros((256, 3), dtype=np.uint8) if has_palette else None)
    with pytest.MonkeyPatch.context() as patch:
        if not has_isal:
            patch.setattr(index_png, "inflate", zlib)
        assert np.array_equal(decode_index_png(content), mask)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(mask: np.ndarray, *, row_filter: int, parts: int = 1, rows: int | None = None) -> bytes:
    """Return a PNG whose rows claim one filter, and whose pixels lie in several parts."""
    height, width = mask.shape
    lines = np.column_stack((np.full(height, row_filter, dtype=np.uint8), mask))
    packed = zlib.compress(lines[:rows].tobytes())
    step = -(-len(packed) // parts)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            chunk(b"tEXt", b"Comment\0drawn for a test"),
            *(chunk(b"IDAT", packed[start : start + step]) for start in range(0, len(packed), step)),
            chunk(b"IEND", b""),
        )
    )


def test_rows_as_they_are_and_pixels_in_parts_are_read() -> None:
    mask = np.random.default_rng(0).integers(0, 13, size=(40, 30), dtype=np.uint8)
    assert np.array_equal(decode_index_png(png(mask, row_filter=0, parts=5)), mask)


def test_other_filters_are_left_to_a_general_reader() -> None:
    assert decode_index_png(png(np.zeros((4, 4), dtype=np.uint8), row_filter=4)) is None


@pytest.mark.parametrize("mode", ["RGB", "1", "LA", "I;16"])
def test_other_kinds_are_left_to_a_general_reader(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (5, 4)).save(stream, format="PNG")
    assert decode_index_png(stream.getvalue()) is None
    assert decode_index_png(b"") is None
    assert decode_index_png(b"GIF89a") is None


def test_a_size_beyond_all_photos_is_not_unpacked() -> None:
    content = bytearray(png(np.zeros((4, 4), dtype=np.uint8), row_filter=0))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    assert decode_index_png(bytes(content)) is None


@pytest.mark.parametrize("has_isal", [True, False])
def test_every_cut_and_every_flipped_byte_is_noticed(has_isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_isal:
        monkeypatch.setattr(index_png, "inflate", zlib)
    mask = np.zeros((60, 90), dtype=np.uint8)
    mask[10:40, 20:50] = 2
    content = encode_png(mask)
    for end in range(33, len(content)):
        with pytest.raises(ValueError, match="cut off"):
            decode_index_png(content[:end])
    for place in range(33, len(content)):
        broken = bytearray(content)
        broken[place] ^= 0x55
        with pytest.raises(ValueError, match="it"):
            decode_index_png(bytes(broken))


@pytest.mark.parametrize("rows", [3, 5])
def test_pixels_that_are_fewer_or_more_than_the_header_says_are_noticed(rows: int) -> None:
    content = bytearray(png(np.zeros((5, 4), dtype=np.uint8), row_filter=0, rows=rows))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    content[8:33] = chunk(b"IHDR", header)
    with pytest.raises(ValueError, match="another number of pixels"):
        decode_index_png(bytes(content))
