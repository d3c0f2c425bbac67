"""Random augmentation of a photo and its mask: all geometry in one warp, all changes of colour in one matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from clothseg.labels import IGNORED_ID
from clothseg.settings import CropSize
from clothseg.transforms import IMAGENET, Letterbox, resize_image
from clothseg.types import Float64Array, UInt8Array

Generator = np.random.Generator

MAX_SHRINK = 2.0
"""Linear interpolation reads 2 x 2 pixels; a photo that shrinks more is averaged first, as fine stripes would alias."""

# Source: Rec. ITU-R BT.601, the weights of luma.
LUMA = np.array([0.299, 0.587, 0.114])
# Source: NTSC's YIQ; a change of hue is a rotation in the plane of I and Q.
RGB_TO_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)


@dataclass(frozen=True)
class Strength:
    """Ranges of the augmentation, from which each value is drawn uniformly.

    Apart from the crop, the defaults are those of the usual torchvision list: RandomHorizontalFlip, RandomRotation 12,
    RandomAffine with shift 0.05 and shear 5, ColorJitter 0.2 with hue 0.05, RandomGrayscale 0.1. RandomResizedCrop
    only enlarges, and changes the aspect ratio by up to a third; here a photo is smaller as often as larger than in
    prediction, and its aspect ratio changes by at most `aspect`.
    """

    zoom: tuple[float, float] = (0.7, 1.4)
    """Size of the photo relative to validation, where it just fits; below 1 as often as above."""
    aspect: float = 0.1
    """The aspect ratio changes by up to this share."""
    flip: float = 0.5
    """Probability of a mirror image."""
    rotation: float = 12.0
    """Degrees, in both directions."""
    shift: float = 0.05
    """Share of the input's side, in both directions, in addition to the random position of the crop."""
    shear: float = 5.0
    """Degrees, in both directions, in x and in y."""
    brightness: float = 0.2
    """Factor 1 ± this."""
    contrast: float = 0.2
    """Factor 1 ± this, about the mean colour of photos."""
    saturation: float = 0.2
    """Factor 1 ± this."""
    hue: float = 0.05
    """Share of the colour circle, in both directions."""
    gray: float = 0.1
    """Probability of a photo without colour."""


def input_size(img_size: int, crop_size: CropSize | None) -> tuple[int, int]:
    """Return (height, width) of a training input: the crop's, or a square of `img_size` where there is none."""
    size = img_size if crop_size is None else crop_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@dataclass(frozen=True, eq=False)
class Augmentation:
    """The parameters of one augmentation of one photo: where each pixel moves and how its colour changes."""

    reduced_size: tuple[int, int]
    """(height, width) to which the photo is averaged down before the warp; its own size if it is not."""
    matrix: Float64Array
    """(2, 3): position in the photo to position in the input, (x, y) in pixels; a pixel's centre is at + 0.5."""
    color: Float64Array
    """(3, 4): RGB of 0 to 255 and a 1 to RGB."""
    size: tuple[int, int]
    """(height, width) of the input, in pixels."""


def draw_augmentation(
    rng: Generator, photo_size: tuple[int, int], img_size: int, strength: Strength, crop_size: CropSize | None = None
) -> Augmentation:
    """Draw the parameters of one augmentation; equal generators give equal parameters.

    Args:
        rng: random number generator; the number of values drawn is always the same.
        photo_size: (height, width) of the photo.
        img_size: longer side of the photo at zoom 1, and side of the square input.
        strength: ranges to draw from.
        crop_size: side or (height, width) of the input, where it shows less of the photo; None is `img_size`.
    """
    size = input_size(img_size, crop_size)
    scales = _draw_scales(rng, photo_size, img_size, strength)
    matrix = _draw_matrix(rng, photo_size, scales, size, strength)
    color = _draw_color(rng, strength)
    shrinks = min(scales) * MAX_SHRINK < 1
    reduced = tuple(max(1, round(side * scale)) for side, scale in zip(photo_size, scales[::-1], strict=True))
    return Augmentation((reduced[0], reduced[1]) if shrinks else photo_size, matrix, color, size)


