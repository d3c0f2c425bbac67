"""The ten kinds of decoration that lie upon a sample figure's clothes, from appliques to tassels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clothseg.data.sample.body import SIDES
from clothseg.data.sample.clothes import WAIST, Garment, half_width, neck_line
from clothseg.data.sample.colors import second_color
from clothseg.data.sample.fabric import Fabric, cloth, metal
from clothseg.data.sample.figure import Figure
from clothseg.data.sample.shapes import Points, ellipse, mix, ribbon, rotate, smooth, star, xy
from clothseg.data.sample.trimmings import plain_trim


def add_decoration(figure: Figure, name: str, garment: Garment) -> None:
    """Paint one of Fashionpedia's ten decorations upon a garment."""
    DECORATIONS[name](figure, garment, figure.wear(name, *garment.owners))


def _contrast(figure: Figure, garment: Garment, gloss: float = 0.0) -> Fabric:
    return Fabric(second_color(figure.rng, garment.fabric.color), gloss=gloss, grain=0.02, folds=0.05)


def _has_trunk(garment: Garment) -> bool:
    return garment.category not in ("pants", "shorts", "skirt")


def _spot(figure: Figure, garment: Garment) -> Points:
    """Return a place for something small: on the chest, or on the thigh where there is no chest."""
    side = figure.rng.choice(SIDES)
    if _has_trunk(garment):
        return figure.body.torso(float(side) * figure.rng.uniform(0.035, 0.055), figure.rng.uniform(0.2, 0.38))
    return figure.body.torso(float(side) * 0.055, 1.15)


def _hem_line(figure: Figure, garment: Garment) -> Points:
    """Return the lower edge of a garment from left to right; that of trousers is their waist."""
    body = figure.body
    level = garment.hem - 0.02 if garment.category not in ("pants", "shorts", "jumpsuit") else WAIST + 0.1
    left, right = (half_width(body, garment, level, side) - 0.004 for side in SIDES)
    points = [body.torso(x, level) for x in (-left, -left / 2, 0.0, right / 2, right)]
    sag = [xy(0, 0.02 * share) for share in (0.0, 0.75, 1.0, 0.75, 0.0)]
    return np.array(points) + np.array(sag)


