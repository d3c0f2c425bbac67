"""A sample figure: outlines of body and clothes of all 46 categories, painted in layers on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from clothseg.garment_names import FASHIONPEDIA_CATEGORIES
from clothseg.types import Float64Array, UInt8Array

SUPERSAMPLING = 2  # outlines are filled on a raster this many times finer than the photo
SMALLEST = 10.0  # visible parts, and holes in them, of fewer photo pixels are ignored
SIDES = (-1, 1)
_TORSO = 0.31  # length from the base of the neck to the hips; all lengths are in units of a figure's height


def oval(x: float, y: float, half_width: float, half_height: float) -> Float64Array:
    """Return the outline of an ellipse, (N, 2)."""
    turns = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.column_stack((x + half_width * np.cos(turns), y + half_height * np.sin(turns)))


def box(x: float, y: float, half_width: float, half_height: float) -> Float64Array:
    """Return the outline of a rectangle, (4, 2)."""
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half_width, half_height) + (x, y)


def row(level: float, half_width: float, half_height: float, count: int) -> list[Float64Array]:
    """Return ovals in a row across the chest."""
    return [oval(x, level, half_width, half_height) for x in np.linspace(-0.06, 0.06, count)]


def on_head(points: npt.ArrayLike) -> Float64Array:
    """Return points given in radii of the head from its centre as points of the trunk."""
    return np.asarray(points) * (0.05, 0.215) + (0, -0.36)


CUTS: dict[str, dict[str, tuple[float, float]]] = {
    "shirt, blouse": {"hem": (0.85, 1.1), "sleeve": (0.5, 2.1)},
    "top, t-shirt, sweatshirt": {"hem": (0.65, 1.08), "sleeve": (-0.4, 1.9)},
    "sweater": {"hem": (0.8, 1.12), "sleeve": (1.3, 2.1), "ease": (0.012, 0.022)},
    "cardigan": {"hem": (0.9, 1.4), "sleeve": (1.4, 2.0), "ease": (0.012, 0.024), "gap": (0.03, 0.06)},
    "jacket": {"hem": (0.75, 1.12), "sleeve": (1.8, 2.0), "ease": (0.014, 0.026), "gap": (0.01, 0.05)},
    "vest": {"hem": (0.75, 1.08), "ease": (0.01, 0.02), "gap": (0.01, 0.05)},
    "pants": {"top": (0.66, 0.7), "legs": (1.6, 1.97), "ease": (0.003, 0.02)},
    "shorts": {"top": (0.66, 0.7), "legs": (0.4, 0.95), "ease": (0.008, 0.024)},
    "skirt": {"top": (0.6, 0.7), "hem": (1.4, 2.3), "flare": (0.0, 0.12)},
    "coat": {"hem": (1.4, 2.2), "sleeve": (1.9, 2.0), "ease": (0.018, 0.03), "gap": (0.01, 0.07)},
    "dress": {"hem": (1.45, 2.35), "sleeve": (-0.9, 2.0), "flare": (0.0, 0.12)},
    "jumpsuit": {"sleeve": (-0.5, 2.0), "legs": (0.6, 1.97), "ease": (0.005, 0.02)},
    "cape": {"hem": (0.75, 1.3), "ease": (0.05, 0.07), "flare": (0.05, 0.1)},
}
"""Bounds of a garment's measures. Levels of the trunk, 0 the neck and 1 the hips: `top`, `hem`. Shares of a limb, 1 the
elbow or knee: `sleeve` (none below 0.3), `legs`. Lengths: `ease` off the body, `flare` of the hem, half the `gap`."""


class Part(NamedTuple):
    """An accessory or a part of a garment; a figure wears at most one of each slot, as one would hide the other."""

    slot: str
    shapes: Sequence[npt.ArrayLike]
    """Outlines on the trunk, (distance to the spine, level); on limbs: start, end, and the distance off the skin."""
    limb: str = ""
    is_pair: bool = False  # whether each side has an instance of its own


_COLLAR = [(-0.03, -0.08), (-0.06, -0.02), (-0.065, 0.16), (0, 0.08), (0.065, 0.16), (0.06, -0.02), (0.03, -0.08)]
_NECKLINE = [(0.05, -0.04), (0.06, -0.02), (0, 0.22), (-0.06, -0.02), (-0.05, -0.04), (0, 0.14)]
_HAIR = [(1.1, -0.2), (0.8, -0.85), (0, -1.1), (-0.8, -0.85), (-1.1, -0.2), (-0.8, -0.5), (0, -0.75), (0.8, -0.5)]
_CANOPY = [(-4.5, -0.8), (-3.2, -2.1), (0, -2.8), (3.2, -2.1), (4.5, -0.8), (2.2, -1.1), (0, -0.8), (-2.2, -1.1)]
PARTS = {
    "hood": Part("behind", [on_head(oval(0, 0.25, 1.6, 1.7))]),
    "umbrella": Part("behind", [on_head(_CANOPY), on_head(box(2.6, 2.5, 0.12, 4))]),
    "tights, stockings": Part("legs", [(0, 2.5, 0.003)], "leg", True),
    "sock": Part("legs", [(1.6, 2.5, 0.005)], "leg", True),
    "leg warmer": Part("legs", [(1.4, 1.85, 0.016)], "leg", True),
    "shoe": Part("feet", [(1.95, 3, 0.009)], "leg", True),
    "zipper": Part("closure", [box(0, 0.5, 0.007, 0.35), box(0, 0.2, 0.012, 0.04)]),
    "pocket": Part("pocket", [box(0.05, 0.45, 0.022, 0.07)], is_pair=True),
    "applique": Part("decoration", [oval(0.04, 0.35, 0.035, 0.1)]),
    "bead": Part("decoration", [*row(0.26, 0.008, 0.024, 6), *row(0.33, 0.008, 0.024, 6)]),
    "bow": Part("decoration", [[(-0.06, 0.2), (0, 0.28), (0.06, 0.2), (0.06, 0.4), (0, 0.32), (-0.06, 0.4)]]),
    "flower": Part("decoration", [oval(0.045, 0.35, 0.045, 0.04), oval(0.045, 0.35, 0.013, 0.14)]),
    "fringe": Part("decoration", row(0.98, 0.005, 0.12, 9)),
    "ribbon": Part("decoration", [[(0.07, 0.05), (0.085, 0.08), (-0.06, 0.72), (-0.07, 0.62)]]),
    "rivet": Part("decoration", [*row(0.42, 0.007, 0.02, 4), *row(0.55, 0.007, 0.02, 4)]),
    "ruffle": Part("decoration", row(0.4, 0.02, 0.09, 5)),
    "sequin": Part("decoration", [dot for y in np.arange(0.2, 0.6, 0.08) for dot in row(y, 0.009, 0.028, 6)]),
    "tassel": Part("decoration", [[(0.045, 0.5), (0.055, 0.5), (0.07, 0.75), (0.03, 0.75)]], is_pair=True),
    "belt": Part("waist", [box(0, 0.73, 0.088, 0.045)]),
    "buckle": Part("buckle", [box(0, 0.73, 0.019, 0.06)]),
    "tie": Part("front", [[(-0.01, 0), (0.01, 0), (0.024, 0.6), (0, 0.68), (-0.024, 0.6)]]),
    "scarf": Part("front", [oval(0, 0, 0.065, 0.12), box(0.03, 0.4, 0.027, 0.36)]),
    "collar": Part("neck", [_COLLAR]),
    "lapel": Part("neck", [[(0.035, -0.04), (0.056, 0), (0.07, 0.24), (0.05, 0.3), (0.006, 0.6)]], is_pair=True),
    "neckline": Part("neck", [_NECKLINE]),
    "glasses": Part("eyes", [on_head(shape) for shape in (oval(-0.46, 0, 0.4, 0.32), oval(0.46, 0, 0.4, 0.32))]),
    "hat": Part("head", [on_head(box(0, -1.1, 1, 0.6)), on_head(oval(0, -0.5, 1.8, 0.25))]),
    "headband, head covering, hair accessory": Part("head", [on_head(_HAIR)]),
    "glove": Part("wrist", [(1.8, 3, 0.004)], "arm", True),
    "watch": Part("wrist", [(1.9, 1.96, 0.003)], "arm"),
    "epaulette": Part("shoulder", [box(0.08, 0.07, 0.028, 0.045)], is_pair=True),
    "bag, wallet": Part(
        "bag", [[(-0.065, 0.02), (-0.055, 0.01), (0.12, 0.9), (0.11, 0.92)], box(0.11, 1.05, 0.06, 0.2)]
    ),
}
"""Parts by category, all but sleeves; mirrored at random where they are no pair."""
_CHANCES = dict.fromkeys(("behind", "legs", "closure", "pocket", "buckle", "eyes", "wrist", "shoulder"), 0.4)
_CHANCES |= dict.fromkeys(("decoration", "waist", "neck", "head", "bag"), 0.6) | {"front": 0.8, "feet": 0.95}
CATEGORIES = tuple(name for names in FASHIONPEDIA_CATEGORIES.values() for name in names)
_SEWN_ON = [name for group in ("garment parts", "closures", "decorations") for name in FASHIONPEDIA_CATEGORIES[group]]
_LEVELS, _HALF_WIDTHS = (0.05, 0.2, 0.34, 0.62, 0.88, 1), (0.1, 0.096, 0.084, 0.068, 0.088, 0.092)  # of the trunk
_RADII = {"arm": (0.028, 0.024, 0.016, 0.013), "leg": (0.052, 0.041, 0.021, 0.017)}  # at joints and tip
# Angles of upper arm and forearm from straight down, outwards positive.
_ARMS = np.array([(0.17, 0.1), (0.17, 0.1), (0.72, -0.75), (0.95, 1.2), (0.3, -1.2), (1.7, 2.8)])


def random_colors(rng: np.random.Generator) -> Float64Array:
    """Return a colour and that of its stripes, (2, 3) RGB, 5 to 250: any, since colour must not reveal a class."""
    colors = np.clip(rng.uniform(20, 230, (2, 1)) + rng.normal(0, 45, (2, 3)), 5, 250)
    return colors if rng.random() < 0.4 else colors[[0, 0]]


class Canvas:
    """A photo of `height` x `width` pixels that is being drawn: the top layer of each pixel."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.top: UInt8Array = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), dtype=np.uint8)
        """Number of the topmost layer, below 128, at each point of the fine raster; 0 is the background."""
        self.owners: list[tuple[int, ...]] = [()]  # instances that each layer belongs to; none for skin and hair
        self.instances: list[str] = []  # the category of each
        self._colors: list[Float64Array] = [np.zeros((2, 3))]

    def paint(
        self, shapes: Sequence[Float64Array], colors: npt.ArrayLike, category: str = "", owners: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        """Paint outlines, (N, 2) photo pixels, as a layer over everything so far; return the instances it belongs to.

        These are `owners`, as a pocket is a part of its jacket, and, if there is a `category`, a new instance of it.
        """
        if category:
            owners = (*owners, len(self.instances))
            self.instances.append(category)
        for shape in shapes:
            points = np.clip(shape * SUPERSAMPLING - 0.5, -1e4, 3e4)  # OpenCV's pixels have whole numbers as centres
            cv2.fillPoly(self.top, [np.rint(points).astype(np.int32)], len(self.owners))
        self.owners.append(owners)
        self._colors.append(np.broadcast_to(colors, (2, 3)))
        return owners

    def render(self, background: UInt8Array, stripes: UInt8Array) -> UInt8Array:
        """Return the photo, (H, W, 3) uint8 RGB, from a background and stripes, 0 or 128, both on the fine raster."""
        table = np.zeros((2, 128, 3), dtype=np.uint8)
        table[:, : len(self._colors)] = np.swapaxes(self._colors, 0, 1)
        fine = cv2.LUT(cv2.merge([self.top | stripes] * 3), table.reshape(1, 256, 3))
        fine = cv2.copyTo(fine, self.top, background)
        edges = cv2.morphologyEx(self.top, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        depth = cv2.distanceTransform((edges == 0).astype(np.uint8), cv2.DIST_L2, 3) / np.float32(0.04 * len(edges))
        shade = np.where(self.top, np.minimum(0.5 + depth, 1), np.float32(1))
        size = (self.width, self.height)
        photo, light = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (fine, shade))
        return np.asarray(photo * light[..., None], np.uint8)

    def annotate(self) -> list[dict[str, Any]]:
        """Return what is visible of each instance as a row of COCO without ids; hidden instances are left out."""
        rows = []
        for number, category in enumerate(self.instances):
            table = np.array([255 * (number in owners) for owners in self.owners], dtype=np.uint8)
            segmentation = self._trace(np.asarray(cv2.LUT(self.top, np.resize(table, 256)), dtype=np.uint8))
            if segmentation:
                is_crowd = isinstance(segmentation, dict)
                runs = segmentation if is_crowd else coco.merge(coco.frPyObjects(segmentation, self.height, self.width))
                row = {"category_id": CATEGORIES.index(category), "attribute_ids": [], "segmentation": segmentation}
                size = {"area": int(coco.area(runs)), "bbox": coco.toBbox(runs).tolist(), "iscrowd": int(is_crowd)}
                rows.append(row | size)
        return rows

    def _trace(self, mask: UInt8Array) -> list[list[float]] | dict[str, Any]:
        """Return polygons, or compressed RLE where there is a hole."""
        contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        parts = []
        for contour, (_, _, _, parent) in zip(contours, tree[0] if contours else (), strict=True):
            if cv2.contourArea(contour) < SMALLEST * SUPERSAMPLING**2:
                continue
            if parent >= 0:
                coarse = cv2.resize(mask, (self.width, self.height), interpolation=cv2.INTER_AREA) >= 128
                counts = coco.encode(np.asfortranarray(coarse, dtype=np.uint8))["counts"]
                return {"size": [self.height, self.width], "counts": counts.decode("ascii")}
            outline = (cv2.approxPolyDP(contour, 0.7, True)[:, 0] + 0.5) / SUPERSAMPLING
            parts.append(outline.ravel().tolist())
        return parts


class Figure:
    """A person in a random pose, `height` photo pixels tall, with the `hips` at a photo position, (2,)."""

    def __init__(self, canvas: Canvas, hips: Float64Array, height: float, rng: np.random.Generator) -> None:
        self.canvas, self.hips, self.height, self.rng = canvas, hips, height, rng
        self.build, self.spread = rng.uniform(0.85, 1.2), rng.uniform(0, 0.16)
        self.neck = np.array((rng.normal(0, 0.012), -_TORSO))
        self.limbs = {}
        self.outermost: tuple[int, ...] = ()
        self.sleeves: list[tuple[float, Float64Array, tuple[int, ...]]] = []
        for side in SIDES:
            angles = _ARMS[rng.integers(len(_ARMS)), [0, 1, 1]] + rng.normal(0, 0.15, 3)
            bones = np.array((0.165, 0.14, 0.058))[:, None] * np.stack((side * np.sin(angles), np.cos(angles)), axis=1)
            shoulder = self.neck + np.array((side * 0.074 * self.build, 0.037))
            self.limbs["arm", side] = np.cumsum([shoulder, *bones], axis=0)
            leg = np.array([(0.048, 0.01), (0.048, 0.245), (0.048, 0.465), (0.09, 0.49)])
            self.limbs["leg", side] = (leg + np.outer((0, 1, 2, 2), (0.23 * self.spread, 0))) * (side, 1)

    def trunk(self, points: npt.ArrayLike) -> Float64Array:
        """Return points given as (distance to the spine, level) as photo positions."""
        x, level = np.asarray(points, dtype=np.float64).T
        spine = self.neck * np.maximum(1 - level, 0)[:, None]
        below = np.stack((x * self.build, np.maximum(level - 1, 0) * _TORSO), axis=1)
        return np.asarray(self.hips + self.height * (spine + below))

    def limb(self, name: str, side: int, start: float, stop: float, ease: float = 0.0) -> list[Float64Array]:
        """Return a stretch of an arm or a leg: 0 is its root, 1 elbow or knee, 2 wrist or ankle, 3 the tip."""
        shares = [start, *(joint for joint in (1, 2) if start < joint < stop), stop]
        x, y = (np.interp(shares, range(4), axis) for axis in self.limbs[name, side].T)
        radii = np.interp(shares, range(4), _RADII[name]) * self.build + ease
        circles = [self.hips + self.height * oval(*circle) for circle in zip(x, y, radii, radii, strict=True)]
        pairs = (np.concatenate(pair).astype(np.float32) for pair in pairwise(circles))
        return [cv2.convexHull(pair)[:, 0].astype(np.float64) for pair in pairs]

    def put_on(self, category: str) -> None:
        """Paint a garment in random colours and size; its sleeves are painted with the arms."""
        cut = {"top": 0.0, "hem": 1.0, "sleeve": 0.0, "legs": 0.0, "ease": 0.01, "flare": 0.0, "gap": 0.0}
        cut |= {name: float(self.rng.uniform(*bounds)) for name, bounds in CUTS[category].items()}
        top, hem = cut["top"], cut["hem"]
        levels = [top or 0.05, *(level for level in (0.2, 0.34, 0.62, 0.88, 1.3, 1.7) if top < level < hem - 0.05), hem]
        widths = np.interp(levels, _LEVELS, _HALF_WIDTHS) + cut["ease"] + np.square(levels) / hem**2 * cut["flare"]
        sides = zip(widths + np.maximum(np.array(levels) - 1, 0) * _TORSO * self.spread, levels, strict=True)
        neck = [(0, top)] if top else [(cut["gap"], self.rng.uniform(0.07, 0.18)), (0.045, -0.03)]
        half = [*neck, *sides, (cut["gap"], hem)]
        shapes = [self.trunk(np.multiply(half, (side, 1))) for side in SIDES]
        if cut["legs"]:
            shapes += [shape for side in SIDES for shape in self.limb("leg", side, 0, cut["legs"], cut["ease"])]
        colors = random_colors(self.rng)
        self.outermost = self.canvas.paint(shapes, colors, category)
        if cut["sleeve"] > 0.3:
            self.sleeves.append((cut["sleeve"], colors, self.outermost))

    def attach(self, *slots: str) -> None:
        """Paint the parts worn in `slots`, in random colours; what is sewn on belongs to the outermost garment."""
        for name in (self.worn[slot] for slot in slots if slot in self.worn):
            part, colors, scale = PARTS[name], random_colors(self.rng), self.rng.uniform(0.92, 1.08, 2)
            for side in SIDES if part.is_pair else (int(self.rng.choice(SIDES)),):
                if part.limb:
                    shapes = self.limb(part.limb, side, *np.asarray(part.shapes[0]))
                else:
                    shapes = [self.trunk(np.multiply(shape, scale * (side, 1))) for shape in part.shapes]
                self.canvas.paint(shapes, colors, name, self.outermost if name in _SEWN_ON else ())

    def dress(self, featured: str) -> None:
        """Paint the person, from behind to the front, in clothes with the category `featured` among them."""
        rng, paint = self.rng, self.canvas.paint
        slots = {slot: [name for name, part in PARTS.items() if part.slot == slot] for slot in _CHANCES}
        self.worn = {slot: str(rng.choice(names)) for slot, names in slots.items() if rng.random() < _CHANCES[slot]}
        self.worn |= {part.slot: name for name, part in PARTS.items() if name == featured}
        skin = np.array((84, 54, 38)) + rng.random() * np.array((156, 150, 140))
        hair, length = np.array((1, 0.8, 0.6)) * rng.uniform(20, 220), rng.uniform(0.2, 1.8)
        self.attach("behind")
        paint([self.trunk(on_head(oval(0, 0.7 * length - 0.2, 1.2, 0.8 + length)))], hair)
        paint([shape for side in SIDES for shape in self.limb("leg", side, 0, 3)], skin)
        paint([self.trunk(box(0, 0.58, 0.065, 0.52)), self.trunk(box(0, 0, 0.03, 0.3))], skin)
        self.attach("legs", "feet")
        for category in choose_garments("shorts" if featured in slots["legs"] else featured, rng):
            self.put_on(category)
        self.attach("closure", "pocket", "decoration", "waist", "buckle", "neck", "front")
        paint([self.trunk(on_head(oval(0, 0, 1, 1)))], skin)
        paint([self.trunk(on_head(oval(x, y, 0.2, 0.09))) for x, y in ((-0.4, 0), (0.4, 0), (0, 0.6))], skin * 0.3)
        paint([self.trunk(on_head(_HAIR))], hair)
        self.attach("eyes", "head")
        for side in SIDES:
            paint(self.limb("arm", side, 0, 3), skin)
            for stop, colors, owners in self.sleeves:
                paint(self.limb("arm", side, 0, stop, 0.006), colors, "sleeve", owners)
        self.attach("wrist", "shoulder", "bag")


def choose_garments(featured: str, rng: np.random.Generator) -> list[str]:
    """Return the garments that a figure wears, the innermost first."""
    upper, lower, whole = (FASHIONPEDIA_CATEGORIES[group] for group in ("upperbody", "lowerbody", "wholebody"))
    while True:
        options = [whole[1:3]] if rng.random() < 0.4 else [lower, upper[:3]]
        options += [(*upper[3:], whole[0], whole[3])] if rng.random() < 0.35 else []
        garments = [str(rng.choice(names)) for names in options]
        if featured in garments or featured not in CUTS:
            return garments
