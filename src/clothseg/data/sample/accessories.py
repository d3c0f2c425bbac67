"""What a sample figure wears besides clothes: shoes, hats, glasses, ties, scarves, belts, gloves, bags, umbrellas."""

from __future__ import annotations

import numpy as np

from clothseg.data.sample.body import SIDES
from clothseg.data.sample.colors import cloth_color
from clothseg.data.sample.fabric import Fabric, cloth, leather, metal
from clothseg.data.sample.figure import Figure, foot_shape, hand_shapes, leg_shapes
from clothseg.data.sample.shapes import Points, box, direction, ellipse, mix, ribbon, rotate, smooth, tube, xy


def put_on_socks(figure: Figure, length: float) -> None:
    """Paint a sock on each foot; `length` is how far it reaches up, 0 the ankle, 1 the knee."""
    fabric = cloth(figure.rng, figure.height * 0.5)
    for limb in figure.body.legs:
        shapes = [*leg_shapes(figure.body, limb, 2 - length, 2.0, 0.002), foot_shape(limb, 0.018)]
        figure.paint(shapes, fabric, figure.wear("sock"), bulge=0.025, shadow=0.2)


def put_on_leg_warmers(figure: Figure) -> None:
    """Paint a leg warmer on each shin."""
    rng = figure.rng
    fabric = cloth(rng, figure.height, patterns=("knit", "stripes"))
    start, stop = rng.uniform(1.1, 1.45), rng.uniform(1.82, 1.96)
    for limb in figure.body.legs:
        shapes = leg_shapes(figure.body, limb, start, stop, rng.uniform(0.008, 0.016))
        figure.paint(shapes, fabric, figure.wear("leg warmer"), bulge=0.03)


def put_on_shoes(figure: Figure, boots: float) -> list[tuple[int, ...]]:
    """Paint a shoe on each foot; `boots` is how far a boot reaches up, 0 for a shoe. Returns the owners of each."""
    rng = figure.rng
    fabric = leather(rng) if rng.random() < 0.65 else cloth(rng, figure.height)
    sole = Fabric(cloth_color(rng), grain=0.03, folds=0.0)
    thick = rng.uniform(0.018, 0.024)
    worn = []
    for limb in figure.body.legs:
        owners = figure.wear("shoe")
        shapes = [foot_shape(limb, thick)]
        if boots:
            shapes += leg_shapes(figure.body, limb, 2 - boots, 2.0, 0.006)
        under = shapes[0] + xy(0, 0.007)
        figure.paint([under], sole, owners, bulge=0.01, shadow=0.0)
        lace = mix(limb.end, limb.tip, 0.4)
        across = rotate(limb.tip - limb.end, np.pi / 2) * 0.12
        laces = [np.array([lace - across, lace + across]) + (limb.tip - limb.end) * share for share in (-0.1, 0.1)]
        figure.paint(shapes, fabric, owners, bulge=0.02, shadow=0.1, creases=laces if not boots else ())
        worn.append(owners)
    return worn


