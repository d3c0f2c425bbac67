"""Which files a prediction is written as, and the COCO files that hold the results of all photos together."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from clothseg.errors import SettingError
from clothseg.labels import BACKGROUND_ID, CLOTHES, ClassList
from clothseg.pictures import whole_file
from clothseg.prediction.cutouts import PLAIN, CutoutStyle
from clothseg.prediction.polygons import outline
from clothseg.prediction.try_on import check_region
from clothseg.rle import decode_region
from clothseg.settings import tyro

IMAGES_NAME, RESULTS_NAME, POLYGONS_NAME = "coco_images.json", "coco_results.json", "coco_polygons.json"
TABLE_NAME = "garments.csv"

Results = Iterable[Mapping[str, Any]]
"""What `Segmentation.to_coco` returned for each photo; a category id in the files is a class id."""

Format = Literal["coco", "coco-polygons", "label-studio", "csv"]
"""Files that other tools read, one set for all photos together; csv is a table of garments."""


@dataclass(frozen=True)
class Outputs:
    """What is written beside the mask and the overlay of each photo."""

    json: bool = False
    """Write the results as JSON with COCO run-length codes, too."""
    cutouts: Annotated[str, tyro.conf.arg(metavar="none|frame|tight|clothes|NAMES")] = "none"
    """Write cut-outs: of each garment in the photo's frame, or cropped tight; of all clothes together; or of garments
    by name, as in dress,shoes. With commas also several: tight,clothes."""
    full_overlay: bool = False
    """Write the overlay at the photo's size, also if that is more than 3,840 pixels on a side."""
    style: Annotated[CutoutStyle, tyro.conf.arg(name="")] = field(default_factory=CutoutStyle)
    try_on: Annotated[str, tyro.conf.arg(metavar="upper,lower,full")] = ""
    """Write what try-on programs ask for: the mask to paint a garment of a region into, and the worn one on white."""
    keep: Annotated[str, tyro.conf.arg(metavar="NAMES")] = ""
    """Keep these garments only, as in dress,shoes, in masks and all other files."""
    soft_masks: bool = False
    """Write the probability of each class that a photo shows (8-bit PNG, 255 = 1)."""
    formats: tuple[Format, ...] = ()
    """Write files for other tools, for all photos together."""

    def __post_init__(self) -> None:
        words, *_ = map(words_of, (self.cutouts, self.try_on, self.keep))
        if len(words) > 1 and ("none" in words or {"frame", "tight"} <= set(words)):
            raise SettingError(f"cutouts is {self.cutouts!r}. none stands alone, and frame does not go with tight")
        if self.style != PLAIN and words in ([], ["none"]):
            raise SettingError(
                "Options of cut-outs (edges, background, canvas, format) are given, but no cut-outs are written. "
                "Add cutouts, as in --cutouts clothes, or drop them"
            )

    @property
    def need_results(self) -> bool:
        """Whether run-length codes and scores have to be worked out."""
        return self.json or bool(self.formats)

    @property
    def need_colors(self) -> bool:
        """Whether the main colours of each garment have to be found."""
        return "csv" in self.formats

    def meanings(self, classes: ClassList) -> list[str]:
        """Return what the garments' names mean in words, where they are not a class's own.

        Raises:
            SettingError: no class covers one of them, or there is no such region for try-on.
        """
        for region in words_of(self.try_on):
            check_region(region)
        names = [word for word in words_of(self.cutouts) if word not in _SHAPES or word in classes.names]
        return list(filter(None, map(classes.meaning, dict.fromkeys([*words_of(self.keep), *names]))))


_SHAPES = ("none", "frame", "tight", CLOTHES)


def words_of(text: str) -> list[str]:
    """Return the words of an option, which commas separate, each once.

    Raises:
        SettingError: it is no text, or one without words.
    """
    words = [word.strip() for word in text.split(",") if word.strip()] if isinstance(text, str) else []
    if text != "" and not words:
        raise SettingError(f"{text!r} contains no name. Write names with commas between them, as in dress,shoes")
    return list(dict.fromkeys(words))


def names_in_files(classes: ClassList) -> list[str]:
    """Return each class's name as part of a file's: "legs and feet" becomes legs-and-feet; no two are the same."""
    names = [re.sub(r"\W+", "-", name) for name in classes.names]
    times = Counter(name.casefold() for name in names)
    return [f"{name}-{number}" if times[name.casefold()] > 1 else name for number, name in enumerate(names)]


def cutout_parts(words: str, classes: ClassList, shown: Sequence[int]) -> dict[str, str | None]:
    """Return the class of each cut-out by its name in files, None for all clothes together; see `Outputs.cutouts`.

    Only classes in `shown`, the ids that the photo shows, and the background by its name are cut out.

    Raises:
        SettingError: no class covers a name.
    """
    given = words_of(words)
    named = [word for word in given if word not in _SHAPES or word in classes.names]
    clothes = CLOTHES in given and CLOTHES not in named
    if named or clothes or not {"frame", "tight"} & set(given):
        class_ids = set(map(classes.id_of, named))
    else:
        class_ids = set(range(1, classes.num_classes))
    names = names_in_files(classes)
    is_worn = clothes and not set(shown).isdisjoint(classes.garment_ids)
    parts: dict[str, str | None] = {CLOTHES: None} if is_worn else {}
    return parts | {names[one]: classes.names[one] for one in (BACKGROUND_ID, *shown) if one in class_ids}


