"""Prediction as one would write it first, which the benchmark measures ours against.

torch in fp32, Pillow to resize, softmax, an argmax enlarged by repeating pixels, an encoded mask per class by
pycocotools, Pillow to draw and write.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
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

    def outputs(self, photo: Image.Image, logits: Any, stem: Path) -> Any:
        """Write mask, overlay with legend and JSON; return the mask."""
        from pycocotools import mask as coco

        probabilities = self.torch.softmax(logits, dim=0)
        small = probabilities.argmax(dim=0).to(self.torch.uint8).numpy()
        mask = np.array(Image.fromarray(small).resize(photo.size, Image.Resampling.NEAREST))
        indexed = Image.fromarray(mask, mode="L")
        indexed.putpalette(self.palette.ravel().tolist())
        indexed.save(f"{stem}_mask.png")
        pixels = np.array(photo)
        blended = np.where((mask > 0)[..., None], 0.5 * pixels + 0.5 * self.palette[mask], pixels).astype(np.uint8)
        shown = [class_id for class_id in np.unique(mask).tolist() if class_id]
        picture = Image.new("RGB", (photo.width + 200, photo.height), "white")
        picture.paste(Image.fromarray(blended))
        pen = ImageDraw.Draw(picture)
        for row, class_id in enumerate(shown):
            top = 10 + 24 * row
            color = tuple(self.palette[class_id].tolist())
            pen.rectangle((photo.width + 10, top, photo.width + 30, top + 16), fill=color)
            pen.text((photo.width + 36, top), f"{self.names[class_id]} {(mask == class_id).mean():.1%}", fill="black")
        picture.save(f"{stem}_overlay.jpg", quality=90)
        segments = []
        for class_id in shown:
            inside = mask == class_id
            rle = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
            score = float(probabilities[class_id].numpy()[small == class_id].mean())
            box = coco.toBbox(rle).tolist()
            rle["counts"] = rle["counts"].decode()
            entry = {"class_id": class_id, "label": self.names[class_id], "rle": rle, "area": int(inside.sum())}
            segments.append(entry | {"bbox": box, "score": score})
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
