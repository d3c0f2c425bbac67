"""Makes REPORT.md, MODEL_CARD.md and their pictures from what was measured of the starter model.

    uv run python benchmarks/starter/report.py
    uv run python benchmarks/starter/report.py --photos PHOTOS --output pictures

The first reads benchmarks/starter/results and the model file, and writes the documents and docs/pictures/report. The
second only writes pictures of a reader's own photos beside what the model finds in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from keep import refuse_outside
from model_card import model_card
from plots import plots
from report_text import PICTURES, report
from results import RESULTS, ROOT, read_results
from shown_photos import DRAWN, Shown, drawn_pictures, readers_pictures

import clothseg
from clothseg.errors import ClothsegError
from clothseg.pictures import write_whole
from clothseg.starter import starter_model


def write_documents(model: Path, results_folder: Path, output: Path, *, drawn: int) -> None:
    """Write both documents and all their pictures below `output`."""
    results = read_results(results_folder, model)
    refuse_outside(results.model.description.to_dict())
    shown = drawn_pictures(clothseg.load(model), drawn=drawn)
    (output / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, content in plots(results).items():
        _write(output / PICTURES / name, content)
    _write_photos(output / PICTURES, [*shown.best, *shown.worst, *shown.real])
    _write(output / "REPORT.md", report(results, shown).encode())
    _write(output / "MODEL_CARD.md", model_card(results, shown).encode())


def _write_photos(folder: Path, photos: Iterable[Shown]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in photos:
        _write(folder / one.name, one.content)


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content)
    print(f"{path}: {len(content):,} bytes")


def main() -> int:
    """Write the documents, or the pictures of a reader's photos."""
    parser = argparse.ArgumentParser(description="Make REPORT.md, MODEL_CARD.md and their pictures.")
    parser.add_argument("--model", type=Path, help="model file; the one that ships with clothseg if not given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of what was measured")
    parser.add_argument("--photos", type=Path, help="folder of photos of your own to show, in place of the documents")
    parser.add_argument("--drawn", type=int, default=DRAWN, help="photos drawn, of which best and worst are shown")
    parser.add_argument("--output", type=Path, help="folder to write to; the project's root if not given")
    arguments = parser.parse_args()
    if arguments.photos is not None and arguments.output is None:
        parser.error("--photos writes pictures of your photos: say with --output where to")
    model = arguments.model or starter_model()
    if model is None:
        parser.error("no starter model is packaged: export one as README.md says, or pass --model MODEL")
    try:
        if arguments.photos is not None:
            _write_photos(arguments.output, readers_pictures(clothseg.load(model), arguments.photos))
        else:
            write_documents(model, arguments.results, arguments.output or ROOT, drawn=arguments.drawn)
    except ClothsegError as error:
        raise SystemExit(f"Error: {error}") from error
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
