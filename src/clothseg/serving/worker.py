"""The worker process: reads messages, decodes photos, segments them and encodes the reply; ends with its server.

A photo that crashes a decoder ends this process and not the server, which starts another one.
Run as `python -m clothseg.serving.worker`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from clothseg.data.sample import sample_picture
from clothseg.encoding import MAX_JPEG_SIDE, encode_jpeg, encode_png
from clothseg.errors import ClothsegError, InputError, LargePictureError, SettingError, one_line, pack_error
from clothseg.labels import CLOTHES
from clothseg.prediction.cutouts import SUFFIXES, CutoutStyle, color_of
from clothseg.prediction.outputs import names_in_files
from clothseg.prediction.predictor import Predictor, load
from clothseg.prediction.segmentation import CUTOUT_ENDING, MASK_ENDING, OVERLAY_ENDING, RESULTS_ENDING, Segmentation
from clothseg.serving import messages
from clothseg.serving.messages import MEDIA_TYPES, Include, Message, SegmentRequest


class NotShownError(InputError):
    """A cut-out of a class that the photo does not show."""


_PROBLEM_BY_ERROR = (
    (SettingError, "wrong-parameter"),
    (NotShownError, "not-in-photo"),
    (LargePictureError, "too-many-pixels"),
    (InputError, "unreadable-photo"),
)


def main() -> int:
    """Load the model that the first argument describes, then answer messages until standard input ends."""
    # Whatever a library prints must not get between the messages: standard output is stderr from here on.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Ctrl-C and SIGTERM often go to all processes of a group; the server ends this one when its replies are sent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # a photo that is too large is refused with a message instead
    try:
        predictor = load(**json.loads(sys.argv[1]))
    except ClothsegError as error:
        messages.write(replies, Message({"failed": pack_error(error)}))
        return error.exit_code
    messages.write(replies, Message({"ready": model_info(predictor)}))
    with contextlib.suppress(BrokenPipeError):  # the server has ended
        _serve(predictor, sys.stdin.buffer, replies)
    return 0


def model_info(predictor: Predictor) -> dict[str, Any]:
    """Return the description of the model, its identity, and what runs it."""
    description = predictor.description.to_dict()
    return {**description, **predictor.model, "origin": predictor.origin, "runtime": predictor.runtime_name}


def _serve(predictor: Predictor, requests: BinaryIO, replies: BinaryIO) -> None:
    while (message := messages.read(requests)) is not None:
        messages.write(replies, Message({"started": True}))
        try:
            reply = _reply(predictor, message)
        except ClothsegError as error:
            kind = next((kind for of, kind in _PROBLEM_BY_ERROR if isinstance(error, of)), "not-done")
            reply = Message({"problem": kind, "detail": one_line(error)})
        messages.write(replies, reply)


def _reply(predictor: Predictor, message: Message) -> Message:
    if message.header.get("sample"):
        return Message({"media_type": "image/jpeg"}, encode_jpeg(sample_picture(seed=1)))
    request = SegmentRequest(**message.header["segment"])
    style_of(request)  # refused before the photo is decoded
    segmentation = predictor.predict(message.body, name=request.file, max_pixels=request.max_pixels)
    start = time.perf_counter()
    files = dict(render(segmentation, request))
    seconds = {**segmentation.seconds, "encode": time.perf_counter() - start}
    media_type = MEDIA_TYPES[request.output]
    if request.output == "cutout":
        media_type = f"image/{request.style.get('cutout_format', 'png')}"
    stem = Path(request.file).stem or "photo"
    header = {
        "media_type": media_type,
        "model": predictor.model["sha256"],
        "seconds": seconds,
        "files": [(f"{stem}{ending}", len(content)) for ending, content in files.items()],
    }
    return Message(header, b"".join(files.values()))


def render(segmentation: Segmentation, request: SegmentRequest) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the requested output: what follows the photo's stem in each name, and the content.

    Raises:
        NotShownError: a cut-out of a class that the photo does not show.
        InputError: a picture longer than its format allows.
    """
    if request.output == "json":
        yield RESULTS_ENDING, _json(segmentation, request.include)
    elif request.output == "mask":
        yield MASK_ENDING, _mask(segmentation)
    elif request.output == "overlay":
        yield OVERLAY_ENDING, _overlay(segmentation)
    elif request.output == "try-on":
        try:
            yield from segmentation.try_on_files(request.region)
        except InputError as error:
            raise NotShownError(one_line(error)) from error
    elif request.output == "cutouts":
        yield from segmentation.cutout_files("tight" if request.tight else "frame", style_of(request))
    else:
        name, style, classes = request.label or None, style_of(request), segmentation.classes
        inside = segmentation.inside(name)
        if not inside.any():
            shown = ", ".join(label.display_name for label in segmentation.labels) or "nothing"
            raise NotShownError(f"No {name or CLOTHES} to cut out. The photo shows: {shown}")
        in_file = names_in_files(classes)[classes.id_of(name)] if name else CLOTHES
        ending = CUTOUT_ENDING.format(name=in_file, suffix=SUFFIXES[style.cutout_format])
        yield ending, style.encode(segmentation.cut_out(inside, style, tight=request.tight))


def style_of(request: SegmentRequest) -> CutoutStyle:
    """Return how cut-outs are made; a background is no picture of the server's disk.

    Raises:
        SettingError: a value is not allowed.
    """
    background = request.style.get("background", "transparent")
    if background not in ("transparent", "blur") and not color_of(background):
        allowed = "transparent, blur, #rrggbb or the name of a colour; pictures only on the command line and in Python"
        raise SettingError(f"background is {background[:100]!r}. Allowed: {allowed}")
    style = CutoutStyle(**request.style)
    width, height = style.canvas_size if style.canvas else (0, 0)
    if width * height > request.max_pixels:
        raise SettingError(f"canvas is {style.canvas}. Allowed: at most {request.max_pixels:,} pixels")
    return style


def _mask(segmentation: Segmentation) -> bytes:
    return encode_png(segmentation.mask, palette=segmentation.classes.palette)


def _overlay(segmentation: Segmentation) -> bytes:
    if max(segmentation.size) > MAX_JPEG_SIDE:
        height, width = segmentation.size
        raise InputError(
            f"The photo is {width} x {height} pixels, and a JPEG at most {MAX_JPEG_SIDE:,} on a side. Ask for "
            "the mask, or make the photo smaller"
        )
    return encode_jpeg(segmentation.overlay(legend=True))


def _json(segmentation: Segmentation, include: Sequence[Include]) -> bytes:
    values = segmentation.to_coco()
    if "polygons" in include:
        for segment in values["segments"]:
            segment["polygons"] = [one.ravel().tolist() for one in segmentation.polygons(segment["label"])]
    if "mask" in include:
        values["mask"] = f"data:image/png;base64,{base64.b64encode(_mask(segmentation)).decode()}"
    return f"{json.dumps(values)}\n".encode()


if __name__ == "__main__":
    sys.exit(main())
