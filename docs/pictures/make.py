"""Makes the two pictures of the README: a photo that our own generator draws, and what a model finds in it.

No real photo is shown, so that the pictures belong to the project. The photo is none of those that
`data_prep.py --sample` writes: a model trained on them has not seen it.

    uv run python docs/pictures/make.py --model MODEL

writes `before.jpg` and `after.jpg` beside this file, each as good as fits into 60 KB. MODEL is any model file; to make
one for it, train on drawn photos, such as

    uv run data_prep.py --sample
    uv run train.py --encoder-name mobilenet_v2 --img-size 256 --batch-size 8 --epochs 20
"""

import argparse
from pathlib import Path

import clothseg
from clothseg.data.sample import sample_picture
from clothseg.encoding import encode_jpeg
from clothseg.pictures import read_picture, write_whole
from clothseg.transforms import UInt8Array

MOST_BYTES = 60_000


def small_jpeg(picture: UInt8Array) -> bytes:
    """Return (H, W, 3) uint8 RGB as the best JPEG that takes at most `MOST_BYTES`."""
    for quality in range(92, 30, -2):
        content = encode_jpeg(picture, quality)
        if len(content) <= MOST_BYTES:
            return content
    raise SystemExit(f"Error: {picture.shape[1]} x {picture.shape[0]} pixels do not fit into {MOST_BYTES} bytes")


def main() -> None:
    """Draw, predict, write."""
    parser = argparse.ArgumentParser(description="Makes the two pictures of the README.")
    parser.add_argument("--model", type=Path, required=True, help="model file: a checkpoint or an export")
    parser.add_argument("--seed", type=int, default=1, help="which photo to draw")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    arguments = parser.parse_args()
    before = small_jpeg(sample_picture(arguments.seed))
    segmentation = clothseg.load(arguments.model).predict(read_picture(before).pixels)  # what the reader sees
    for name, content in (("before", before), ("after", small_jpeg(segmentation.overlay(legend=True)))):
        path = arguments.output / f"{name}.jpg"
        write_whole(path, content)
        print(f"{path}: {len(content):,} bytes")
    print("Found:", ", ".join(f"{label.name} {label.share:.1%}" for label in segmentation.labels))


if __name__ == "__main__":
    main()
