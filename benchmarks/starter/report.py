"""Writes REPORT.md, MODEL_CARD.md and their pictures from what was measured of the starter model.

    uv run python benchmarks/starter/report.py
    uv run python benchmarks/starter/report.py --photos PHOTOS --output pictures

The first reads benchmarks/starter/results and the model file, and writes the documents and docs/pictures/report. The
second only writes pictures of your own photos beside what the model finds in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tables
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plots import plots
from results import RESULTS, ROOT, Evaluation, read_json, refuse_outside

import clothseg
from clothseg.drawing import classes_in, overlay, side_by_side, with_legend
from clothseg.encoding import encode_jpeg
from clothseg.errors import ClothsegError
from clothseg.evaluation.comparison import compare
from clothseg.evaluation.records import EvaluationRecord
from clothseg.pictures import read_picture, write_whole
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.starter import MODEL_NAME, starter_model
from clothseg.transforms import resize_image

PICTURES = "docs/pictures/report"
PHOTOS = ROOT / "docs" / "pictures" / "photos"
PHOTO_CREDITS = {
    "01_documerica_hiser": "Photo: David Hiser / EPA DOCUMERICA, National Archives (NAID 545607), public domain",
    "02_loc_man_in_hat": "Photo: Library of Congress, item 2006688036, public domain",
    "03_cc0_woman_in_garden": "Photo: History Trust of South Australia (GN03697), CC0 1.0",
    "04_nasa_eileen_collins": "Photo: NASA / scikit-image, public domain",
    "06_nasa_apollo11_crew": "Photo: NASA, public domain",
}
"""Of the photos in docs/pictures/photos, as their CREDITS.md has them."""
ARCHITECTURES = {"unet": "U-Net", "fpn": "FPN", "unetplusplus": "U-Net++"}
REMOVED_AT = "a779cd9"
"""Commit at which the commands of the ablation and of the plain recipe last existed."""
_HEIGHT = 360  # of a photo in a picture, in pixels
_MOST_BYTES = 45_000


@dataclass(frozen=True)
class Shown:
    """A picture of the report."""

    name: str
    content: bytes
    words: str
    """What it shows, for people and screen readers."""


def pictures(predictor: Predictor, folder: Path) -> Iterator[Shown]:
    """Yield the photos of a folder beside what the model finds in them."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    if not paths:
        raise SystemExit(f"Error: no photos in {folder}. Pass a folder with .jpg, .png or .webp files")
    for path in paths:
        found = predictor.predict(read_picture(path).pixels)
        size = (_HEIGHT, max(1, round(found.photo.shape[1] * _HEIGHT / found.photo.shape[0])))
        both = [resize_image(one, size) for one in (found.photo, overlay(found.photo, found.mask, found.classes))]
        picture = with_legend(side_by_side(*both), found.classes, classes_in(found.mask))
        contents = (encode_jpeg(picture, quality) for quality in range(90, 50, -4))
        content = next((one for one in contents if len(one) <= _MOST_BYTES), encode_jpeg(picture, 50))
        shares = ", ".join(f"{label.name} {label.share:.0%}" for label in found.labels) or "nothing"
        yield Shown(f"{path.stem}.jpg", content, f"found: {shares}")


