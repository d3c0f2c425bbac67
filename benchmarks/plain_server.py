"""An HTTP endpoint as one would write it first, which the benchmark measures ours against: FastAPI around torch.

Run by `serving.py`: python plain_server.py CHECKPOINT PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from plain_prediction import PlainWay


def build(checkpoint: Path) -> FastAPI:
    """Return the application; FastAPI runs its function in threads, forty at most."""
    from pycocotools import mask as coco

    way = PlainWay(checkpoint)
    app = FastAPI()

    @app.post("/segment")
    def segment(photo: UploadFile) -> dict[str, Any]:
        picture = Image.open(photo.file).convert("RGB")
        probabilities = way.torch.softmax(way.logits(picture), dim=0)
        small = probabilities.argmax(dim=0).to(way.torch.uint8).numpy()
        mask = np.array(Image.fromarray(small).resize(picture.size, Image.Resampling.NEAREST))
        segments = []
        for class_id in (one for one in np.unique(mask).tolist() if one):
            inside = mask == class_id
            rle = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
            box = coco.toBbox(rle).tolist()
            rle["counts"] = rle["counts"].decode()
            score = float(probabilities[class_id].numpy()[small == class_id].mean())
            entry = {"class_id": class_id, "label": way.names[class_id], "rle": rle, "area": int(inside.sum())}
            segments.append(entry | {"bbox": box, "score": score})
        return {"file": photo.filename, "segments": segments}

    return app


if __name__ == "__main__":
    application = build(Path(sys.argv[1]))
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
