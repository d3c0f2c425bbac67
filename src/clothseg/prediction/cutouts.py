"""Cut-outs: soft edges, colours without the background's, what is put behind them, and the canvas they are put on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageColor

from clothseg.encoding import MAX_JPEG_SIDE, MAX_WEBP_SIDE, encode_jpeg, encode_png, encode_webp
from clothseg.errors import SettingError, nearest
from clothseg.pictures import MAX_PIXELS, read_picture
from clothseg.transforms import resize_image
from clothseg.types import BoolArray, Float32Array, UInt8Array

Edges = Literal["soft", "hard"]
CutoutFormat = Literal["png", "webp", "jpeg"]

SUFFIXES: dict[CutoutFormat, str] = {"png": "png", "webp": "webp", "jpeg": "jpg"}
"""The ending of a cut-out's file in each format."""

_WHITE = (255, 255, 255)

# Chosen on real photos against closed-form matting; see docs/decisions/README.md.
_RADIUS = 3  # of the band around a mask's border, in pixels of the network: so far a border may be wrong
_SMALL_RADIUS = 6  # pixels; photos with a wider band are filtered at a smaller size, and only the band at their own
_SMOOTHNESS = 3e-4  # variance of colours, on a scale of 0 to 1, below which the filter smooths
_GAIN = 2  # steepness of the edge against the filter's own


@dataclass(frozen=True)
class CutoutStyle:
    """How garments are cut out, and what is put behind them.

    Raises:
        SettingError: a value is not allowed.

    >>> CutoutStyle(background="navy", canvas="2000x2000", margin="5%").canvas_size
    (2000, 2000)
    """

    edges: Edges = "soft"
    """Edges of cut-outs: soft estimates how much of each pixel the garment covers; hard takes whole pixels."""
    background: str = "transparent"
    """Behind cut-outs: transparent, blur (the photo out of focus), a colour as in "#ffffff" or white, or a picture."""
    canvas: str = ""
    """Size of cut-outs in pixels, as in 2000x2000: the garment is scaled to fit and centred."""
    margin: str = "5%"
    """Space around the garment on a canvas, in per cent of its shorter side."""
    cutout_format: CutoutFormat = "png"
    """File format of cut-outs; JPEG has no transparency and gets white instead."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, str):
                raise SettingError(f'{name} is {value!r}. Pass a text, as in canvas="800x800", margin="5%"')
        for name, value, allowed in (("edges", self.edges, ("soft", "hard")), ("format", self.cutout_format, SUFFIXES)):
            if value not in allowed:
                raise SettingError(f"{name} is {value!r}. Allowed: {', '.join(allowed)}")
        if self.canvas:
            width, height = self.canvas_size
            if not 0 < width * height <= MAX_PIXELS:
                raise SettingError(
                    f"The canvas {self.canvas} has {width * height:,} pixels. Allowed: 1 to {MAX_PIXELS:,}"
                )
            side = {"png": MAX_PIXELS, "webp": MAX_WEBP_SIDE, "jpeg": MAX_JPEG_SIDE}[self.cutout_format]
            if max(width, height) > side:
                raise SettingError(f"canvas is {self.canvas}. Allowed for {self.cutout_format}: {side:,} on a side")
        if not 0 <= self.margin_share < 0.5:
            raise SettingError(f"margin is {self.margin!r}. Allowed: 0% to below 50%, as in 5%")
        if self.margin != CutoutStyle.margin and not self.canvas:
            raise SettingError(
                f"margin is {self.margin!r}, and only a canvas has one. Set canvas, too, as in 2000x2000"
            )
        if self.background not in ("transparent", "blur") and not color_of(self.background):
            _background_picture(self.background)

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        found = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", self.canvas.strip().lower())
        if not found:
            raise SettingError(f"canvas is {self.canvas[:100]!r}. Write width and height in pixels, as in 2000x2000")
        return int(found[1]), int(found[2])

    @property
    def margin_share(self) -> float:
        """The margin as a part of the canvas's shorter side; NaN where it is no number."""
        found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%?", self.margin.strip())
        return float(found[1]) / 100 if found else float("nan")

    def encode(self, cutout: UInt8Array) -> bytes:
        """Encode a cut-out, (H, W, 4) uint8 RGBA, in this style's format.

        Raises:
            InputError: WebP or JPEG cannot be so large.
        """
        opaque = self.background != "transparent"
        if self.cutout_format == "jpeg":
            white = np.broadcast_to(np.array(_WHITE, dtype=np.uint8), (*cutout.shape[:2], 3))
            return encode_jpeg(np.ascontiguousarray((cutout if opaque else _over(cutout, white))[..., :3]))
        pixels = np.ascontiguousarray(cutout[..., :3]) if opaque else cutout
        return encode_png(pixels) if self.cutout_format == "png" else encode_webp(pixels)


