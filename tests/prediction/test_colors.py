import doctest

import numpy as np

import clothseg.prediction.colors
from clothseg.prediction.colors import color_name, main_colors


def test_examples_in_docstrings():
    assert doctest.testmod(clothseg.prediction.colors).failed == 0


def test_main_colors_count_shades_once_and_leave_specks_out():
    random = np.random.default_rng(0)
    shades = np.clip(random.normal((120, 60, 30), 8, (3000, 3)), 0, 255).astype(np.uint8)
    speck = np.full((100, 3), (0, 255, 0), np.uint8)
    (found,) = main_colors(np.concatenate((shades, speck)))
    assert found["share"] > 0.9
    assert found["name"] in ("brown", "tan", "dark brown")
    assert main_colors(np.empty((0, 3), np.uint8)) == []
    many = np.array([(red, green, blue) for red in (16, 144) for green in (16, 144, 240) for blue in (16, 144, 240)])
    assert len(main_colors(many.repeat(100, axis=0).astype(np.uint8))) == 1, "none fills 8%, and one is the main colour"
    stripes = {(255, 255, 255): 400, (200, 20, 20): 300, (225, 20, 20): 300}
    pixels = np.concatenate([np.full((count, 3), color, np.uint8) for color, count in stripes.items()])
    assert [(one["name"], one["share"]) for one in main_colors(pixels)] == [("red", 0.6), ("white", 0.4)]
    grays = [color_name((level, level, level)) for level in (250, 3, 128)]
    assert grays == ["white", "black", "grey"]
