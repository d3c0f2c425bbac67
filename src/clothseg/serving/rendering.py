"""How a photo becomes a segmentation, and a segmentation what was asked for; runs in a worker."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace

from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import InputError
from clothseg.pictures import read_picture
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.segmentation import Segmentation
from clothseg.serving.wish import Wish

# Source: libjpeg's JPEG_MAX_DIMENSION; a little is left for the legend.
_LONGEST_JPEG_SIDE = 64_000


class NotShownError(InputError):
    """A cut-out of a class that the photo does not show."""


def segment(predictor: Predictor, photo: bytes, wish: Wish) -> tuple[Segmentation, dict[str, float]]:
    """Decode and segment a photo.

    Returns:
        The segmentation, and the seconds that decoding and predicting took.

    Raises:
        PictureError: the photo cannot be read, or has too many pixels.
    """
    start = time.perf_counter()
    picture = read_picture(photo, max_pixels=wish.max_pixels)
    decoded = time.perf_counter()
    segmentation = replace(predictor.predict(picture.pixels), file=wish.file, notes=picture.notes)
    return segmentation, {"decode": decoded - start, "predict": time.perf_counter() - decoded}


def render(segmentation: Segmentation, wish: Wish) -> tuple[str, bytes]:
    """Return the media type and the content of what was asked for.

    Raises:
        NotShownError: a cut-out of a class that the photo does not show.
        InputError: an overlay longer than a JPEG can be.
    """
    if wish.output == "json":
        return "application/json", _json(segmentation, include_mask=wish.include_mask)
    if wish.output == "mask":
        return "image/png", _mask(segmentation)
    if wish.output == "overlay":
        return "image/jpeg", _overlay(segmentation)
    if wish.label not in (shown := [label.name for label in segmentation.labels]):
        raise NotShownError(f"No {wish.label} to cut out. The photo shows: {', '.join(shown) or 'nothing'}")
    return "image/png", encode_png(segmentation.cutout(wish.label, tight=wish.tight))


def _mask(segmentation: Segmentation) -> bytes:
    return encode_png(segmentation.mask, palette=segmentation.classes.palette)


def _overlay(segmentation: Segmentation) -> bytes:
    if max(segmentation.size) > _LONGEST_JPEG_SIDE:
        height, width = segmentation.size
        raise InputError(
            f"The photo is {width} x {height} pixels, and a JPEG at most {_LONGEST_JPEG_SIDE:,} on a side. Ask for "
            "the mask, or make the photo smaller"
        )
    return encode_jpeg(segmentation.overlay(legend=True))


def _json(segmentation: Segmentation, *, include_mask: bool) -> bytes:
    values = segmentation.to_coco()
    if include_mask:
        values["mask"] = f"data:image/png;base64,{base64.b64encode(_mask(segmentation)).decode()}"
    return f"{json.dumps(values)}\n".encode()