def read_values(folder: Path, model: Path) -> dict[str, Any]:
    """Return what the templates show, from the files of `results/` and the model.

    Raises:
        SystemExit: a file is missing, was measured of another model, or names a place outside the project.
    """
    file = ModelFile.read(model)
    refuse_outside(file.description.to_dict())
    found = {
        name: read_json(folder / f"{name}.json")
        for name in ("evaluation", "plain", "guesses", "training", "speed", "without_clothes")
    }
    for name, measured in (
        ("evaluation", found["evaluation"]["predictions"].get("sha256")),
        ("speed", found["speed"]["sha256"]),
        ("without_clothes", found["without_clothes"]["sha256"]),
    ):
        if measured != file.sha256:
            raise SystemExit(
                f"Error: {folder / name}.json is of a model {measured}, {model} is {file.sha256}. Measure it again"
            )
    evaluation, description = Evaluation(found["evaluation"]), file.description
    records = [EvaluationRecord.read(folder / name) for name in ("plain.json", "evaluation.json")]
    left_out = tuple(found["evaluation"]["mean"]["left_out"])
    known = description.training_data.get("known_classes") or [one["name"] for one in evaluation.present]
    garments = description.classes.names[1:]
    width = "" if description.decoder_width == 1 else f", {description.decoder_width:g} times its usual channels,"
    decoder = ARCHITECTURES.get(description.architecture, description.architecture)
    path, guesses = model.resolve(), found["guesses"]
    return {name: found[name] for name in ("guesses", "training", "speed", "without_clothes")} | {
        "evaluation": evaluation,
        "plain": Evaluation(found["plain"]),
        "comparison": compare(*records, leave_out=left_out),
        "description": description,
        "architecture": f"{decoder}{width} with a {description.encoder_name} encoder",
        "size": len(file.content),
        "sha256": file.sha256,
        "model_path": path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name,
        "is_packaged": path.name == MODEL_NAME,
        "trained_on": f"{guesses['labelled']:,} photos, and {guesses['guessed']:,} whose masks a model predicted",
        "num_photos": found["evaluation"]["data"]["photos"],
        "absent": ", ".join(one["name"] for one in found["evaluation"]["classes"] if one["absent"]) or "no class",
        "rare": ", ".join(
            f"{one['name']} ({one['photos']} photos)" for one in evaluation.present if one["photos"] < 20
        ),
        "known": [name for name in garments if name in known],
        "unknown": [name for name in garments if name not in known],
        "training_time": tables.duration(found["training"]["seconds"]),
        "removed_at": REMOVED_AT,
        "tables": tables,
    }


def write_documents(model: Path, results_folder: Path, output: Path) -> None:
    """Write both documents and all their pictures below `output`."""
    values = read_values(results_folder, model)
    photos = [
        replace(one, name=f"photo-{one.name}", words=f"{PHOTO_CREDITS[Path(one.name).stem]}; {one.words}")
        for one in pictures(clothseg.load(model), PHOTOS)
    ]
    drawn = plots(values["evaluation"], values["plain"])
    write_files(output / PICTURES, drawn | {one.name: one.content for one in photos})
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    names = ("REPORT.md", "MODEL_CARD.md")
    texts = {name: environment.get_template(f"{name}.jinja").render(values, photos=photos) for name in names}
    write_files(output, {name: text.encode() for name, text in texts.items()})


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files into a folder, and print their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
        print(f"{folder / name}: {len(content):,} bytes")


def main() -> int:
    """Write the documents, or the pictures of your own photos."""
    parser = argparse.ArgumentParser(description="Write REPORT.md, MODEL_CARD.md and their pictures.")
    parser.add_argument("--model", type=Path, help="model file; the one that ships with clothseg if not given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of what was measured")
    parser.add_argument("--photos", type=Path, help="folder of photos of your own to show, in place of the documents")
    parser.add_argument("--output", type=Path, help="folder to write to; the project's root if not given")
    arguments = parser.parse_args()
    if arguments.photos is not None and arguments.output is None:
        parser.error("--photos writes pictures of your photos: say with --output where to")
    model = arguments.model or starter_model()
    if model is None:
        parser.error("no starter model is packaged: export one as README.md says, or pass --model MODEL")
    try:
        if arguments.photos is not None:
            shown = pictures(clothseg.load(model), arguments.photos)
            write_files(arguments.output, {one.name: one.content for one in shown})
        else:
            write_documents(model, arguments.results, arguments.output or ROOT)
    except ClothsegError as error:
        raise SystemExit(f"Error: {error}") from error
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
