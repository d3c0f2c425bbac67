"""Makes the two pictures of the README: a photo that the project may show, and what the starter model finds in it.

    uv run python docs/pictures/make.py

writes `before.jpg` and `after.jpg` beside this file, each as good as fits into 60 KB.
"""

import argparse
from pathlib import Path

import clothseg
from clothseg.encoding import encode_jpeg
from clothseg.pictures import read_picture, write_whole
from clothseg.starter import starter_model
from clothseg.transforms import UInt8Array

MOST_BYTES = 60_000
PHOTO = Path(__file__).with_name("photos") / "01_documerica_hiser.jpg"


def small_jpeg(picture: UInt8Array) -> bytes:
    """Return (H, W, 3) uint8 RGB as the best JPEG that takes at most `MOST_BYTES`."""
    for quality in range(92, 30, -2):
        content = encode_jpeg(picture, quality)
        if len(content) <= MOST_BYTES:
            return content
    raise SystemExit(f"Error: {picture.shape[1]} x {picture.shape[0]} pixels do not fit into {MOST_BYTES} bytes")


def main() -> None:
    """Predict and write."""
    parser = argparse.ArgumentParser(description="Makes the two pictures of the README.")
    parser.add_argument("--model", type=Path, help="model file; the starter model if not given")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="photo to show; the first of photos/ if not given")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    arguments = parser.parse_args()
    before = small_jpeg(read_picture(arguments.photo).pixels)
    predictor = clothseg.load(arguments.model or starter_model())
    segmentation = predictor.predict(read_picture(before).pixels)  # what the reader sees
    for name, content in (("before", before), ("after", small_jpeg(segmentation.overlay(legend=True)))):
        path = arguments.output / f"{name}.jpg"
        write_whole(path, content)
        print(f"{path}: {len(content):,} bytes")
    print("Found:", ", ".join(f"{label.name} {label.share:.1%}" for label in segmentation.labels))


if __name__ == "__main__":
    main()