def color_of(text: str) -> tuple[int, ...]:
    """Return the RGB, 0 to 255, of a colour in CSS notation or by its CSS name; empty where it is none.

    >>> color_of("navy"), color_of("#fff"), color_of("photo.jpg")
    ((0, 0, 128), (255, 255, 255), ())
    """
    try:
        color = ImageColor.getrgb(text)
    except ValueError:
        return ()
    return color if len(color) == 3 else ()  # no background is half transparent


PLAIN = CutoutStyle()
"""Soft edges on transparent ground, in the photo's frame."""


@lru_cache(2)
def _background_picture(path: str) -> UInt8Array:
    """Return the picture at a path, (H, W, 3) uint8 RGB.

    Raises:
        SettingError: there is no such file, nor a colour of this name.
        PictureError: it cannot be read.
    """
    if not Path(path).is_file():
        near = nearest(path, ["transparent", "blur", *ImageColor.colormap], count=3)
        raise SettingError(f"background is {path[:200]!r}: neither a colour nor a picture. Nearest: {near}; or #rrggbb")
    return read_picture(path).pixels


def cut_out(
    photo: UInt8Array, inside: BoolArray, style: CutoutStyle = PLAIN, *, tight: bool = False, pixel: float = 1.0
) -> UInt8Array:
    """Cut a part out of a photo.

    Args:
        photo: (H, W, 3) uint8 RGB.
        inside: (H, W), true where the part is.
        style: edges, background and canvas.
        tight: crop to the part without its specks; a canvas always does.
        pixel: length in the photo of a pixel of the network, the accuracy of the border.

    Returns:
        (h, w, 4) uint8 RGBA, as large as the photo, the part's box or the canvas. Where the part is not, all four are
        0 on a transparent background, so that no colour hides under the alpha.
    """
    cutout = np.zeros((*inside.shape, 4), dtype=np.uint8)
    frame = _frame(inside, 0 if style.edges == "hard" else round(4 * _RADIUS * pixel) + 4)
    if style.edges == "hard":
        cutout[frame], reach = _hard(photo[frame], inside[frame]), 0
    else:
        radius = max(2.0, _RADIUS * pixel)
        cutout[frame], reach = _soft(photo[frame], inside[frame], radius), round(2 * radius) + 3
    behind = _blurred(photo, cutout[..., 3]) if style.background == "blur" else None
    if tight or style.canvas:
        near = _frame(without_specks(inside), reach)
        box = _frame(cutout[near][..., 3] > 0, 0)
        cutout = cutout[near][box]
        if behind is not None and not style.canvas:
            behind = behind[near][box]
    if style.canvas:
        cutout = _on_canvas(cutout, style)
    if style.background == "transparent":
        return cutout
    size = cutout.shape[0], cutout.shape[1]
    if color_of(style.background):
        behind = np.full((*size, 3), color_of(style.background), dtype=np.uint8)
    elif behind is None:
        behind = _background_picture(style.background)
    return _over(cutout, _covering(behind, size))


def _frame(inside: BoolArray, border: int) -> tuple[slice, slice]:
    """Return the rows and columns of the box around what is true, and `border` pixels more on each side."""
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    rows, columns = inside.shape
    if not width:
        return slice(0, rows), slice(0, columns)
    return (
        slice(max(0, top - border), min(rows, top + height + border)),
        slice(max(0, left - border), min(columns, left + width + border)),
    )


def without_specks(inside: BoolArray) -> BoolArray:
    """Return the pieces of a part that have at least a hundredth of its area, or the whole part where none has.

    Pixels that touch at a corner are one piece.
    """
    _, pieces, figures, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
    is_piece = figures[:, cv2.CC_STAT_AREA] >= inside.sum() / 100
    is_piece[0] = False  # piece 0 is the rest of the photo
    return np.asarray(is_piece[pieces]) if is_piece.any() else inside


def _hard(photo: UInt8Array, inside: BoolArray) -> UInt8Array:
    alpha = inside.view(np.uint8) * np.uint8(255)
    return np.dstack((cv2.bitwise_and(photo, photo, mask=alpha), alpha))