def write_collection(
    folder: Path, classes: ClassList, results: Callable[[], Results], *, formats: Sequence[Format]
) -> tuple[Path, ...]:
    """Write the results of all photos in each of `formats`, calling `results` once for each, and return the files.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """
    writers = {"coco": write_results, "coco-polygons": write_polygons, "csv": write_table}
    if "label-studio" in formats:
        # It imports XML and HTTP, which take longer than a photo takes to segment.
        from clothseg.prediction.label_studio import write_tasks

        writers["label-studio"] = write_tasks
    return tuple(path for name in dict.fromkeys(formats) for path in writers[name](folder, classes, results()))


def write_results(folder: Path, classes: ClassList, results: Results) -> tuple[Path, ...]:
    """Write the results in COCO's results format, and the images and categories that they point to.

    `COCO("coco_images.json").loadRes("coco_results.json")` of pycocotools reads them. Photos are numbered from 1.

    Source: cocodataset.org, "Results Format", instance segmentation.
    """
    images_path, results_path = folder / IMAGES_NAME, folder / RESULTS_NAME
    images = []
    with whole_file(results_path) as temporary, temporary.open("w", encoding="ascii") as stream:
        stream.write("[")
        separator = "\n"
        for image_id, result in enumerate(results, start=1):
            images.append(_image(image_id, result))
            for segment in result["segments"]:
                entry = {
                    "image_id": image_id,
                    "category_id": segment["class_id"],
                    "segmentation": segment["rle"],
                    "score": segment["score"],
                }
                stream.write(f"{separator}{json.dumps(entry)}")
                separator = ",\n"
        stream.write("\n]\n")
    with whole_file(images_path) as temporary:
        temporary.write_text(f"{json.dumps(_dataset(images, classes, []))}\n", encoding="ascii")
    return images_path, results_path


def write_polygons(folder: Path, classes: ClassList, results: Results) -> tuple[Path, ...]:
    """Write the results as COCO instances with polygons: one annotation for each class that a photo shows.

    Every connected piece is a polygon, holes cut open with a slit. Outlines stray at most a pixel from the mask.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, result in enumerate(results, start=1):
        images.append(_image(image_id, result))
        for segment in result["segments"]:
            outlines = outline(decode_region(segment["rle"]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": segment["class_id"],
                    "segmentation": [polygon.ravel().tolist() for polygon in outlines],
                    "area": segment["area"],
                    "bbox": segment["bbox"],
                    "iscrowd": 0,
                    "score": segment["score"],
                }
            )
    path = folder / POLYGONS_NAME
    with whole_file(path) as temporary:
        temporary.write_text(f"{json.dumps(_dataset(images, classes, annotations))}\n", encoding="ascii")
    return (path,)


def write_table(folder: Path, classes: ClassList, results: Results) -> tuple[Path, ...]:
    """Write a table with a row for each garment: its photo, names, share, box, score and main colours.

    UTF-8 with the mark that spreadsheets look for, lines as RFC 4180 wants them. What UTF-8 cannot encode in a name is
    escaped, as in the JSON. A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    path = folder / TABLE_NAME
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream)
        colors = [name for number in (1, 2, 3) for name in (f"color_{number}", f"color_{number}_name")]
        box = ("x", "y", "width", "height")
        writer.writerow(("photo", "garment", "label", "category", "share", "score", *box, *colors))
        for result in results:
            for segment in result["segments"]:
                one = classes.classes[segment["class_id"]]
                share = segment["area"] / (result["width"] * result["height"])
                texts = result["file"], one.display_name, one.name, one.only_category
                shades = [shade[key] for shade in segment["colors"] for key in ("hex", "name")]
                row = *map(_no_formula, texts), f"{share:.4f}", segment["score"], *segment["bbox"], *shades
                writer.writerow((*row, *[""] * (len(colors) - len(shades))))
    return (path,)


def _no_formula(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula. Source: OWASP, "CSV Injection"."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _image(image_id: int, result: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": image_id, "file_name": result["file"], "width": result["width"], "height": result["height"]}


def _dataset(images: list[Any], classes: ClassList, annotations: list[Any]) -> dict[str, Any]:
    return {
        "info": {"description": "Clothes found by clothseg"},
        "licenses": [],
        "images": images,
        "categories": [
            {"id": class_id, "name": name, "supercategory": "clothing"}
            for class_id, name in enumerate(classes.names)
            if class_id != BACKGROUND_ID
        ],
        "annotations": annotations,
    }
