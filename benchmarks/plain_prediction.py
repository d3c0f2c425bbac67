"""Prediction and a server as one would write them first, which the benchmarks measure ours against.

torch in fp32, Pillow to resize, softmax, an argmax enlarged by repeating pixels, an encoded mask per class by
pycocotools, Pillow to draw and write; FastAPI around it. `serving.py` runs the server:

    python plain_prediction.py CHECKPOINT PORT
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw


class PlainWay:
    """Prediction as one would write it first."""

    def __init__(self, checkpoint: Path) -> None:
        import torch

        from clothseg.model.checkpoint import load_checkpoint

        self.torch = torch
        self.description, self.network = load_checkpoint(checkpoint)
        self.names, self.palette = self.description.classes.names, self.description.classes.palette

    def logits(self, photo: Image.Image) -> Any:
        """Return (C, h, w) logits of the photo inside its padding."""
        size = self.description.image_size
        scale = size / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        canvas = Image.new("RGB", (-(-width // 32) * 32, -(-height // 32) * 32), self.description.normalization.fill)
        canvas.paste(photo.resize((width, height), Image.Resampling.BILINEAR))
        pixels = self.torch.from_numpy(np.array(canvas)).permute(2, 0, 1)[None]
        with self.torch.inference_mode():
            return self.network(pixels)[0, :, :height, :width]

    def segments(self, photo: Image.Image, logits: Any) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
        """Return the mask, (H, W) uint8 class ids, and its classes with their codes, boxes and scores."""
        from pycocotools import mask as coco

        probabilities = self.torch.softmax(logits, dim=0)
        small = probabilities.argmax(dim=0).to(self.torch.uint8).numpy()
        mask = np.array(Image.fromarray(small).resize(photo.size, Image.Resampling.NEAREST))
        segments = []
        for class_id in (one for one in np.unique(mask).tolist() if one):
            inside = mask == class_id
            rle = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
            score = float(probabilities[class_id].numpy()[small == class_id].mean())
            box = coco.toBbox(rle).tolist()
            rle["counts"] = rle["counts"].decode()
            entry = {"class_id": class_id, "label": self.names[class_id], "rle": rle, "area": int(inside.sum())}
            segments.append(entry | {"bbox": box, "score": score})
        return mask, segments

    def outputs(self, photo: Image.Image, logits: Any, stem: Path) -> Any:
        """Write mask, overlay with legend and JSON; return the mask."""
        mask, segments = self.segments(photo, logits)
        indexed = Image.fromarray(mask, mode="L")
        indexed.putpalette(self.palette.ravel().tolist())
        indexed.save(f"{stem}_mask.png")
        pixels = np.array(photo)
        blended = np.where((mask > 0)[..., None], 0.5 * pixels + 0.5 * self.palette[mask], pixels).astype(np.uint8)
        picture = Image.new("RGB", (photo.width + 200, photo.height), "white")
        picture.paste(Image.fromarray(blended))
        pen = ImageDraw.Draw(picture)
        for row, one in enumerate(segments):
            top, color = 10 + 24 * row, tuple(self.palette[one["class_id"]].tolist())
            pen.rectangle((photo.width + 10, top, photo.width + 30, top + 16), fill=color)
            pen.text((photo.width + 36, top), f"{one['label']} {one['area'] / mask.size:.1%}", fill="black")
        picture.save(f"{stem}_overlay.jpg", quality=90)
        Path(f"{stem}_results.json").write_text(json.dumps({"file": stem.name, "segments": segments}))
        return mask

    def predict(self, path: Path, output: Path) -> Any:
        """Photo in, files out; return the mask."""
        photo = Image.open(path).convert("RGB")
        return self.outputs(photo, self.logits(photo), output / path.stem)


@cache
def plain_way(checkpoint: Path) -> PlainWay:
    """Return the plain way with its model loaded, once in a process."""
    return PlainWay(checkpoint)


def serve(checkpoint: Path, port: int) -> None:
    """Run the server; FastAPI runs its function in threads, forty at most."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    way = PlainWay(checkpoint)
    app = FastAPI()

    @app.post("/segment")
    def segment(photo: UploadFile) -> dict[str, Any]:
        picture = Image.open(photo.file).convert("RGB")
        return {"file": photo.filename, "segments": way.segments(picture, way.logits(picture))[1]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