def put_on_belt(figure: Figure, level: float, ease: float) -> tuple[int, ...]:
    """Paint a belt around the waist and return its owners."""
    body, rng = figure.body, figure.rng
    fabric = leather(rng) if rng.random() < 0.7 else cloth(rng, figure.height)
    owners = figure.wear("belt")
    reach, half = body.half_width(level) + ease + 0.003, rng.uniform(0.008, 0.016)
    line = [body.torso(x * reach, level + 0.02 * (1 - x * x)) for x in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    figure.paint([ribbon(line, half)], fabric, owners, bulge=0.012)
    if rng.random() < 0.3:
        end = [line[2], line[2] + xy(0.02, 0.05), line[2] + xy(0.015 + rng.uniform(0, 0.03), 0.12)]
        figure.paint([ribbon(end, half * 0.8)], fabric, owners, bulge=0.012)
    return owners


def put_on_tie(figure: Figure) -> None:
    """Paint a tie: a long one, or a bow tie."""
    body, rng = figure.body, figure.rng
    fabric = cloth(rng, figure.height * 0.6)
    if rng.random() < 0.25:
        wing = rng.uniform(0.03, 0.042)
        shape = [(-wing, -0.015), (0.0, -0.005), (wing, -0.015), (wing, 0.015), (0.0, 0.005), (-wing, 0.015)]
        shapes = [body.torso(0, 0.06) + np.array(shape)]
    else:
        end, wide = rng.uniform(0.5, 0.85), rng.uniform(0.013, 0.022)
        knot = [(-0.012, 0.02), (0.012, 0.02), (0.008, 0.1), (-0.008, 0.1)]
        blade = [(-0.007, 0.1), (0.007, 0.1), (wide, end - 0.06), (0.0, end), (-wide, end - 0.06)]
        shapes = [np.array([body.torso(x, level) for x, level in outline]) for outline in (knot, blade)]
    figure.paint(shapes, fabric, figure.wear("tie"), bulge=0.015, shadow=0.4)


def put_on_scarf(figure: Figure) -> None:
    """Paint a scarf around the neck, with one or two hanging ends."""
    body, rng = figure.body, figure.rng
    fabric = cloth(rng, figure.height, patterns=("knit", "tartan", "stripes", "floral", "tweed", "gingham"))
    owners = figure.wear("scarf")
    for side in SIDES if rng.random() < 0.6 else (int(rng.choice(SIDES)),):
        length, wide = rng.uniform(0.45, 1.0), rng.uniform(0.02, 0.032)
        line = [body.torso(side * 0.03, 0.02), body.torso(side * 0.045, 0.3 * length), body.torso(side * 0.04, length)]
        figure.paint([ribbon(line, wide)], fabric, owners, bulge=0.025)
    wrap = [body.torso(x * 0.062, 0.02 + 0.09 * (1 - x * x)) for x in (-1.0, -0.6, 0.0, 0.6, 1.0)]
    figure.paint([tube(wrap, (0.02, 0.026, 0.03, 0.026, 0.02))], fabric, owners, bulge=0.025, creases=[np.array(wrap)])


def put_on_hat(figure: Figure) -> None:
    """Paint a beanie, a brimmed hat, a cap or a beret."""
    rng = figure.rng
    fabric = cloth(rng, figure.height)
    owners = figure.wear("hat")
    crown = [(-1.15, -0.4), (-1.1, -1.0), (-0.6, -1.5), (0.0, -1.6), (0.6, -1.5), (1.1, -1.0), (1.15, -0.4), (0, -0.5)]
    kind = rng.integers(4)
    brim = []
    if kind == 0:
        brim = [tube([(-1.13, -0.48), (0.0, -0.55), (1.13, -0.48)], (0.17, 0.17, 0.17))]
    elif kind == 1:
        wide = rng.uniform(1.6, 2.4)
        brim = [ellipse(np.array([0.0, -0.55]), (wide, rng.uniform(0.22, 0.4)))]
    elif kind == 2:
        aside = rng.uniform(-0.5, 0.5)
        brim = [smooth([(-0.9, -0.55), (aside, -0.65), (0.9, -0.55), (0.75 + aside, -0.15), (-0.75 + aside, -0.15)])]
    else:
        crown = [
            (-1.1, -0.5),
            (-1.6, -0.9),
            (-1.1, -1.4),
            (0.2, -1.6),
            (1.3, -1.3),
            (1.5, -0.85),
            (1.1, -0.5),
            (0, -0.6),
        ]
    figure.paint([smooth(figure.on_face(crown))], fabric, owners, angle=figure.body.head_angle, bulge=0.03)
    for shape in brim:
        figure.paint([figure.on_face(shape)], fabric, owners, angle=figure.body.head_angle + 0.2, bulge=0.012)


def put_on_headband(figure: Figure) -> None:
    """Paint a headband over the hair."""
    rng = figure.rng
    top = rng.uniform(-1.15, -0.65)
    line = figure.on_face([(-1.08, -0.3), (-0.75, top * 0.85), (0.0, top), (0.75, top * 0.85), (1.08, -0.3)])
    owners = figure.wear("headband, head covering, hair accessory")
    figure.paint([ribbon(line, rng.uniform(0.006, 0.013))], cloth(rng, figure.height), owners, bulge=0.01)


def put_on_glasses(figure: Figure) -> None:
    """Paint glasses or sunglasses."""
    rng = figure.rng
    owners = figure.wear("glasses")
    frame = Fabric(cloth_color(rng) * np.float32(0.6), gloss=0.4, grain=0.0, folds=0.0)
    sun = rng.random() < 0.6
    tint = cloth_color(rng) * np.float32(0.3) if sun else figure.skin * np.float32(0.75) + np.float32(60)
    lens = Fabric(tint, gloss=0.4, grain=0.0, folds=0.0)
    wide, tall = rng.uniform(0.34, 0.46), rng.uniform(0.24, 0.36)
    kind = rng.integers(2)
    outer: list[Points] = []
    inner: list[Points] = []
    for side in SIDES:
        center = np.array([side * 0.46, 0.05])
        for shapes, grown in ((outer, 0.06), (inner, 0.0)):
            radii = (wide + grown, tall + grown)
            shapes.append(figure.on_face(ellipse(center, radii) if kind else box(center, radii)))
    outer.append(figure.on_face(ribbon([(-0.2, 0.0), (0.0, -0.06), (0.2, 0.0)], 0.05)))
    outer += [figure.on_face(ribbon([(side * 0.8, -0.02), (side * 1.02, -0.06)], 0.05)) for side in SIDES]
    figure.paint(outer, frame, owners, bulge=0.006, shadow=0.2)
    figure.paint(inner, lens, owners, bulge=0.01, shadow=0.0)


def put_on_glove(figure: Figure, side: int, fabric: Fabric) -> None:
    """Paint a glove on one hand."""
    limb = figure.body.arms[max(side, 0)]
    center = limb.at(2)
    shapes = [center + (shape - center) * 1.12 for shape in hand_shapes(limb, side)]
    cuff = limb.sleeve(1.72, 2.0, (1.72, 2), (0.021, 0.019))
    figure.paint([*shapes, *cuff], fabric, figure.wear("glove"), bulge=0.014)


def put_on_watch(figure: Figure, side: int) -> None:
    """Paint a watch on one wrist."""
    rng = figure.rng
    limb = figure.body.arms[max(side, 0)]
    wrist, along = limb.at(1.9), (limb.end - limb.middle) / np.linalg.norm(limb.end - limb.middle)
    across = np.array([-along[1], along[0]])
    owners = figure.wear("watch")
    strap = ribbon([wrist - across * 0.019, wrist + across * 0.019], rng.uniform(0.006, 0.009))
    figure.paint([strap], leather(rng), owners, bulge=0.008, shadow=0.2)
    figure.paint([ellipse(wrist, (0.0125, 0.0125))], metal(rng), owners, bulge=0.006, shadow=0.1)
    face = Fabric(np.array(rng.choice([24, 235]) * np.ones(3), np.float32), folds=0, grain=0)
    figure.paint([ellipse(wrist, (0.008, 0.008))], face, owners, bulge=0.0, shadow=0.0)


def put_on_shoulder_bag(figure: Figure) -> tuple[tuple[int, ...], Points]:
    """Paint a bag that hangs from a shoulder, and return its owners and the middle of its front."""
    body, rng = figure.body, figure.rng
    side = int(rng.choice(SIDES))
    start = side * rng.choice([-0.06, 0.07])
    hang = body.torso(side * rng.uniform(0.09, 0.14), rng.uniform(0.8, 1.15))
    owners, fabric = figure.wear("bag, wallet"), leather(rng) if rng.random() < 0.6 else cloth(rng, figure.height)
    strap = ribbon([body.torso(start, 0.03), mix(body.torso(start, 0.4), hang, 0.45), hang], rng.uniform(0.005, 0.011))
    figure.paint([strap], fabric, owners, bulge=0.008)
    return owners, _bag_body(figure, hang, owners, fabric)


def carry_bag(figure: Figure, side: int) -> tuple[tuple[int, ...], Points]:
    """Paint a bag in one hand: a handbag with a handle, or a wallet. Returns its owners and the middle of its front."""
    rng = figure.rng
    limb = figure.body.arms[max(side, 0)]
    hand = mix(limb.end, limb.tip, 0.7)
    owners, fabric = figure.wear("bag, wallet"), leather(rng) if rng.random() < 0.6 else cloth(rng, figure.height)
    if rng.random() < 0.2:
        half = (rng.uniform(0.035, 0.055), rng.uniform(0.02, 0.032))
        figure.paint([box(hand, half, angle=rng.normal(0, 0.3))], fabric, owners, bulge=0.015)
        return owners, hand
    drop, wide = rng.uniform(0.06, 0.11), rng.uniform(0.022, 0.04)
    arc = [hand + xy(x * wide, drop * (1 - y)) for x, y in ((-1, 0), (-0.85, 0.7), (0, 1.05), (0.85, 0.7), (1, 0))]
    figure.paint([ribbon(arc, rng.uniform(0.004, 0.007))], fabric, owners, bulge=0.006)
    return owners, _bag_body(figure, hand + xy(0, drop - 0.005), owners, fabric)


def _bag_body(figure: Figure, top: Points, owners: tuple[int, ...], fabric: Fabric) -> Points:
    rng = figure.rng
    wide, tall, slant = rng.uniform(0.045, 0.085), rng.uniform(0.05, 0.12), rng.uniform(-0.012, 0.018)
    outline = [(-wide, 0), (0, -0.004), (wide, 0), (wide + slant, tall * 0.55), (wide + slant, tall)]
    outline += [(0, tall * 1.05), (-wide - slant, tall), (-wide - slant, tall * 0.55)]
    flap = [(-wide, tall * 0.35), (0.0, tall * rng.uniform(0.4, 0.6)), (wide, tall * 0.35)]
    figure.paint(
        [top + smooth(outline, steps=5)], fabric, owners, bulge=0.025, shadow=0.4, creases=[top + np.array(flap)]
    )
    return np.asarray(top + xy(0, tall * 0.5))


def umbrella_hand(figure: Figure) -> tuple[int, bool]:
    """Return the side that holds the umbrella, and whether it is open: it is where that hand is above the hips."""
    side = max(SIDES, key=lambda one: -figure.body.arms[max(one, 0)].tip[1])
    return side, bool(figure.body.arms[max(side, 0)].tip[1] < -0.03)


def hold_umbrella(figure: Figure, owners: tuple[int, ...], fabric: Fabric, *, front: bool) -> None:
    """Paint an umbrella: `front` False its open canopy, behind the figure; True its shaft, or all of a closed one."""
    rng = figure.rng
    side, is_open = umbrella_hand(figure)
    hand = figure.body.arms[max(side, 0)].tip
    wood = Fabric(np.array((70, 52, 40), np.float32), gloss=0.3, folds=0.0)
    if not is_open:
        if front:
            low = hand + xy(side * 0.03, 0.3)
            figure.paint([tube([hand + xy(0, 0.02), mix(hand, low, 0.4), low], (0.008, 0.022, 0.004))], fabric, owners)
            figure.paint(
                [ribbon([hand + xy(-side * 0.02, -0.02), hand + xy(0, -0.03), hand + xy(0, 0.03)], 0.005)], wood, owners
            )
        return
    tilt = -side * 0.12
    peak = hand - 0.52 * direction(tilt)
    if front:
        figure.paint(
            [ribbon([hand + 0.05 * direction(tilt), peak + 0.12 * direction(tilt)], 0.004)], wood, owners, bulge=0.005
        )
        return
    radius, ribs = rng.uniform(0.25, 0.33), 6
    dome = [(np.cos(turn), -0.62 * np.sin(turn)) for turn in np.linspace(0, np.pi, 13)]
    hem = []
    for number in range(ribs):
        left, right = -1 + 2 * number / ribs, -1 + 2 * (number + 1) / ribs
        hem += [(left, 0.0), ((left + right) / 2, -0.09)]
    outline = peak + rotate((np.array([*dome, *hem[1:]]) + xy(0, 0.62)) * radius, -tilt)
    tips = [peak + rotate((np.array([x, 0.62])) * radius, -tilt) for x in np.linspace(-1, 1, ribs + 1)[1:-1]]
    creases = [smooth([peak, mix(peak, tip, 0.5) + xy(0.12 * (tip - peak)[0], 0), tip], closed=False) for tip in tips]
    figure.paint([outline], fabric, owners, bulge=0.06, creases=creases)
