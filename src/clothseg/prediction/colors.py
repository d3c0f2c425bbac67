"""The main colours of a garment, as hex codes and by the name of the nearest colour of `COLOR_NAMES`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clothseg.garment_names import COLOR_NAMES
from clothseg.types import UInt8Array

# As in serving/page/colours.js; a test compares the two.
_MAX_PIXELS = 20_000  # of a garment that are looked at
_MIN_SHARE = 0.08  # of a garment that a colour must fill, unless it is the main one
_SAME = 18  # distance in CIELAB below which two colours are one


def main_colors(pixels: UInt8Array) -> list[dict[str, str | float]]:
    """Return up to three main colours of some pixels, (N, 3) uint8 RGB, the most frequent first.

    Pixels are counted in boxes of 32 values a channel; boxes of nearly the same colour count as one.

    Returns:
        For each: "hex" (#rrggbb), "name" (see `color_name`), and "share" of the pixels, 0 to 1; colours of small shares
        are left out, so that there may be fewer, and none where there are no pixels.

    Examples:
        >>> main_colors(np.full((9, 3), (210, 30, 40), np.uint8))
        [{'hex': '#d21e28', 'name': 'red', 'share': 1.0}]
    """
    pixels = pixels[:: max(1, len(pixels) // _MAX_PIXELS)]
    boxes = (pixels >> 5).astype(np.int64) @ np.array((64, 8, 1))
    counts = np.bincount(boxes, minlength=512)
    sums = np.stack([np.bincount(boxes, pixels[:, channel], minlength=512) for channel in range(3)], axis=1)
    groups: list[tuple[npt.NDArray[np.float64], list[int]]] = []
    for box in np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]:
        lab = _lab(sums[box : box + 1] / counts[box])[0]
        near = min(groups, key=lambda group: float(np.linalg.norm(group[0] - lab)), default=None)
        if near is not None and np.linalg.norm(near[0] - lab) < _SAME:
            near[1].append(int(box))
        else:
            groups.append((lab, [int(box)]))
    groups.sort(key=lambda group: -counts[group[1]].sum())
    found: list[dict[str, str | float]] = []
    for _, members in groups[:3]:
        share = float(counts[members].sum() / len(pixels))
        if share >= _MIN_SHARE or not found:
            red, green, blue = np.floor(sums[members].sum(axis=0) / counts[members].sum() + 0.5).astype(int).tolist()
            hex_code = f"#{red:02x}{green:02x}{blue:02x}"
            found.append({"hex": hex_code, "name": color_name((red, green, blue)), "share": round(share, 3)})
    return found


def color_name(color: tuple[int, int, int]) -> str:
    """Return the name in `COLOR_NAMES` that is nearest to an RGB colour, 0 to 255, in CIELAB."""
    difference = _lab(np.array(list(COLOR_NAMES.values()))) - _lab(np.array([color]))
    return list(COLOR_NAMES)[int(np.linalg.norm(difference, axis=1).argmin())]


def _lab(colors: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return RGB, (N, 3) 0 to 255, in CIELAB for the white D65; OpenCV's is rounded. Source: IEC 61966-2-1; CIE 15."""
    linear = np.where(colors > 10.3, ((colors / 255 + 0.055) / 1.055) ** 2.4, colors / 3294.6)
    xyz = linear @ _XYZ.T / (0.950456, 1, 1.088754)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=1)


_XYZ = np.array(
    ((0.412453, 0.35758, 0.180423), (0.212671, 0.71516, 0.072169), (0.019334, 0.119193, 0.950227)), dtype=np.float64
)
