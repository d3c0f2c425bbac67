"""The parts of a sample figure's clothes: necklines, collars, lapels, hoods, pockets, zippers, buckles."""

from __future__ import annotations

import numpy as np

from clothseg.data.sample.body import SIDES
from clothseg.data.sample.clothes import HIPS, Garment, neck_line
from clothseg.data.sample.colors import cloth_color, second_color
from clothseg.data.sample.fabric import Fabric, metal
from clothseg.data.sample.figure import Figure
from clothseg.data.sample.shapes import Points, box, ellipse, ribbon, rotate, smooth, xy


def add_neckline(figure: Figure, garment: Garment) -> None:
    """Paint the band around a neckline."""
    fabric = plain_trim(figure, garment)
    owners = figure.wear("neckline", *garment.owners)
    figure.paint(
        [ribbon(neck_line(figure.body, garment), figure.rng.uniform(0.006, 0.01))], fabric, owners, bulge=0.008
    )


def add_collar(figure: Figure, garment: Garment) -> None:
    """Paint the two wings of a collar as one instance."""
    body, rng = figure.body, figure.rng
    tip, low = rng.uniform(0.045, 0.07), rng.uniform(0.13, 0.2)
    shapes = []
    for side in SIDES:
        outline = [(0.042, -0.06), (0.058, 0.03), (tip, low), (0.004, 0.085), (0.028, 0.02)]
        shapes.append(np.array([body.torso(side * x, level) for x, level in outline]))
    figure.paint(shapes, plain_trim(figure, garment), figure.wear("collar", *garment.owners), bulge=0.012, shadow=0.5)


def add_lapels(figure: Figure, garment: Garment) -> None:
    """Paint a lapel on each side of a jacket's or coat's front."""
    body, rng = figure.body, figure.rng
    wide, low = rng.uniform(0.055, 0.075), rng.uniform(0.45, 0.65)
    for side in SIDES:
        edge = garment.opening * 0.75
        outline = [(0.035, -0.04), (0.056, 0.02), (wide, 0.2), (wide * 0.72, 0.22), (wide * 0.78, 0.28), (edge, low)]
        outline.append((0.014 + edge * 0.5, 0.1))
        shape = np.array([body.torso(side * x, level) for x, level in outline])
        owners = figure.wear("lapel", *garment.owners)
        figure.paint([shape], garment.fabric, owners, bulge=0.012, shadow=0.5, angle=side * 0.2)


def add_epaulettes(figure: Figure, garment: Garment) -> None:
    """Paint a strap on each shoulder."""
    body, fabric = figure.body, plain_trim(figure, garment)
    half = figure.rng.uniform(0.009, 0.014)
    for side in SIDES:
        line = [body.torso(side * 0.058, 0.035), body.torso(side * (body.half_width(0.05) - 0.004), 0.062)]
        owners = figure.wear("epaulette", *garment.owners)
        figure.paint([ribbon(line, half)], fabric, owners, bulge=0.008, shadow=0.5)


def add_hood(figure: Figure, garment: Garment, *, up: bool) -> None:
    """Paint a hood behind the head: over the hair when `up`, else hanging around the neck."""
    body = figure.body
    owners = figure.wear("hood", *garment.owners)
    if up:
        half = [(0.0, -1.5), (1.0, -1.2), (1.45, -0.3), (1.4, 0.7), (0.9, 1.6)]
        shape = smooth(figure.on_face(half + [(-x, y) for x, y in half[:0:-1]]))
    else:
        half = [(0.0, -0.2), (0.06, -0.18), (0.088, -0.04), (0.07, 0.1), (0.0, 0.14)]
        shape = smooth([body.torso(x, y) for x, y in half + [(-x, y) for x, y in half[3:0:-1]]])
    figure.paint([shape], garment.fabric, owners, bulge=0.03)


