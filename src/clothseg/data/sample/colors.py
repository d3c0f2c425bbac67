"""The colours of sample figures: skin, hair and cloth."""

from __future__ import annotations

import colorsys

import numpy as np

from clothseg.types import Float32Array

Color = Float32Array
"""(3,) float32 RGB, 0 to 255."""


def color(hue: float, saturation: float, value: float) -> Color:
    """Return the RGB of a hue, a saturation and a value, each 0 to 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, np.clip(saturation, 0, 1), np.clip(value, 0, 1)), np.float32) * 255


def skin_color(rng: np.random.Generator) -> Color:
    """Return a skin tone, from pale to deep."""
    tones = (
        (240, 204, 178),
        (232, 184, 150),
        (216, 164, 124),
        (198, 140, 100),
        (161, 107, 72),
        (118, 76, 50),
        (84, 54, 38),
    )
    tone = np.array(tones[rng.integers(len(tones))], np.float32)
    return np.clip(tone * rng.uniform(0.92, 1.05) + rng.uniform(-6, 6, 3), 0, 255).astype(np.float32)


def hair_color(rng: np.random.Generator) -> Color:
    """Return a hair colour: black, brown, blond, red, grey, now and then dyed."""
    tones = ((28, 24, 24), (54, 36, 26), (92, 60, 38), (150, 105, 60), (214, 178, 112), (150, 66, 34), (170, 166, 162))
    if rng.random() < 0.08:
        return color(rng.random(), 0.6, 0.8)
    return np.clip(np.array(tones[rng.integers(len(tones))]) + rng.uniform(-10, 10, 3), 8, 250).astype(np.float32)


def cloth_color(rng: np.random.Generator) -> Color:
    """Return a colour clothes have: often black, white, grey, beige, navy or brown, else any hue."""
    if rng.random() < 0.42:
        tones = (
            (32, 32, 36),
            (238, 236, 230),
            (128, 130, 134),
            (206, 186, 152),
            (36, 46, 82),
            (96, 64, 44),
            (70, 78, 60),
        )
        return np.clip(np.array(tones[rng.integers(len(tones))]) + rng.uniform(-14, 14, 3), 10, 250).astype(np.float32)
    return color(rng.random(), rng.uniform(0.2, 0.85), rng.uniform(0.3, 0.95))


def second_color(rng: np.random.Generator, first: Color) -> Color:
    """Return a cloth colour that is easily told from `first`."""
    for _ in range(6):
        second = cloth_color(rng)
        if np.abs(second - first).sum() > 150:
            return second
    return np.asarray(255 - first, dtype=np.float32)