def augment(image: UInt8Array, mask: UInt8Array, augmentation: Augmentation) -> tuple[UInt8Array, UInt8Array]:
    """Return a photo and its mask, augmented.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, class ids.
        augmentation: drawn for a photo of this size.

    Returns:
        (h, w, 3) uint8 RGB and (h, w) uint8 with `IGNORED_ID` around the photo.
    """
    size = augmentation.size[::-1]
    height, width = augmentation.reduced_size
    unshrink = np.diag([image.shape[1] / width, image.shape[0] / height, 1.0])
    colored = cv2.transform(resize_image(image, (height, width)), augmentation.color)
    warped = cv2.warpAffine(
        colored,
        _at_pixel_centers(augmentation.matrix @ unshrink),
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=IMAGENET.fill,
    )
    target = cv2.warpAffine(
        mask,
        _at_pixel_centers(augmentation.matrix),
        size,
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(IGNORED_ID,),
    )
    return np.asarray(warped, dtype=np.uint8), np.asarray(target, dtype=np.uint8)


def letterbox(image: UInt8Array, mask: UInt8Array, side: int) -> tuple[UInt8Array, UInt8Array]:
    """Return a photo, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8, in a square, `side` pixels, as in validation."""
    box = Letterbox.fit(mask.shape[0], mask.shape[1], side, square=True)
    return box.image(image), box.mask(mask)


def _draw_scales(rng: Generator, photo_size: tuple[int, int], img_size: int, strength: Strength) -> tuple[float, float]:
    """Return the scales of x and y at which the photo, at the drawn zoom, is `img_size` times the zoom long."""
    least, most = np.log(strength.zoom)
    zoom = math.exp(rng.uniform(least, most))
    stretch = math.exp(rng.uniform(-1, 1) * math.log1p(strength.aspect) / 2)
    scale = zoom * img_size / max(photo_size)
    return scale * stretch, scale / stretch


def _draw_matrix(
    rng: Generator, photo_size: tuple[int, int], scales: tuple[float, float], size: tuple[int, int], strength: Strength
) -> Float64Array:
    """Return (2, 3): scale, crop and flip; then shear, rotate and shift about the input's centre."""
    position = rng.uniform(size=2)
    is_flipped = rng.uniform() < strength.flip
    angle = math.radians(rng.uniform(-1, 1) * strength.rotation)
    shear_x, shear_y = np.tan(np.radians(rng.uniform(-1, 1, size=2) * strength.shear))
    height, width = size
    shift_x, shift_y = rng.uniform(-1, 1, size=2) * strength.shift * (width, height)

    slack_x, slack_y = width - photo_size[1] * scales[0], height - photo_size[0] * scales[1]
    crop = np.array([[scales[0], 0, position[0] * slack_x], [0, scales[1], position[1] * slack_y], [0, 0, 1]])
    if is_flipped:
        crop = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) @ crop
    center_x, center_y = width / 2, height / 2
    shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
    rotation = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    about_center = _shift(center_x + shift_x, center_y + shift_y) @ rotation @ shear @ _shift(-center_x, -center_y)
    return np.asarray((about_center @ crop)[:2])


def _draw_color(rng: Generator, strength: Strength) -> Float64Array:
    """Return (3, 4): brightness, contrast, saturation and hue in one matrix; or luma alone.

    Hue changes in YIQ, which is linear; torchvision converts each pixel to HSV.
    """
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, size=3) * (
        strength.brightness,
        strength.contrast,
        strength.saturation,
    )
    rotation = rng.uniform(-1, 1) * strength.hue * 2 * math.pi
    if rng.uniform() < strength.gray:
        saturation = 0.0
    cos, sin = math.cos(rotation) * saturation, math.sin(rotation) * saturation
    chroma = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    factor = brightness * contrast
    offset = (1 - contrast) * brightness * float(LUMA @ IMAGENET.fill)
    return np.column_stack((factor * (YIQ_TO_RGB @ chroma @ RGB_TO_YIQ), np.full(3, offset)))


def _shift(x: float, y: float) -> Float64Array:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _at_pixel_centers(matrix: Float64Array) -> Float64Array:
    """Return `matrix` for OpenCV, in whose warps a pixel's centre has whole coordinates."""
    return np.asarray((_shift(-0.5, -0.5) @ np.vstack((matrix, (0, 0, 1))) @ _shift(0.5, 0.5))[:2])
