"""The process that decodes, predicts and encodes; run as `python -m clothseg.serving.worker`, it ends with its server.

Whatever a photo does to a decoder, it does to this process and not to the server, which starts another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import warnings
from typing import Any, BinaryIO

from clothseg.data.sample import sample_picture
from clothseg.encoding import encode_jpeg
from clothseg.errors import ClothsegError, InputError, LargePictureError, one_line
from clothseg.freed_memory import FOR_PHOTOS, keep_freed_memory
from clothseg.prediction.predictor import Predictor, load
from clothseg.serving import messages
from clothseg.serving.messages import Message
from clothseg.serving.rendering import NotShownError, render, segment
from clothseg.serving.wish import Wish

_KIND_OF = ((NotShownError, "not-in-photo"), (LargePictureError, "too-many-pixels"), (InputError, "unreadable-photo"))


def main() -> int:
    """Load the model that the first argument describes, then answer messages until standard input ends."""
    # Whatever a library prints must not get between the messages: it goes to stderr from here on.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Ctrl-C and SIGTERM often go to all processes of a group; the server ends this one when its answers are out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # a photo that is too large is refused by name instead
    keep_freed_memory(FOR_PHOTOS)
    try:
        predictor = load(**json.loads(sys.argv[1]))
    except ClothsegError as error:
        messages.write(answers, Message({"failed": one_line(error), "exit_code": error.exit_code}))
        return error.exit_code
    messages.write(answers, Message({"ready": introduction(predictor)}))
    with contextlib.suppress(BrokenPipeError):  # the server is gone
        _serve(predictor, sys.stdin.buffer, answers)
    return 0


def introduction(predictor: Predictor) -> dict[str, Any]:
    """Return what a worker says of its model: identity, description, what runs it."""
    description = predictor.description.to_dict()
    return {**description, **predictor.model, "origin": predictor.origin, "runtime": predictor.runtime_name}


def _serve(predictor: Predictor, questions: BinaryIO, answers: BinaryIO) -> None:
    while (question := messages.read(questions)) is not None:
        messages.write(answers, Message({"begun": True}))
        try:
            answer = _answer(predictor, question)
        except ClothsegError as error:
            kind = next((kind for of, kind in _KIND_OF if isinstance(error, of)), "not-done")
            answer = Message({"problem": kind, "detail": one_line(error)})
        messages.write(answers, answer)


def _answer(predictor: Predictor, question: Message) -> Message:
    if question.header.get("sample"):
        return Message({"media_type": "image/jpeg"}, encode_jpeg(sample_picture(seed=1)))
    wish = Wish(**question.header["wish"])
    segmentation, seconds = segment(predictor, question.body, wish)
    since = time.perf_counter()
    media_type, body = render(segmentation, wish)
    seconds["encode"] = time.perf_counter() - since
    return Message({"media_type": media_type, "model": predictor.model["sha256"], "seconds": seconds}, body)


if __name__ == "__main__":
    sys.exit(main())
