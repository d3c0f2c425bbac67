"""Draws docs/pictures/architecture.svg from the layers that tests/test_architecture.py checks.

uv run python -m docs.pictures.architecture
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from tests.test_architecture import LAYERS, LIBRARY, RECIPE

TARGET = Path(__file__).with_suffix(".svg")

WIDTH, ROW, GAP, LEFT = 940, 46, 16, 165
TITLES = (
    "errors, array types",
    "classes",
    "settings, formats",
    "photos, pixels, scores",
    "network, data",
    "prediction",
    "training, scores",
    "other entry points",
    "commands",
)
"""What each layer of LAYERS is about."""


def box(name: str, x: float, y: float, width: float) -> str:
    """Return the box of a module or a folder."""
    is_folder = (LIBRARY / name).is_dir()
    label = escape(f"{name}/" if is_folder else name)
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{ROW - 10}" rx="5" '
        f'fill="{"#b2dfdb" if is_folder else "#eceff1"}" stroke="#546e7a"/>'
        f'<text x="{x + width / 2:.0f}" y="{y + 23:.0f}" text-anchor="middle" font-family="monospace">{label}</text>'
    )


def row(title: str, names: list[str], y: float) -> Iterator[str]:
    """Yield the parts of a layer."""
    yield f'<text x="10" y="{y + 23:.0f}" fill="#37474f">{escape(title)}</text>'
    width = (WIDTH - LEFT - 10 - GAP * (len(names) - 1)) / len(names)
    for number, name in enumerate(names):
        yield box(name, LEFT + number * (width + GAP), y, width)


def drawing() -> str:
    """Return the figure: the recipe at the top, then each layer, the lowest at the bottom."""
    rows = [("recipe", list(RECIPE))]
    rows += [(title, sorted(layer)) for title, layer in zip(reversed(TITLES), reversed(LAYERS), strict=True)]
    height = ROW * len(rows) + 40
    parts = [part for number, (title, names) in enumerate(rows) for part in row(title, names, 10 + ROW * number)]
    note = "Green: a folder. Grey: a file. Imports point down only; the library never imports the recipe."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(parts)}'
        f'<text x="{LEFT}" y="{height - 14}" fill="#37474f">{note}</text></svg>\n'
    )


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
