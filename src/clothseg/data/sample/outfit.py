"""Chooses what a sample figure wears and puts it on in the right order, what lies underneath first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from clothseg.data.sample import accessories, trimmings
from clothseg.data.sample.body import SIDES
from clothseg.data.sample.clothes import WAIST, Garment, make_garment, put_on, put_on_sleeve, put_on_tights
from clothseg.data.sample.decorations import add_decoration
from clothseg.data.sample.fabric import cloth, leather
from clothseg.data.sample.figure import Figure
from clothseg.labels import FASHIONPEDIA_CATEGORIES

TOPS = ("shirt, blouse", "top, t-shirt, sweatshirt", "sweater")
BOTTOMS = ("pants", "shorts", "skirt")
ONE_PIECES = ("dress", "jumpsuit")
OUTERS = ("cardigan", "jacket", "vest", "coat", "cape")
CATEGORIES = tuple(name for names in FASHIONPEDIA_CATEGORIES.values() for name in names)

# How often a figure wears each, where nothing forbids it.
_CHANCES = {
    "glasses": 0.35,
    "hat": 0.35,
    "headband, head covering, hair accessory": 0.2,
    "tie": 0.5,
    "glove": 0.3,
    "watch": 0.5,
    "belt": 0.65,
    "leg warmer": 0.15,
    "tights, stockings": 0.35,
    "sock": 0.4,
    "shoe": 0.93,
    "bag, wallet": 0.5,
    "scarf": 0.22,
    "umbrella": 0.18,
    "hood": 0.3,
    "collar": 0.5,
    "lapel": 0.5,
    "epaulette": 0.2,
    "pocket": 0.5,
    "neckline": 0.7,
    "buckle": 0.75,
    "zipper": 0.5,
}


@dataclass
class Outfit:
    """What a figure wears: its garments by place, and the names of the rest."""

    top: Garment | None = None
    bottom: Garment | None = None
    one_piece: Garment | None = None
    outer: Garment | None = None
    extras: set[str] = field(default_factory=set)
    decorations: list[str] = field(default_factory=list)

    @property
    def inner(self) -> Garment:
        """The garment on the trunk beneath the outer one."""
        found = self.one_piece or self.top
        assert found is not None
        return found

    @property
    def garments(self) -> list[Garment]:
        """All garments, the innermost first."""
        return [one for one in (self.bottom, self.top, self.one_piece, self.outer) if one is not None]


def choose(figure: Figure, featured: str) -> Outfit:
    """Return a random outfit that has the Fashionpedia category `featured` in it."""
    rng = figure.rng

    def pick(options: Sequence[str]) -> Garment:
        return make_garment(figure, featured if featured in options else str(rng.choice(list(options))))

    outfit = Outfit()
    wants_two = featured in (*TOPS, *BOTTOMS, "leg warmer", "sock", "tie", "collar", "belt")
    if featured in ONE_PIECES or (not wants_two and rng.random() < 0.33):
        outfit.one_piece = pick(ONE_PIECES)
    else:
        outfit.bottom, outfit.top = pick(BOTTOMS), pick(TOPS)
    needs_outer = featured in (*OUTERS, "lapel", "epaulette", "hood")
    if needs_outer or rng.random() < 0.38:
        outfit.outer = pick(OUTERS if featured in OUTERS else ("coat", "jacket") if needs_outer else OUTERS)
    for name, chance in _CHANCES.items():
        if name == featured or rng.random() < chance:
            outfit.extras.add(name)
    decorations = tuple(FASHIONPEDIA_CATEGORIES["decorations"])
    count = int(rng.choice([0, 1, 2], p=[0.35, 0.5, 0.15]))
    outfit.decorations = [str(name) for name in rng.choice(decorations, count, replace=False)]
    if featured in decorations and featured not in outfit.decorations:
        outfit.decorations = [featured, *outfit.decorations[:1]]
    return _sensible(outfit, featured, rng)


def _sensible(outfit: Outfit, featured: str, rng: np.random.Generator) -> Outfit:
    """Take off what does not go together, but never what is featured."""
    extras = outfit.extras
    legs = max((one.legs for one in outfit.garments), default=0.0)
    if legs > 1.5:
        extras -= {"tights, stockings", "leg warmer"} - {featured}
        if outfit.bottom and featured in ("leg warmer", "sock", "tights, stockings"):
            outfit.bottom = replace(outfit.bottom, legs=0.6, flare=0.0)
    if "tights, stockings" in extras:
        extras -= {"sock"} - {featured}
    if "scarf" in extras:
        extras -= {"tie", "hood"} - {featured}
    if "hat" in extras:
        extras -= {"headband, head covering, hair accessory"} - {featured}
    if outfit.top is None or outfit.top.category != "shirt, blouse":
        extras -= {"tie"} - {featured, "tie" if rng.random() < 0.5 else ""}
    if featured == "buckle":
        extras.add("belt")
    if "umbrella" in extras and featured != "glove" and rng.random() < 0.5:
        extras.discard("glove")
    return outfit


def dress(figure: Figure, outfit: Outfit) -> None:
    """Paint a figure in its outfit, from behind to the front."""
    rng, extras = figure.rng, outfit.extras
    umbrella = figure.wear("umbrella"), cloth(rng, figure.height * 1.5)
    if "umbrella" in extras:
        accessories.hold_umbrella(figure, *umbrella, front=False)
    figure.paint_hair_behind()
    if "hood" in extras:
        host = (
            outfit.outer
            if outfit.outer and outfit.outer.category in ("coat", "jacket", "cape", "vest")
            else outfit.inner
        )
        trimmings.add_hood(figure, host, up=bool(rng.random() < 0.35 and "hat" not in extras))
    _dress_legs(figure, outfit)
    figure.paint_trunk()
    _dress_trunk(figure, outfit)
    arms_below = outfit.outer is not None and outfit.outer.category == "cape"
    if arms_below:
        _dress_arms(figure, outfit)
    if outfit.outer:
        _put_on_outer(figure, outfit, outfit.outer)
    _dress_neck(figure, outfit)
    _dress_head(figure, outfit)
    in_hand = rng.random() < 0.6
    if "bag, wallet" in extras and not in_hand:
        _trim_bag(figure, *accessories.put_on_shoulder_bag(figure))
    if not arms_below:
        _dress_arms(figure, outfit)
    if "epaulette" in extras:
        trimmings.add_epaulettes(figure, outfit.outer or outfit.inner)
    held = accessories.umbrella_hand(figure)[0] if "umbrella" in extras else int(rng.choice(SIDES))
    if "umbrella" in extras:
        accessories.hold_umbrella(figure, *umbrella, front=True)
    if "bag, wallet" in extras and in_hand:
        _trim_bag(figure, *accessories.carry_bag(figure, -held))


def _dress_legs(figure: Figure, outfit: Outfit) -> None:
    rng, extras = figure.rng, outfit.extras
    figure.paint_legs()
    if "tights, stockings" in extras:
        put_on_tights(figure, cloth(rng, figure.height * 0.5))
    if "sock" in extras:
        accessories.put_on_socks(figure, rng.choice([rng.uniform(0.12, 0.3), rng.uniform(0.5, 0.95)]))
    legs = max((one.legs for one in outfit.garments), default=0.0)
    long = legs > 1.5 or max(one.hem for one in outfit.garments) > 2.1
    if "shoe" in extras:
        boots = rng.uniform(0.25, 0.8) if not long and "sock" not in extras and rng.random() < 0.4 else 0.0
        for limb, owners in zip(figure.body.legs, accessories.put_on_shoes(figure, boots), strict=True):
            if rng.random() < 0.12:
                trimmings.add_buckle(figure, limb.end + (limb.tip - limb.end) * 0.35, owners, 0.01)
    if "leg warmer" in extras:
        accessories.put_on_leg_warmers(figure)


def _dress_trunk(figure: Figure, outfit: Outfit) -> None:
    rng, extras, inner = figure.rng, outfit.extras, outfit.inner
    tucked = rng.random() < 0.5
    order = [outfit.top, outfit.bottom] if tucked else [outfit.bottom, outfit.top]
    for garment in [one for one in order if one] + ([outfit.one_piece] if outfit.one_piece else []):
        put_on(figure, garment)
        if "pocket" in extras and rng.random() < 0.7:
            trimmings.add_pockets(figure, garment)
        if "zipper" in extras and garment.category in ("skirt", "dress", "jumpsuit", "sweater") and rng.random() < 0.4:
            trimmings.add_zipper(figure, garment)
    if inner.category == "shirt, blouse" and rng.random() < 0.8:
        trimmings.add_buttons(figure, inner)
    _decorate(figure, outfit)
    if "belt" in extras:
        level = WAIST + rng.uniform(0.0, 0.06) if outfit.one_piece else WAIST + rng.uniform(0.06, 0.16)
        owners = accessories.put_on_belt(figure, level, max(one.ease for one in outfit.garments))
        if "buckle" in extras:
            trimmings.add_buckle(
                figure, figure.body.torso(rng.normal(0, 0.006), level + 0.02), owners, rng.uniform(0.013, 0.02)
            )


def _decorate(figure: Figure, outfit: Outfit) -> None:
    covered = outfit.outer is not None
    for name in outfit.decorations:
        hosts = [outfit.bottom] if covered and outfit.bottom else [outfit.top, outfit.bottom, outfit.one_piece]
        worn = [one for one in hosts if one]
        add_decoration(figure, name, worn[int(figure.rng.integers(len(worn)))])


def _put_on_outer(figure: Figure, outfit: Outfit, outer: Garment) -> None:
    extras, rng = outfit.extras, figure.rng
    put_on(figure, outer)
    if "pocket" in extras and outer.category != "cape":
        trimmings.add_pockets(figure, outer)
    if "zipper" in extras and outer.category in ("jacket", "coat", "vest"):
        trimmings.add_zipper(figure, outer)
    elif rng.random() < 0.5:
        trimmings.add_buttons(figure, outer)
    if "lapel" in extras and outer.category in ("jacket", "coat", "vest"):
        trimmings.add_lapels(figure, outer)


def _dress_neck(figure: Figure, outfit: Outfit) -> None:
    extras, inner = outfit.extras, outfit.inner
    if "tie" in extras:
        accessories.put_on_tie(figure)
    if "collar" in extras and ("lapel" not in extras or outfit.outer is None):
        shirt_like = inner.category == "shirt, blouse" or outfit.outer is None
        trimmings.add_collar(figure, inner if shirt_like else outfit.outer or inner)
    elif "neckline" in extras and "tie" not in extras:
        trimmings.add_neckline(figure, inner)
    if "scarf" in extras:
        accessories.put_on_scarf(figure)


def _dress_head(figure: Figure, outfit: Outfit) -> None:
    figure.paint_head()
    if "glasses" in outfit.extras:
        accessories.put_on_glasses(figure)
    if "hat" in outfit.extras:
        accessories.put_on_hat(figure)
    elif "headband, head covering, hair accessory" in outfit.extras:
        accessories.put_on_headband(figure)


def _dress_arms(figure: Figure, outfit: Outfit) -> None:
    rng, extras = figure.rng, outfit.extras
    glove = leather(rng) if rng.random() < 0.5 else cloth(rng, figure.height)
    watch = int(rng.choice(SIDES))
    for side in SIDES:
        figure.paint_arm(side)
        put_on_sleeve(figure, outfit.inner, side)
        if outfit.outer:
            put_on_sleeve(figure, outfit.outer, side)
        if "glove" in extras:
            accessories.put_on_glove(figure, side, glove)
        elif "watch" in extras and side == watch:
            accessories.put_on_watch(figure, side)


def _trim_bag(figure: Figure, owners: tuple[int, ...], front: np.ndarray) -> None:
    if figure.rng.random() < 0.35:
        trimmings.add_buckle(figure, front, owners, 0.012)
