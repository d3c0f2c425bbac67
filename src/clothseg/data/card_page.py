"""A data set's card as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from clothseg import __version__
from clothseg.data.card import DatasetCard, Example, SplitFacts
from clothseg.labels import BACKGROUND_ID

FEW_PHOTOS = 20
"""A class in fewer training photos than this is pointed out."""

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1d21; --quiet: #5a6068; --line: #d5d9de; --bar: #3566b8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --ink: #e8eaed; --quiet: #a4abb5; --line: #363b43; --bar: #7aa5ec; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .5rem; }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem; }
p, ul { max-width: 45rem; }
.quiet, figcaption { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .5rem; }
th, td { padding: .3rem .75rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; }
tbody th { font-weight: 600; }
.swatch { display: inline-block; width: 1em; height: 1em; margin-right: .5em; vertical-align: -.1em;
  border: 1px solid var(--quiet); border-radius: .15em; }
.bar { display: block; height: .3rem; min-width: 1px; margin-left: auto; background: var(--bar); }
.examples { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; max-width: 15rem; }
figure img { display: block; max-width: 100%; height: auto; border-radius: .25rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
"""


def card_page(card: DatasetCard) -> str:
    """Return the page, with its pictures inside."""
    manifest = card.manifest
    title = escape(manifest.name)
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}: data set card</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{title}</h1>",
        f'<p class="quiet">Source: {escape(manifest.source)}. Licence: {escape(manifest.licence or "not known")}. '
        f"{len(manifest.classes)} classes. Card by clothseg {__version__}.</p>",
        _notes_section(card),
        _photos_section(card),
        _classes_section(card),
        _examples_section(card),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def notes(card: DatasetCard) -> list[str]:
    """Return what someone should know before training on this data, in sentences."""
    garments = [one for one in range(len(card.manifest.classes)) if one != BACKGROUND_ID]
    train, val = (_photos_per_class(card, name) for name in ("train", "val"))
    found = []
    for words, class_ids in (
        ("Not in the training photos, so no model can learn it", [one for one in garments if not train[one]]),
        (
            f"In fewer than {FEW_PHOTOS} training photos, so hardly learnt",
            [one for one in garments if 0 < train[one] < FEW_PHOTOS],
        ),
        ("Not in the validation photos, so it gets no score", [one for one in garments if train[one] and not val[one]]),
    ):
        if class_ids:
            found.append(f"{words}: {', '.join(card.manifest.classes.names[one] for one in class_ids)}.")
    if not any(facts.instances_per_class for facts in card.splits.values()):
        found.append("There is no annotation file beside the masks, so instances are not counted.")
    return found


def _photos_per_class(card: DatasetCard, split_name: str) -> tuple[int, ...]:
    facts = card.splits.get(split_name)
    return (0,) * len(card.manifest.classes) if facts is None else facts.photos_per_class


def _notes_section(card: DatasetCard) -> str:
    found = notes(card)
    items = "".join(f"<li>{escape(note)}</li>" for note in found)
    return f"<h2>Worth knowing</h2>\n<ul>{items}</ul>" if found else ""


def _photos_section(card: DatasetCard) -> str:
    rows = []
    for name, facts in card.splits.items():
        sizes = [f"{width} × {height}" for height, width in facts.sizes] or ["none"] * 3
        cells = [f"{facts.num_photos:,}", *sizes, f"{sum(facts.pixels_per_class) / 1e6:,.1f} million"]
        rows.append(_row(escape(name), cells))
    head = ("Split", "Photos with a mask", "Smallest", "Middle", "Largest", "Pixels")
    return "<h2>Photos</h2>\n" + _table("Width × height in pixels, ordered by area.", head, rows)


def _classes_section(card: DatasetCard) -> str:
    head = ["Class"]
    for name, facts in card.splits.items():
        head += [f"{name}: photos", f"{name}: pixels"]
        head += [f"{name}: instances"] if facts.instances_per_class else []
    rows = []
    for class_id, one in enumerate(card.manifest.classes.classes):
        cells = [cell for facts in card.splits.values() for cell in _class_cells(facts, class_id)]
        color = "rgb({}, {}, {})".format(*one.color)
        swatch = f'<span class="swatch" style="background: {color}"></span>'
        rows.append(_row(f"{swatch}{class_id}. {escape(one.name)}", cells))
    caption = "Photos in which a class occurs (bar: share of all), its share of the pixels, and instances as annotated."
    return "<h2>Classes</h2>\n" + _table(caption, head, rows)


def _class_cells(facts: SplitFacts, class_id: int) -> list[str]:
    photos, pixels = facts.photos_per_class[class_id], facts.pixels_per_class[class_id]
    share = 100 * photos / max(1, facts.num_photos)
    bar = f'<span class="bar" style="width: {share:.1f}%"></span>' if photos else ""
    cells = [f"{photos:,}{bar}" if photos else "absent"]
    cells.append(f"{100 * pixels / max(1, sum(facts.pixels_per_class)):.3f}%" if pixels else "–")
    if facts.instances_per_class:
        cells.append(f"{facts.instances_per_class[class_id]:,}" if class_id != BACKGROUND_ID else "–")
    return cells


def _examples_section(card: DatasetCard) -> str:
    parts = [
        "<h2>Examples</h2>",
        '<p class="quiet">The photos that show most of each class, among some hundred spread over the data set.</p>',
    ]
    for class_id, examples in sorted(card.examples.items()):
        name = card.manifest.classes.names[class_id]
        figures = "".join(_figure(one, name) for one in examples)
        parts.append(f'<h3>{class_id}. {escape(name)}</h3>\n<div class="examples">{figures}</div>')
    return "\n".join(parts)


def _figure(example: Example, class_name: str) -> str:
    source = f"data:image/jpeg;base64,{base64.b64encode(example.jpeg).decode('ascii')}"
    text = escape(f"{class_name} in {example.split} photo {example.name}", quote=True)
    return (
        f'<figure><img src="{source}" width="{example.width}" height="{example.height}" alt="{text}">'
        f"<figcaption>{escape(example.split)}: {escape(example.name)}, {example.share:.1%} of the photo</figcaption>"
        "</figure>"
    )


def _table(caption: str, head: Iterable[str], rows: Iterable[str]) -> str:
    columns = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}">'
        f"<table><caption>{escape(caption)}</caption>\n<thead><tr>{columns}</tr></thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody></table></div>"
    )


def _row(first: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
