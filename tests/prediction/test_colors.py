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
    grays = [color_name((level, level, level)) for level in (250, 3, 128)]
    assert grays == ["white", "black", "grey"]
