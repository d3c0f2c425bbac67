"""Fills the marked parts of REPORT.md and MODEL_CARD.md with what was measured, and draws their pictures.

    uv run python benchmarks/starter/report.py
    uv run python benchmarks/starter/report.py --photos PHOTOS --output pictures

A part begins with a comment such as `<!-- evaluation.md: Classes -->`: a section of a file in results/, as the commands
wrote it; `model` is what the model file says of itself, and `pictures` what it finds in real photos. The second command
only writes pictures of your own photos beside what the model finds in them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import clothseg
from clothseg.drawing import classes_in, overlay, side_by_side, with_legend
from clothseg.encoding import encode_jpeg
from clothseg.errors import ClothsegError
from clothseg.model.description import ModelDescription
from clothseg.pictures import read_picture, write_whole
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.starter import starter_model
from clothseg.transforms import resize_image

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
DOCUMENTS = ("REPORT.md", "MODEL_CARD.md")
PHOTOS, PICTURES = ROOT / "docs/pictures/photos", Path("docs/pictures/report")
CREDITS = {
    "01_documerica_hiser": "David Hiser / EPA DOCUMERICA, National Archives (NAID 545607), public domain",
    "02_loc_man_in_hat": "Library of Congress, item 2006688036, public domain",
    "03_cc0_woman_in_garden": "History Trust of South Australia (GN03697), CC0 1.0",
    "04_nasa_eileen_collins": "NASA / scikit-image, public domain",
    "06_nasa_apollo11_crew": "NASA, public domain",
}
"""Of the photos in docs/pictures/photos, as their CREDITS.md has them."""
_HEIGHT, _MOST_BYTES = 360, 45_000  # of a picture; its height in pixels
_FEW_PHOTOS = 40
_PART = re.compile(r"(<!-- (?P<source>[\w.]+): (?P<title>[^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, parts: dict[tuple[str, str], str]) -> str:
    """Return a document with each marked part replaced.

    Raises:
        SystemExit: a document names a part that is not there.
    """

    def part(found: re.Match[str]) -> str:
        key = (found["source"], found["title"])
        if key not in parts:
            raise SystemExit(f"Error: there is no part {key[1]!r} of {key[0]}. There are: {sorted(parts)}")
        return f"{found[1]}\n{parts[key]}\n\n{found[4]}"

    return _PART.sub(part, text)


def sections(path: Path, sha256: str) -> dict[tuple[str, str], str]:
    """Return the sections of a Markdown file of results/ by its name and their titles.

    Raises:
        SystemExit: it is missing, or was measured of another model.
    """
    if not path.is_file():
        raise SystemExit(f"Error: {path} is missing. benchmarks/starter/README.md says how it is made")
    text = path.read_text(encoding="utf-8")
    if sha256 not in text:
        raise SystemExit(f"Error: {path} was not measured of the model file {sha256}. Measure it again")
    parts = (part.partition("\n") for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:])
    return {(path.name, title): content.strip() for title, _, content in parts}


def described(file: ModelFile) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the parts that the model file itself gives."""
    about = file.description
    known = ", ".join(name for name in about.classes.names if name not in about.unknown_classes)
    rows = [
        ("Network", f"{about.architecture}, encoder {about.encoder_name}, decoder width {about.decoder_width:g}"),
        ("Input", f"RGB photo of any size, scaled to {about.image_size} pixels on its longer side"),
        ("File", f"ONNX, {len(file.content):,} bytes, clothseg {about.version}"),
        ("SHA-256", f"`{file.sha256}`"),
        ("Licence", str(about.licence)),
        ("Classes that it knows", known),
        ("Classes that it has never seen labelled", ", ".join(about.unknown_classes)),
    ]
    yield ("model", "File"), table(("", ""), rows)
    yield ("model", "Categories"), table(("Category", "Training photos", "IoU"), categories(about))


def categories(about: ModelDescription) -> Iterator[Sequence[str]]:
    """Yield the name of each category that the model tells apart, how many photos showed it, and its IoU."""
    photos = about.training_data["categories"]["photos_per_class"]
    for name in about.categories[1:]:
        few = f" (few photos, below {_FEW_PHOTOS})" if photos[name] < _FEW_PHOTOS else ""
        iou = about.scores["categories"]["iou"].get(name)
        yield f"{name}{few}", f"{photos[name]:,}", "absent" if iou is None else f"{iou:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def pictures(model: Path, folder: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield the name, JPEG and description of a picture of each photo in a folder, beside what the model finds."""
    predictor = clothseg.load(model, precision="fp32")  # the same pictures on each CPU
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
        yield f"{path.stem}.jpg", content, f"found: {shares}"


def written(model: Path, results: Path) -> dict[Path, bytes]:
    """Return every file of the documents by its path in the project.

    Raises:
        SystemExit: see `filled` and `sections`.
    """
    file = ModelFile.read(model)
    parts = dict(described(file))
    for name in ("evaluation.md", "compare.md", "without_clothes.md"):
        parts |= sections(results / name, file.sha256)
    files, shown = {}, []
    for name, content, words in pictures(model, PHOTOS):
        path, told = PICTURES / f"photo-{name}", f"Photo: {CREDITS[Path(name).stem]}; {words}"
        files[path] = content
        shown.append(f"![{told}]({path.as_posix()})\n\n{told}")
    parts["pictures", "Real photos"] = "\n\n".join(shown)
    for name in DOCUMENTS:
        files[Path(name)] = filled((ROOT / name).read_text(encoding="utf-8"), parts).encode()
    return files


def main() -> int:
    """Write the documents, or the pictures of your own photos."""
    parser = argparse.ArgumentParser(description="Fill in REPORT.md and MODEL_CARD.md, and draw their pictures.")
    parser.add_argument("--photos", type=Path, help="folder of photos of your own to show, in place of the documents")
    parser.add_argument("--output", type=Path, default=ROOT, help="folder to write to; the project's root if not given")
    arguments = parser.parse_args()
    model = starter_model()
    assert model is not None, "the starter model is not in src/clothseg/starter"
    try:
        if arguments.photos is None:
            files = written(model, RESULTS)
        elif arguments.output == ROOT:
            parser.error("--photos writes pictures of your photos: say with --output where to")
        else:
            files = {Path(name): content for name, content, _ in pictures(model, arguments.photos)}
        for path, content in files.items():
            (arguments.output / path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(arguments.output / path, content)
            print(f"{arguments.output / path}: {len(content):,} bytes")
    except ClothsegError as error:
        raise SystemExit(f"Error: {error}") from error
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
