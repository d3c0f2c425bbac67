"""Makes the pictures of the README: photos that the project may show, and what the starter model finds in them.

    uv run python docs/pictures/make.py

writes `before.jpg` and `after.jpg` (one photo, with a legend) and `examples.jpg` (three photos beside their masks) into
this folder, each as good as fits into 60 or 150 KB.
"""

import argparse
from collections import Counter
from pathlib import Path

import clothseg
from clothseg import Predictor, drawing
from clothseg.encoding import encode_jpeg
from clothseg.pictures import read_picture, write_whole
from clothseg.transforms import resize_image
from clothseg.types import UInt8Array

PHOTOS = tuple(
    Path(__file__).with_name("photos") / name
    for name in ("01_documerica_hiser.jpg", "02_loc_man_in_hat.jpg", "03_cc0_woman_in_garden.jpg")
)
HEIGHT = 400
"""Height of each photo in `examples.jpg`, in pixels."""


def small_jpeg(picture: UInt8Array, most_bytes: int = 60_000) -> bytes:
    """Return (H, W, 3) uint8 RGB as the best JPEG that takes at most `most_bytes`."""
    for quality in range(92, 30, -2):
        content = encode_jpeg(picture, quality)
        if len(content) <= most_bytes:
            return content
    raise SystemExit(f"Error: {picture.shape[1]} x {picture.shape[0]} pixels do not fit into {most_bytes} bytes")


def examples(predictor: Predictor) -> UInt8Array:
    """Return each photo beside the same with the classes in colour, in one row, and a legend of all classes shown."""
    pairs, areas = [], Counter[int]()
    for path in PHOTOS:
        segmentation = predictor.predict(path)
        height, width = segmentation.size
        size = (HEIGHT, round(HEIGHT * width / height))
        pictures = (segmentation.photo, segmentation.overlay())
        pairs.append(drawing.side_by_side(*(resize_image(picture, size) for picture in pictures), gap=2))
        areas.update({label.class_id: label.area for label in segmentation.labels if label.share >= 0.0005})
    shown = [class_id for class_id, _ in areas.most_common()]
    return drawing.with_legend(drawing.side_by_side(*pairs, gap=16), predictor.description.classes, shown)


def main() -> None:
    """Predict and write."""
    parser = argparse.ArgumentParser(description="Makes the pictures of the README.")
    parser.add_argument("--model", default="starter", help="model file; the starter model if not given")
    parser.add_argument("--photo", type=Path, default=PHOTOS[0], help="photo of before.jpg; the first of photos/")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    arguments = parser.parse_args()
    before = small_jpeg(read_picture(arguments.photo).pixels)
    predictor = clothseg.load(arguments.model, precision="fp32")  # the same on every machine
    segmentation = predictor.predict(read_picture(before).pixels)  # what the reader sees
    for name, content in (
        ("before", before),
        ("after", small_jpeg(segmentation.overlay(legend=True))),
        ("examples", small_jpeg(examples(predictor), most_bytes=150_000)),
    ):
        path = arguments.output / f"{name}.jpg"
        write_whole(path, content)
        print(f"{path}: {len(content):,} bytes")
    print("Found:", ", ".join(f"{label.name} {label.share:.1%}" for label in segmentation.labels))


if __name__ == "__main__":
    main()
