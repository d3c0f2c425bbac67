"""Chooses what a sample figure wears, and puts it on in the right order, what lies underneath first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clothseg.data.sample.canvas import Cloth, Points, band, box, ellipse, smooth
from clothseg.data.sample.clothes import Garment, Instance
from clothseg.data.sample.figure import SIDES, WAIST, Figure
from clothseg.garment_names import FASHIONPEDIA_CATEGORIES

TOPS = ("shirt, blouse", "top, t-shirt, sweatshirt", "sweater")
BOTTOMS = ("pants", "shorts", "skirt")
ONE_PIECES = ("dress", "jumpsuit")
OUTERS = ("cardigan", "jacket", "vest", "coat", "cape")
CATEGORIES = tuple(name for names in FASHIONPEDIA_CATEGORIES.values() for name in names)
HEADBAND = "headband, head covering, hair accessory"

_CHANCES = dict.fromkeys(("glasses", "hat", HEADBAND, "tie", "glove", "sock", "tights, stockings"), 0.35)
_CHANCES |= dict.fromkeys(("watch", "bag, wallet", "collar", "lapel", "pocket", "zipper"), 0.5)
_CHANCES |= dict.fromkeys(("leg warmer", "scarf", "umbrella", "hood", "epaulette"), 0.2)
_CHANCES |= {"shoe": 0.93, "belt": 0.6, "neckline": 0.7, "buckle": 0.75}
"""How often a figure wears each accessory, part and closure, where nothing forbids it."""
_FORBIDS = {
    "hat": (HEADBAND,),
    "scarf": ("tie", "hood"),
    "tie": ("scarf",),
    "collar": ("scarf", "hood"),
    "neckline": ("scarf", "collar", "tie"),
    "lapel": ("scarf", "collar"),
    HEADBAND: ("hat",),
    "sock": ("tights, stockings", "leg warmer"),
    "tights, stockings": ("leg warmer",),
    "watch": ("glove",),
}
"""What may not be worn with a featured category, a hat or a scarf, because one would cover the other."""


@dataclass
class Outfit:
    """What a figure wears."""

    inner: list[Garment]
    """A one-piece, or a bottom and a top; the last covers the chest."""
    outer: Garment | None
    extras: set[str]
    """Names of accessories, parts and closures."""
    decorations: list[str]

    @property
    def garments(self) -> list[Garment]:
        """All garments, the innermost first."""
        return [*self.inner, *([self.outer] if self.outer else [])]


def choose(figure: Figure, featured: str) -> Outfit:
    """Return a random outfit that has the Fashionpedia category `featured` in it."""
    rng = figure.rng

    def pick(options: Sequence[str]) -> Garment:
        return Garment.make(figure, featured if featured in options else str(rng.choice(options)))

    shows_legs = featured in ("leg warmer", "sock", "tights, stockings")
    if featured in ONE_PIECES or (featured not in (*TOPS, *BOTTOMS) and not shows_legs and rng.random() < 0.45):
        inner = [pick(ONE_PIECES)]
    else:
        inner = [pick(("shorts",) if shows_legs else BOTTOMS), pick(TOPS)]
    needs_outer = featured in (*OUTERS, "lapel")
    outer = pick(OUTERS if featured in OUTERS else OUTERS[1:4]) if needs_outer or rng.random() < 0.35 else None
    extras = {name for name, chance in _CHANCES.items() if rng.random() < chance} | {featured}
    extras |= {"belt"} if featured == "buckle" else set()
    decorations = [str(name) for name in rng.choice(FASHIONPEDIA_CATEGORIES["decorations"], 2, replace=False)]
    decorations = decorations[: int(rng.choice(3, p=[0.35, 0.5, 0.15]))]
    if featured in FASHIONPEDIA_CATEGORIES["decorations"] and featured not in decorations:
        decorations = [featured, *decorations[:1]]
    for name in (featured, "hat", "scarf"):
        if name in extras:
            extras -= set(_FORBIDS.get(name, ())) - {featured}
    return Outfit(inner, outer, extras, decorations)


def dress(figure: Figure, outfit: Outfit) -> None:
    """Paint a figure in its outfit, from behind to the front."""
    rng, extras, outer, chest = figure.rng, outfit.extras, outfit.outer, outfit.inner[-1]
    umbrella, umbrella_cloth = figure.canvas.instance("umbrella"), Cloth.random(rng)
    shaft, canopy = _umbrella(figure)
    if "umbrella" in extras:
        figure.paint(canopy, umbrella_cloth, umbrella)
    figure.paint_hair()
    if "hood" in extras:
        (outer or chest).sew_on("hood")
    figure.paint_skin()
    for name in ("tights, stockings", "sock", "shoe", "leg warmer"):
        _wear(figure, outfit, name)
    is_tucked = rng.random() < 0.5
    for garment in outfit.inner[::-1] if is_tucked else outfit.inner:
        garment.put_on()
        _sew_on(garment, extras, "pocket", "zipper")
    for name in outfit.decorations:
        (outfit.inner[0] if outer else outfit.inner[rng.integers(len(outfit.inner))]).sew_on(name)
    _wear(figure, outfit, "belt")
    has_cape = outer is not None and outer.category == "cape"
    if has_cape:
        _dress_arms(figure, outfit)
    if outer:
        outer.put_on()
        _sew_on(outer, extras, "pocket", "zipper", "lapel")
    _wear(figure, outfit, "tie")
    _sew_on(chest, extras, "collar" if "collar" in extras else "neckline")
    _wear(figure, outfit, "scarf")
    figure.paint_head()
    for name in ("glasses", HEADBAND, "hat"):
        _wear(figure, outfit, name)
    if not has_cape:
        _dress_arms(figure, outfit)
    _sew_on(outer or chest, extras, "epaulette")
    if "umbrella" in extras:
        figure.paint(shaft, umbrella_cloth, umbrella)
    _wear(figure, outfit, "bag, wallet")


def _sew_on(garment: Garment, extras: set[str], *names: str) -> None:
    for name in names:
        if name in extras and not (name == "lapel" and garment.category in ("cape", "cardigan")):
            garment.sew_on(name)


def _wear(figure: Figure, outfit: Outfit, name: str) -> None:
    """Paint the instances of an accessory, where the outfit has it, in one cloth; belts and bags may have a buckle."""
    if name not in outfit.extras:
        return
    cloth = Cloth.random(figure.rng)
    for shapes in _accessory(figure, name):
        owners = figure.canvas.instance(name)
        figure.paint(shapes, cloth, owners)
        if name in ("belt", "bag, wallet") and "buckle" in outfit.extras:
            _add_buckle(figure, np.asarray(shapes[-1]).mean(axis=0), owners)


def _add_buckle(figure: Figure, center: np.ndarray, owners: tuple[int, ...]) -> None:
    buckle, size = figure.canvas.instance("buckle", *owners), figure.rng.uniform(0.016, 0.024)
    metal = ((226, 190, 90), (215, 215, 220), (150, 120, 60))
    figure.paint([box(center, size, size * 0.9)], Cloth.plain(metal[figure.rng.integers(3)]), buckle)
    figure.paint([box(center, size * 0.55, size * 0.5)], Cloth.plain((46, 38, 34)), buckle)


def _dress_arms(figure: Figure, outfit: Outfit) -> None:
    glove, strap = Cloth.random(figure.rng), Cloth.random(figure.rng)
    watched = figure.rng.choice(SIDES)
    for side in SIDES:
        limb = figure.arms[max(side, 0)]
        figure.paint_arm(side)
        for garment in outfit.garments:
            garment.put_on_sleeve(side)
        if "glove" in outfit.extras:
            shapes = [figure.hand(side, 0.003), *limb.part(1.7, 2.0, 0.021)]
            figure.paint(shapes, glove, figure.canvas.instance("glove"))
        elif "watch" in outfit.extras and side == watched:
            shapes = [*limb.part(1.84, 1.94, 0.018), ellipse(limb.at(1.89), 0.016, 0.016)]
            figure.paint(shapes, strap, figure.canvas.instance("watch"))


def _accessory(figure: Figure, name: str) -> list[Instance]:
    """Return the instances of an accessory; gloves, watches and umbrellas are painted with the arms."""
    rng = figure.rng
    match name:
        case "tights, stockings":
            return [[shape for side in SIDES for shape in (*figure.leg(side, 0, 2, 0.001), figure.foot(side, 0.017))]]
        case "sock":
            start = 2 - rng.uniform(0.2, 0.95)
            return [[*figure.leg(side, start, 2, 0.002), figure.foot(side, 0.018)] for side in SIDES]
        case "leg warmer":
            start, ease = rng.uniform(1.1, 1.4), rng.uniform(0.01, 0.018)
            return [figure.leg(side, start, 1.9, ease) for side in SIDES]
        case "shoe":
            thick, boot = rng.uniform(0.023, 0.03), rng.choice([0.0, 0.0, rng.uniform(0.25, 0.8)])
            return [[figure.foot(side, thick), *figure.leg(side, 2 - boot, 2, 0.006)] for side in SIDES]
        case "belt":
            level, half_width = WAIST + rng.uniform(0.02, 0.14), rng.uniform(0.01, 0.017)
            reach = figure.half_width(level, 1) + 0.018
            line = [(x * reach, level + 0.03 * (1 - x * x)) for x in (-1, -0.5, 0, 0.5, 1)]
            return [[band(figure.torso(line), half_width)]]
        case "tie":
            half = [(-0.045, 0.0), (0.0, 0.05), (0.045, 0.0), (0.045, 0.12), (0.0, 0.07), (-0.045, 0.12)]
            if rng.random() >= 0.25:
                end, wide = rng.uniform(0.5, 0.85), rng.uniform(0.016, 0.024)
                half = [(0.014, 0.02), (0.009, 0.1), (wide, end - 0.06), (0.0, end)]
                half += [(-x, level) for x, level in half[2::-1]]
            return [[figure.torso(half)]]
        case "scarf":
            side, length, wide = rng.choice(SIDES), rng.uniform(0.45, 1.0), rng.uniform(0.022, 0.032)
            wrap = figure.torso([(x * 0.062, 0.02 + 0.09 * (1 - x * x)) for x in (-1, -0.6, 0, 0.6, 1)])
            hanging = figure.torso([(side * 0.03, 0.02), (side * 0.045, 0.3 * length), (side * 0.04, length)])
            return [[band(wrap, 0.022, 0.03, 0.022, round_ends=True), band(hanging, wide)]]
        case "bag, wallet":
            return _bag(figure)
        case _:
            return [[figure.on_face(shape) for shape in _on_head(figure, name)]]


def _on_head(figure: Figure, name: str) -> list[Points]:
    """Return what is worn on the head, in radii of the head from its centre."""
    rng = figure.rng
    if name == "hat":
        high, wide = rng.uniform(1.4, 1.9), rng.uniform(0.95, 1.3)
        half = [(0.0, -high), (wide * 0.75, -high * 0.95), (wide, -0.9), (1.15, -0.4), (0.0, -0.45)]
        brim = ellipse((rng.uniform(-0.3, 0.3), -0.5), rng.uniform(1.2, 2.3), rng.uniform(0.15, 0.35))
        return [smooth(half + [(-x, y) for x, y in half[3:0:-1]]), brim]
    if name == "glasses":
        wide, tall = rng.uniform(0.36, 0.46), rng.uniform(0.26, 0.38)
        lens = box if rng.random() < 0.5 else ellipse
        return [*(lens((side * 0.46, 0.05), wide, tall) for side in SIDES), box((0, -0.02), 1.02, 0.06)]
    top = rng.uniform(-1.1, -0.7)
    line = [(-1.08, -0.3), (-0.75, top * 0.85), (0.0, top), (0.75, top * 0.85), (1.08, -0.3)]
    return [band(line, rng.uniform(0.16, 0.26))]


def _bag(figure: Figure) -> list[Instance]:
    """Return a bag that hangs from a shoulder, or from a hand."""
    rng, side = figure.rng, int(figure.rng.choice(SIDES))
    wide, tall, half = rng.uniform(0.05, 0.085), rng.uniform(0.05, 0.12), rng.uniform(0.005, 0.01)
    if rng.random() < 0.5:
        limb, drop = figure.arms[max(side, 0)], rng.uniform(0.05, 0.1)
        hand = (limb.end + limb.tip) / 2
        top = np.add(hand, (0, drop))
        straps = [band([np.add(top, (x * wide * 0.8, 0)), hand], half) for x in SIDES]
    else:
        start, top = figure.torso([(-side * 0.06, 0.03), (side * rng.uniform(0.09, 0.14), rng.uniform(0.8, 1.15))])
        straps = [band([start, top], half)]
    slant = wide + rng.uniform(-0.012, 0.018)
    outline = [(-wide, 0), (wide, 0), (slant, tall * 0.6), (slant, tall), (-slant, tall), (-slant, tall * 0.6)]
    return [[*straps, top + smooth(outline)]]


def _umbrella(figure: Figure) -> tuple[Instance, Instance]:
    """Return the shaft of an umbrella in the higher hand, and its canopy above the head."""
    hand = min((limb.tip for limb in figure.arms), key=lambda tip: float(tip[1]))
    peak = figure.head + ((hand - figure.head) * 0.6 * (1, 0) - (0, figure.rng.uniform(0.16, 0.24)))
    radius = figure.rng.uniform(0.24, 0.32)
    dome = [(np.cos(turn), -0.6 * np.sin(turn)) for turn in np.linspace(0, np.pi, 13)]
    hem = [(x, -0.09 * (number % 2)) for number, x in enumerate(np.linspace(-1, 1, 13))]
    return [band([hand, peak], 0.005)], [peak + np.array([*dome, *hem[1:-1]]) * radius + (0, 0.6 * radius)]