def add_pockets(figure: Figure, garment: Garment) -> None:
    """Paint patch pockets on the chest, the hips or the thighs."""
    body, rng = figure.body, figure.rng
    fabric = garment.fabric if rng.random() < 0.6 else plain_trim(figure, garment)
    if garment.category in ("pants", "shorts", "skirt"):
        x, level = 0.052, 0.98
    elif garment.hem > 1.2:
        x, level = 0.07, 1.1
    else:
        x, level = (0.05, 0.3) if rng.random() < 0.5 else (0.055, min(garment.hem, HIPS) - 0.16)
    half = (rng.uniform(0.018, 0.027), rng.uniform(0.02, 0.032))
    tilt = rng.uniform(-0.25, 0.25)
    for side in SIDES if rng.random() < 0.75 else (1,):
        center = body.torso(side * x, level)
        flap = center + rotate(np.array([(-half[0], -half[1] * 0.45), (half[0], -half[1] * 0.45)]), side * tilt)
        owners = figure.wear("pocket", *garment.owners)
        shape = box(center, half, angle=side * tilt)
        figure.paint([shape], fabric, owners, bulge=0.012, shadow=0.6, angle=side * tilt, creases=[flap])


def add_zipper(figure: Figure, garment: Garment) -> None:
    """Paint a zipper down the front, or at one edge of an open front."""
    body = figure.body
    start = garment.neck[1] + 0.05 if garment.category not in ("pants", "shorts", "skirt") else 0.72
    stop = 0.95 if garment.category in ("pants", "shorts", "skirt") else min(garment.hem, 1.1) - 0.03
    shift = garment.opening * 0.85
    owners = figure.wear("zipper", *garment.owners)
    line = [body.torso(shift * (0.6 + 0.4 * level), level) for level in np.linspace(start, stop, 4)]
    teeth = Fabric(metal(figure.rng).color, gloss=0.6, grain=0.2, folds=0.0)
    figure.paint([ribbon(line, figure.rng.uniform(0.004, 0.0065))], teeth, owners, bulge=0.004, shadow=0.6)
    figure.paint([box(line[0] + xy(0, 0.014), (0.005, 0.012))], metal(figure.rng), owners, bulge=0.005, shadow=0.4)


def add_buckle(figure: Figure, center: Points, owners: tuple[int, ...], size: float) -> None:
    """Paint a buckle: a frame of metal and its prong."""
    rng = figure.rng
    mine = figure.wear("buckle", *owners)
    half = (size, size * rng.uniform(0.75, 1.05))
    shape = box(center, half) if rng.random() < 0.7 else ellipse(center, half)
    figure.paint([shape], metal(rng), mine, bulge=0.008, shadow=0.5)
    dark = Fabric(np.array((46, 38, 34), np.float32), folds=0.0)
    inner = center + (shape - center) * 0.58
    figure.paint([inner], dark, mine, bulge=0.0, shadow=0.0)
    prong = ribbon([center - xy(size * 0.8, 0), center + xy(size * 0.9, 0)], size * 0.14)
    figure.paint([prong], metal(rng), mine, bulge=0.0, shadow=0.0)


def add_buttons(figure: Figure, garment: Garment) -> None:
    """Paint buttons; Fashionpedia does not outline them, so they belong to the garment alone."""
    body, rng = figure.body, figure.rng
    fabric = Fabric(cloth_color(rng), gloss=0.5, folds=0.0)
    shift = garment.opening * 0.9
    levels = np.linspace(garment.neck[1] + 0.08, min(garment.hem, 1.1) - 0.06, int(rng.integers(4, 7)))
    spots = [ellipse(body.torso(shift + 0.006, level), (0.0045, 0.0045), count=12) for level in levels]
    figure.paint(spots, fabric, garment.owners, bulge=0.003, shadow=0.5)


def plain_trim(figure: Figure, garment: Garment) -> Fabric:
    """Return the garment's own cloth, or a plain one that differs from it."""
    if figure.rng.random() < 0.4:
        return garment.fabric
    return Fabric(second_color(figure.rng, garment.fabric.color), grain=0.03, folds=0.05)
