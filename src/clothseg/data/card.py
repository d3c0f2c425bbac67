"""The card of a prepared dataset, one HTML page: photos, sizes, instances and pixels per class, examples."""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clothseg import __version__
from clothseg.data.annotations import open_annotations
from clothseg.data.manifest import Manifest, pairs, stem_of
from clothseg.data.pair import read_pair
from clothseg.data.source import SPLITS, local_path
from clothseg.drawing import overlay
from clothseg.encoding import encode_jpeg
from clothseg.errors import DataError, command
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import read_mask
from clothseg.progress import Advance, Steps, hide_step
from clothseg.transforms import Letterbox, resize_image
from clothseg.types import BoolArray

EXAMPLES = 3
"""Pictures of each class."""
SEARCHED = 300
"""Masks that are searched for examples; more only while a class is missing."""
EXAMPLE_SIDE = 240
"""Pixels."""
FEW_PHOTOS = 20
"""The card names classes that are in fewer training photos than this."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Multiples of it, without their whole part, are spread evenly, however many there are."""
_TEMPLATE = Path(__file__).with_name("templates") / "card.html"


@dataclass(frozen=True)
class SplitFacts:
    """What the manifest does not say about one split."""

    num_photos: int
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of the smallest photo by pixels, the median one, and the largest."""
    instances_per_class: tuple[int, ...] | None
    """Annotations by class in the annotation file beside the masks; None if there is no such file."""


@dataclass(frozen=True)
class Example:
    """One garment of a class, cut out of its photo."""

    split: str
    name: str
    share: float
    """Part of the photo that the class covers."""
    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class DatasetCard:
    """A dataset in numbers and pictures."""

    manifest: Manifest
    splits: dict[str, SplitFacts]
    examples: dict[int, list[Example]]
    """By class id; a class that occurs nowhere has none."""


def card_page(card: DatasetCard) -> str:
    """Return the card as an HTML page that needs no other file and no network."""
    import jinja2  # training starts without it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        card=card,
        manifest=card.manifest,
        classes=card.manifest.classes.classes,
        notes=notes(card),
        version=__version__,
        BACKGROUND_ID=BACKGROUND_ID,
    )


def notes(card: DatasetCard) -> list[str]:
    """Return what someone should know before training on this data, in sentences."""
    garments = [one for one in range(len(card.manifest.classes)) if one != BACKGROUND_ID]
    absent = (0,) * len(card.manifest.classes)
    splits = card.manifest.splits
    train, val = (splits[name].photos_per_class if name in splits else absent for name in ("train", "val"))
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


def collect_card(folder: Path, *, steps: Steps = hide_step) -> DatasetCard:
    """Collect the facts and examples of the dataset in `folder`, which is `DATA_PATH / DATASET_FOLDER`.

    Pixels and photos of each class are those of the manifest. The sizes come from the headers of the masks.

    Raises:
        MissingInputError: there is no prepared dataset.
        DataError: it is damaged; a broken photo or mask is named.
    """
    manifest = Manifest.read(folder)
    facts: dict[str, SplitFacts] = {}
    examples: dict[int, list[Example]] = {}
    for name, split in manifest.splits.items():
        found = pairs(folder, split)
        facts[name] = SplitFacts(
            len(found),
            _three_sizes([_png_size(mask) for _, mask in found]),
            _count_instances(folder, name, manifest.classes),
        )
        missing = [one for one in range(BACKGROUND_ID + 1, len(manifest.classes)) if one not in examples]
        wanted = {one: min(EXAMPLES, split.photos_per_class[one]) for one in missing if split.photos_per_class[one]}
        if not wanted:
            continue
        with steps(f"Looking for examples in {name}") as advance:
            best = _search(found, wanted, advance)
        photos = folder / split.photos
        for class_id, chosen in best.items():
            examples[class_id] = [_example(pair, photos, name, class_id, manifest.classes) for pair in chosen]
    return DatasetCard(manifest, facts, examples)


def _search(
    found: Sequence[tuple[Path, Path]], wanted: Mapping[int, int], advance: Advance
) -> dict[int, list[tuple[Path, Path]]]:
    """Return the (photo, mask) pairs that show most of each class, largest share first, among those searched.

    `wanted` says how many examples of each class exist, at most `EXAMPLES`.
    """
    best: dict[int, list[tuple[float, int]]] = {class_id: [] for class_id in wanted}
    far_apart = np.argsort(np.arange(len(found)) * _GOLDEN_RATIO % 1, kind="stable").tolist()
    for number, index in enumerate(far_apart, start=1):
        if number > SEARCHED and all(len(best[class_id]) >= count for class_id, count in wanted.items()):
            break
        mask = read_mask(found[index][1])
        counts = np.bincount(mask.ravel())
        for class_id in np.flatnonzero(counts).tolist():
            if class_id in best:
                best[class_id] = sorted([*best[class_id], (-counts[class_id] / mask.size, index)])[:EXAMPLES]
        advance(number, len(found) if number > SEARCHED else min(SEARCHED, len(found)))
    return {class_id: [found[index] for _, index in finds] for class_id, finds in sorted(best.items()) if finds}


def _count_instances(folder: Path, split_name: str, classes: ClassList) -> tuple[int, ...] | None:
    paths = [local_path(folder, one.annotations) for one in SPLITS if one.name == split_name]
    paths.append(folder / f"instances_{split_name}.json")  # of iMaterialist and custom annotations
    path = next((one for one in paths if one.is_file()), None)
    if path is None:
        return None
    file = open_annotations(path)
    class_of = {
        category.id: classes.id_for_category(str(category.name), str(category.supercategory))
        for category in file.categories
        if isinstance(category.id, int)
    }
    counts = Counter(class_of.get(one.category_id) for one in file.annotations if isinstance(one.category_id, int))
    return tuple(counts[class_id] for class_id in range(len(classes)))


def _png_size(path: Path) -> tuple[int, int]:
    with path.open("rb") as stream:
        head = stream.read(24)
    if len(head) < 24:
        raise DataError(f'Mask {path} is cut off. Run "{command("prepare")}" again')
    width, height = struct.unpack_from(">II", head, 16)
    return height, width


def _three_sizes(sizes: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else ()


def _example(pair: tuple[Path, Path], photos: Path, split_name: str, class_id: int, classes: ClassList) -> Example:
    image, mask = read_pair(*pair, num_classes=len(classes))
    covered = mask == class_id
    view = overlay(image, np.where(covered, mask, 0).astype(np.uint8), classes, opacity=0.35)
    view = view[_surroundings(covered)]
    height, width = view.shape[:2]
    view = resize_image(view, Letterbox.fit(height, width, min(EXAMPLE_SIDE, 2 * max(height, width))).scaled_size)
    stem = stem_of(pair[0].relative_to(photos).as_posix())
    return Example(split_name, stem, float(covered.mean()), encode_jpeg(view, 82), view.shape[1], view.shape[0])


def _surroundings(covered: BoolArray) -> tuple[slice, slice]:
    """Return the part of a photo to show: what is covered, a third more on each side, and at least 100 pixels."""
    slices = []
    for axis in (1, 0):
        indices = np.flatnonzero(covered.any(axis=axis))
        first, last = int(indices[0]), int(indices[-1]) + 1
        margin = max((last - first) // 3, (100 - (last - first)) // 2)
        slices.append(slice(max(0, first - margin), last + margin))
    return slices[0], slices[1]