def _applique(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng = figure.rng
    center = figure.body.torso(0, rng.uniform(0.3, 0.42)) if _has_trunk(garment) else _spot(figure, garment)
    radius = rng.uniform(0.022, 0.045) if _has_trunk(garment) else 0.022
    heart = np.array([(0, 0.9), (-0.95, -0.1), (-0.5, -0.75), (0, -0.35), (0.5, -0.75), (0.95, -0.1)])
    shapes = (star(center, radius), center + smooth(heart) * radius, smooth(star(center, radius, tips=4, inner=0.7)))
    figure.paint([shapes[rng.integers(3)]], _contrast(figure, garment), owners, bulge=0.012)


def _beads(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng, shapes = figure.rng, []
    line = neck_line(figure.body, garment) if _has_trunk(garment) else _hem_line(figure, garment)
    path = smooth(line, closed=False, steps=5)
    for row in range(int(rng.integers(2, 4))):
        shapes += [ellipse(point + xy(0, 0.016 + 0.013 * row), (0.0062, 0.0062), count=14) for point in path[2:-2]]
    figure.paint(shapes, _contrast(figure, garment, 0.6), owners, bulge=0.006, shadow=0.5)


def _bow(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng = figure.rng
    center = figure.body.torso(
        0, garment.neck[1] + 0.06 if rng.random() < 0.5 and _has_trunk(garment) else WAIST + 0.06
    )
    size = rng.uniform(0.028, 0.05)
    wing = np.array([(0.05, 0.0), (0.7, -0.6), (1.1, -0.4), (1.1, 0.4), (0.7, 0.55)])
    tail = np.array([(0.0, 0.1), (0.25, 0.1), (0.75, 1.4), (0.35, 1.3)])
    fabric = _contrast(figure, garment, 0.2)
    shapes = [smooth(wing, steps=4), smooth(wing * (-1, 1), steps=4), tail, tail * (-1, 1)]
    figure.paint([center + shape * size for shape in shapes], fabric, owners, bulge=0.014, shadow=0.5)
    figure.paint([ellipse(center, (size * 0.24, size * 0.3))], fabric, owners, bulge=0.01, shadow=0.4)


def _flowers(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng, fabric = figure.rng, _contrast(figure, garment)
    spot, radius = _spot(figure, garment), rng.uniform(0.016, 0.026)
    steps = rng.uniform(-1.4, 1.4, (int(rng.integers(1, 4)), 2)) * radius
    centers = [spot + step * number for number, step in enumerate(steps)]
    for center in centers:
        petals = [
            center + rotate(ellipse(np.array([0.6, 0.0]), (0.5, 0.34), count=16), turn) * radius
            for turn in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
        ]
        figure.paint(petals, fabric, owners, bulge=0.008, shadow=0.5)
    hearts = [ellipse(center, (radius * 0.35, radius * 0.35), count=14) for center in centers]
    figure.paint(hearts, Fabric(np.array((236, 200, 80), np.float32), folds=0.0), owners, bulge=0.005, shadow=0.0)


def _fringe(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng, edge = figure.rng, smooth(_hem_line(figure, garment), closed=False, steps=9)
    long = rng.uniform(0.03, 0.07)
    ends = [long * (1.0 if number % 2 else 0.55) * rng.uniform(0.85, 1.15) for number in range(len(edge))]
    lower = np.array([point + xy(rng.normal(0, 0.002), end) for point, end in zip(edge, ends, strict=True)])
    strands = [np.array([top, bottom]) for top, bottom in zip(edge[::2], lower[::2], strict=True)]
    shape = np.concatenate((edge - xy(0, 0.006), lower[::-1]))
    figure.paint([shape], _contrast(figure, garment), owners, bulge=0.014, shadow=0.5, creases=strands)


def _ribbon(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    body, rng = figure.body, figure.rng
    top = WAIST if not _has_trunk(garment) or rng.random() < 0.5 else 0.3
    reach, half = half_width(body, garment, top, 1), rng.uniform(0.006, 0.01)
    around = [body.torso(x * reach, top + 0.02 * (1 - x * x)) for x in (-1.0, -0.4, 0.2, 1.0)]
    knot, fall = body.torso(0.2 * reach, top + 0.02), rng.uniform(0.08, 0.16)
    ends = [[knot, knot + xy(x * 0.3, fall * 0.5), knot + xy(x, fall)] for x in (-0.02, 0.035)]
    figure.paint([ribbon(line, half) for line in (around, *ends)], _contrast(figure, garment, 0.3), owners, bulge=0.01)


def _rivets(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    body, rng = figure.body, figure.rng
    if _has_trunk(garment):
        spots = [
            body.torso(side * (0.05 + 0.014 * k), 0.09 + 0.05 * row)
            for side in SIDES
            for k in range(3)
            for row in range(2)
        ]
    else:
        spots = [body.torso(side * (0.04 + 0.015 * k), 0.86 + 0.04 * k) for side in SIDES for k in range(3)]
    radius = rng.uniform(0.0055, 0.0075)
    figure.paint(
        [ellipse(spot, (radius, radius), count=12) for spot in spots], metal(rng), owners, bulge=0.006, shadow=0.6
    )


def _ruffle(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng = figure.rng
    at_neck = _has_trunk(garment) and rng.random() < 0.5
    path = smooth(
        neck_line(figure.body, garment) + xy(0, 0.015) if at_neck else _hem_line(figure, garment), closed=False, steps=8
    )
    deep = rng.uniform(0.018, 0.035)
    lower = path + np.stack((np.zeros(len(path)), deep * (1 + 0.35 * np.sin(np.arange(len(path)) * 1.6))), axis=1)
    folds = [np.array([top, bottom]) for top, bottom in zip(path[::3], lower[::3], strict=True)]
    shape = np.concatenate((path, lower[::-1]))
    figure.paint([shape], plain_trim(figure, garment), owners, bulge=0.012, shadow=0.6, creases=folds)


def _sequins(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    body, rng = figure.body, figure.rng
    fabric = cloth(rng, figure.height, patterns=("sequins",))
    if _has_trunk(garment):
        low = rng.uniform(0.4, 0.58)
        edge = [(0.055, 0.16), (0.07, 0.3), (0.05, low), (0.0, low + 0.03)]
    else:
        edge = [(0.05, 0.75), (0.07, 0.9), (0.06, 1.05), (0.0, 1.08)]
    outline = [body.torso(x, level) for x, level in edge + [(-x, level) for x, level in edge[2::-1]]]
    figure.paint([smooth(outline)], fabric, owners, bulge=0.02, shadow=0.2)


def _tassels(figure: Figure, garment: Garment, owners: tuple[int, ...]) -> None:
    rng, fabric = figure.rng, _contrast(figure, garment)
    line = _hem_line(figure, garment)
    tops = [line[1], line[3]] if rng.random() < 0.5 else [mix(line[1], line[2], 0.5)]
    long = rng.uniform(0.04, 0.07)
    for top in tops:
        cord = ribbon([top - xy(0, 0.035), top], 0.0035)
        bell = np.array(
            [
                (-0.006, 0.0),
                (0.006, 0.0),
                (0.014, long),
                (0.007, long * 0.93),
                (0, long),
                (-0.007, long * 0.93),
                (-0.014, long),
            ]
        )
        strands = [top + np.array([(0, 0.01), (x, long)]) for x in (-0.007, 0.0, 0.007)]
        figure.paint([cord, top + bell], fabric, owners, bulge=0.01, shadow=0.5, creases=strands)
        figure.paint([ellipse(top, (0.0085, 0.0085), count=16)], fabric, owners, bulge=0.006, shadow=0.3)


DECORATIONS: dict[str, Callable[[Figure, Garment, tuple[int, ...]], None]] = {
    "applique": _applique,
    "bead": _beads,
    "bow": _bow,
    "flower": _flowers,
    "fringe": _fringe,
    "ribbon": _ribbon,
    "rivet": _rivets,
    "ruffle": _ruffle,
    "sequin": _sequins,
    "tassel": _tassels,
}