def _soft(photo: UInt8Array, inside: BoolArray, radius: float) -> UInt8Array:
    """Return a cut-out, (H, W, 4) uint8 RGBA, whose alpha follows the photo within `radius` of the mask's border.

    Alpha is a local linear function of the photo's colours that fits the mask best (a guided filter), made steeper. It
    is fitted at a size where the radius is `_SMALL_RADIUS` pixels at most; only pixels where it is neither 0 nor 1 are
    computed at the photo's size. Their colours are those of the garment alone, as far as its surroundings tell. Where
    alpha is 0, all four are.

    Source: He, Sun and Tang, "Guided Image Filtering", ECCV 2010; He and Sun, "Fast Guided Filter", 2015;
    Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021.
    """
    shrink = max(1.0, radius / _SMALL_RADIUS)
    height, width = (max(1, round(side / shrink)) for side in inside.shape)
    box = round(radius / shrink)
    small = _floats(resize_image(photo, (height, width)) / np.float32(255))
    inside_plane = inside.astype(np.float32)
    covered = _floats(cv2.resize(inside_plane, (width, height), interpolation=cv2.INTER_AREA))
    slopes = _guided(small, covered, box)
    around = np.ones((2 * box + 1, 2 * box + 1), dtype=np.uint8)
    band = cv2.dilate((covered > 0).view(np.uint8), around) - cv2.erode((covered == 1).view(np.uint8), around)
    small_alpha = _floats(np.where(band, _alpha(slopes, small), covered))
    garment, behind = _mean_colors(small, small_alpha, 2 * box)
    is_mixed = (cv2.morphologyEx(small_alpha, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0) & (band > 0)
    planes = ((small_alpha > 0.5) & ~is_mixed, is_mixed)
    whole, mixed = (
        cv2.resize(plane.view(np.uint8), inside.shape[::-1], interpolation=cv2.INTER_NEAREST) for plane in planes
    )
    cutout = _hard(photo, whole.view(np.bool_))
    where = np.flatnonzero(mixed)
    if len(where):
        samples = [_sampled(plane, where, inside.shape) for plane in (slopes, garment, behind)]
        cutout.reshape(-1, 4)[where] = _unmixed(_floats(photo.reshape(-1, 3)[where] / np.float32(255)), *samples)
    return cutout


def _unmixed(pixels: Float32Array, slopes: Float32Array, garment: Float32Array, behind: Float32Array) -> UInt8Array:
    """Return alpha and the garment's own colours, (n, 4) uint8 RGBA, of n pixels, (n, 3) float32 RGB, 0 to 1.

    `slopes`, (n, 4), make alpha of colours; `garment` and `behind`, (n, 3), are the mean colours around; see `_soft`.
    """
    alpha = _alpha(slopes, pixels)[:, None]
    colors = garment + alpha * (pixels - alpha * garment - (1 - alpha) * behind)
    values = np.empty((len(pixels), 4), dtype=np.uint8)
    values[:, :3] = np.rint(255 * np.clip(colors, 0, 1))
    values[:, 3:] = np.rint(255 * alpha)
    values[values[:, 3] == 0] = 0
    return values


def _floats(values: npt.ArrayLike) -> Float32Array:
    return np.asarray(values, dtype=np.float32)


def _alpha(slopes: Float32Array, colors: Float32Array) -> Float32Array:
    fitted = (slopes[..., :3] * colors).sum(axis=-1) + slopes[..., 3]
    return _floats(np.clip((fitted - 0.5) * _GAIN + 0.5, 0, 1))


def _means(values: Float32Array, radius: int) -> Float32Array:
    size = 2 * radius + 1, 2 * radius + 1
    return _floats(cv2.boxFilter(values, -1, size, borderType=cv2.BORDER_REFLECT))


def _guided(image: Float32Array, target: Float32Array, radius: int) -> Float32Array:
    """Return the linear functions of the colours, (h, w, 3), that fit `target`, (h, w), best in the squares around.

    They are (h, w, 4) float32: a factor for each colour, and a constant.
    """
    mean, target_mean = _means(image, radius), _means(target, radius)
    shared = _means(image * target[..., None], radius) - mean * target_mean[..., None]
    products = np.stack([image[..., one] * image[..., other] for one in range(3) for other in range(3)], axis=-1)
    spread = np.dstack([_means(np.ascontiguousarray(products[..., part : part + 3]), radius) for part in (0, 3, 6)])
    spread = spread.reshape(*target.shape, 3, 3) - mean[..., :, None] * mean[..., None, :]
    spread += _SMOOTHNESS * np.eye(3, dtype=np.float32)
    factors = np.linalg.solve(spread, shared[..., None])[..., 0]
    constant = target_mean - (factors * mean).sum(axis=-1)
    return _means(_floats(np.dstack((factors, constant))), radius)


def _mean_colors(image: Float32Array, alpha: Float32Array, radius: int) -> tuple[Float32Array, Float32Array]:
    """Return the mean colours around each pixel of what `alpha` covers and of the rest, (h, w, 3) float32 each."""
    means = []
    for share in (alpha, 1 - alpha):
        total = _means(share, radius)[..., None]
        means.append((_means(image * share[..., None], radius) + 1e-5 * image) / (total + 1e-5))
    return means[0], means[1]


def _sampled(plane: Float32Array, where: npt.NDArray[np.intp], size: tuple[int, ...]) -> Float32Array:
    """Return the values of a small plane, (h, w, C), at pixels of `size`, by their flat indices: (n, C)."""
    rows, columns = np.divmod(where, size[1])
    length = -(-len(where) // _LINE) * _LINE  # OpenCV takes no line of 32,768 pixels
    maps = []
    for position, small, large in ((columns, plane.shape[1], size[1]), (rows, plane.shape[0], size[0])):
        values = np.zeros(length, dtype=np.float32)
        values[: len(where)] = (position + 0.5) * (small / large) - 0.5
        maps.append(values.reshape(-1, _LINE))
    done = cv2.remap(plane, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _floats(done.reshape(length, -1)[: len(where)])


_LINE = 1024


def _over(cutout: UInt8Array, behind: UInt8Array) -> UInt8Array:
    """Put a cut-out, (H, W, 4) uint8 RGBA, on a picture, (H, W, 3); the result is RGBA, and opaque."""
    alpha = cutout[..., 3:].astype(np.uint16)
    mixed = (cutout[..., :3] * alpha + behind * (255 - alpha) + 127) // 255
    return np.dstack((mixed.astype(np.uint8), np.full(cutout.shape[:2], 255, dtype=np.uint8)))


def _covering(picture: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Return the middle of a picture, scaled so that it just covers `size`, (height, width)."""
    scale = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (
        max(1, min(side, round(target / scale))) for side, target in zip(picture.shape, size, strict=False)
    )
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return resize_image(np.ascontiguousarray(picture[top : top + height, left : left + width]), size)


def _blurred(photo: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    """Return the photo out of focus, (H, W, 3); the garment's colours do not spread into it."""
    size = photo.shape[0], photo.shape[1]
    scale = min(1.0, 256 / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    rest = 1.0001 - cv2.resize(alpha, small[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    picture = resize_image(photo, small).astype(np.float32) * rest
    weights = cv2.GaussianBlur(rest, (0, 0), 4)[..., None]
    return resize_image(np.clip(cv2.GaussianBlur(picture, (0, 0), 4) / weights, 0, 255).astype(np.uint8), size)


def _on_canvas(cutout: UInt8Array, style: CutoutStyle) -> UInt8Array:
    """Scale a cut-out, (H, W, 4) uint8 RGBA, to fit a canvas within its margin, and put it in the middle."""
    width, height = style.canvas_size
    margin = style.margin_share * min(width, height)
    scale = min((height - 2 * margin) / cutout.shape[0], (width - 2 * margin) / cutout.shape[1])
    size = max(1, round(cutout.shape[0] * scale)), max(1, round(cutout.shape[1] * scale))
    # Colours count by their alpha; otherwise the black of transparent pixels would darken the edge.
    weighted = (cutout[..., :3] * (cutout[..., 3:].astype(np.uint16)) + 127) // 255
    scaled = resize_image(np.dstack((weighted.astype(np.uint8), cutout[..., 3])), size)
    alpha = np.maximum(scaled[..., 3:], 1).astype(np.uint16)
    scaled[..., :3] = np.minimum(scaled[..., :3] * np.uint16(255) // alpha, 255)
    scaled[scaled[..., 3] == 0] = 0
    canvas = np.zeros((height, width, 4), dtype=np.uint8)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    canvas[top : top + size[0], left : left + size[1]] = scaled
    return canvas
