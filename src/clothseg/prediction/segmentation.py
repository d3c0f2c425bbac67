"""The result of a prediction: the mask of one photo, its classes, and everything that is made from them."""

from __future__ import annotations

import contextlib
import json as json_text
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clothseg import drawing
from clothseg.encoding import MAX_JPEG_SIDE, encode_jpeg, encode_png, marked
from clothseg.errors import InputError, require
from clothseg.labels import CLOTHES, ClassList
from clothseg.pictures import write_whole
from clothseg.prediction.colors import main_colors
from clothseg.prediction.cutouts import PLAIN, SUFFIXES, CutoutStyle, Edges, cut_out
from clothseg.prediction.outputs import Outputs, cutout_parts, names_in_files, words_of
from clothseg.prediction.polygons import Corners, outline
from clothseg.prediction.probabilities import scores, soft_mask
from clothseg.prediction.try_on import TryOn, try_on
from clothseg.rle import Region, encode_regions
from clothseg.transforms import resize_image, resize_mask
from clothseg.types import BoolArray, Float32Array, UInt8Array

FORMAT_VERSION = 1
"""Version of the JSON that `Segmentation.to_coco` returns."""

MASK_ENDING, OVERLAY_ENDING, RESULTS_ENDING = "_mask.png", "_overlay.jpg", "_results.json"
CUTOUT_ENDING, SOFT_MASK_ENDING = "_cutout-{name}.{suffix}", "_soft-{name}.png"
TRY_ON_ENDING = "_tryon-{name}.{suffix}"
"""What follows a photo's stem in the names of its outputs."""

OVERLAY_SIDE = 3840
"""Longest side of an overlay, that of a 4K screen; larger photos are shown at a half of their size, or a third …,
which OpenCV computes eight times as fast as other ratios."""
NOTEBOOK_SIDE = 800
"""Longest side of the picture that a notebook shows, in pixels without the legend."""


@dataclass(frozen=True)
class Label:
    """One class that a photo shows.

    Examples:
        >>> label = predictor.predict("photo.jpg").labels[0]
        >>> label.name, label.area, label.bbox
        ('upperbody', 1050, (5, 10, 30, 35))
    """

    class_id: int
    name: str
    display_name: str
    """The name for people: "tops and jackets" for upperbody."""
    area: int
    """Pixels of the photo."""
    share: float
    """Part of the photo, 0 to 1."""
    score: float
    """Mean probability, 0 to 1, that the network gives the class on its pixels, at the network's resolution."""
    bbox: tuple[int, int, int, int]
    """(x, y, width, height) of the smallest box around its pixels."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A photo and the class of each of its pixels, in the photo's own size, EXIF-oriented.

    Boxes, run-length codes and scores are computed on first use and cached.

    Examples:
        >>> segmentation = predictor.predict("photo.jpg")
        >>> segmentation.mask.shape, segmentation.mask.dtype
        ((90, 60), dtype('uint8'))
        >>> [label.name for label in segmentation.labels]
        ['upperbody', 'lowerbody']
        >>> segmentation.cutout("upperbody", tight=True).shape
        (35, 30, 4)
        >>> [path.name for path in segmentation.save("results")]
        ['photo_mask.png', 'photo_overlay.jpg']
    """

    mask: UInt8Array
    """(H, W) uint8, class ids; read-only, since cached values depend on it. Change a copy."""
    photo: UInt8Array = field(repr=False)
    """(H, W, 3) uint8 RGB."""
    classes: ClassList
    """Names and colours of the ids."""
    logits: Float32Array = field(repr=False)
    """(C, h, w) float32 at the network's resolution, padding cropped; h and w at most the model's image size."""
    file: str = ""
    """Name of the photo in results; empty where the pixels came without one."""
    model: Mapping[str, str] = field(default_factory=dict)
    """Name, version and SHA-256 of the model file."""
    notes: tuple[str, ...] = ()
    """What was left out or changed when the photo was read, and whether the model is unsure of it, in words."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long decoding ("decode") and the network with its mask ("predict") took."""

    def __post_init__(self) -> None:
        mask = self.mask.view()
        mask.flags.writeable = False
        object.__setattr__(self, "mask", mask)

    def __repr__(self) -> str:
        height, width = self.size
        found = ", ".join(f"{label.name} {label.share:.1%}" for label in self.labels) or "no garment"
        return f"<Segmentation {self.file!r}, {width} x {height} pixels: {found}>"

    def _repr_png_(self) -> bytes:
        """Return the overlay with its legend as PNG, which a notebook shows in place of the text."""
        return encode_png(self._small_overlay(NOTEBOOK_SIDE))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the photo."""
        height, width = self.mask.shape
        return height, width

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Run-length code, area and box of each class but the background, lowest id first."""
        return encode_regions(self.mask)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The classes that the photo shows, largest area first; the background is none of them."""
        labels = (
            Label(
                class_id=region.class_id,
                name=self.classes.names[region.class_id],
                display_name=self.classes.classes[region.class_id].display_name,
                area=region.area,
                share=region.area / self.mask.size,
                score=score,
                bbox=region.bbox,
            )
            for region, score in zip(self.regions, scores(self.logits, self.mask, self.regions), strict=True)
        )
        return tuple(sorted(labels, key=lambda label: -label.area))

    def soft_mask(self, name: str) -> Float32Array:
        """Return the network's probability of a class on each pixel.

        The softmax is taken at the network's resolution and then resized, so that at a border it may differ a little
        from what `mask` says: the mask comes from resized logits.

        Returns:
            (H, W) float32, 0 to 1.

        Raises:
            SettingError: the model has no such class.
        """
        return soft_mask(self.logits, self.classes.id_of(name), self.size)

    def overlay(self, *, opacity: float = 0.5, legend: bool = False) -> UInt8Array:
        """Return the photo with the garments in their colours.

        Args:
            opacity: 0 shows the photo only, 1 the colours only.
            legend: put names, colours and shares at the right; the picture gets wider.

        Returns:
            (H, W, 3) uint8 RGB; with a legend wider, and at least 64 pixels high.
        """
        picture = drawing.overlay(self.photo, self.mask, self.classes, opacity=opacity)
        return self._with_legend(picture) if legend else picture

    def cutout(
        self,
        name: str | None = None,
        *,
        tight: bool = False,
        edges: Edges = "soft",
        background: str = "transparent",
        canvas: str = "",
        margin: str = "5%",
    ) -> UInt8Array:
        """Return a garment class, or everything worn, on a transparent background or another.

        Args:
            name: the class, such as "upperbody", or another name of it, such as "shirt"; see `ClassList.id_of`. None
                or "clothes" takes all classes together.
            tight: crop to the garment instead of keeping the photo's frame.
            edges: "soft" estimates how much of each pixel the garment covers, "hard" takes whole pixels of the mask.
            background: "transparent", "blur", a colour such as "white" or "#ffffff", or the path of a picture.
            canvas: scale the garment to fit a canvas, as in "2000x2000", and centre it.
            margin: space around it on the canvas, in per cent of its shorter side.

        Returns:
            (H, W, 4) uint8 RGBA; where the garment is not, all four are 0 on a transparent background.

        Raises:
            SettingError: the model has no such class, or a value is not allowed.
            InputError: a cut-out of a class that the photo does not show, tight or on a canvas.
        """
        style = CutoutStyle(edges=edges, background=background, canvas=canvas, margin=margin)
        inside = self.inside(name)
        if (tight or canvas) and not inside.any():
            shown = ", ".join(label.display_name for label in self.labels) or "nothing"
            raise InputError(f"No {name or CLOTHES} to cut out of {self.file or 'the photo'}. It shows: {shown}")
        return self.cut_out(inside, style, tight=tight)

    def inside(self, name: str | None = None) -> BoolArray:
        """Return where a class is, or anything worn, without parts of the body, if None or "clothes": (H, W) bool.

        Raises:
            SettingError: the model has no such class.
        """
        if name is None or (name == CLOTHES and CLOTHES not in self.classes.names):
            return np.isin(np.arange(256), self.classes.garment_ids)[self.mask]
        return np.asarray(self.mask == self.classes.id_of(name))

    def cut_out(self, inside: BoolArray, style: CutoutStyle = PLAIN, *, tight: bool = False) -> UInt8Array:
        """Return the part of the photo where `inside`, (H, W), is true; see `cutouts.cut_out`."""
        return cut_out(self.photo, inside, style, tight=tight, pixel=max(self.size) / max(self.logits.shape[1:]))

    def cutout_files(self, words: str, style: CutoutStyle = PLAIN) -> Iterator[tuple[str, bytes]]:
        """Yield the files of cut-outs: what follows the stem in each name, and the content; see `Outputs.cutouts`.

        Raises:
            SettingError: a name that no class covers.
        """
        parts = cutout_parts(words, self.classes, [region.class_id for region in self.regions])
        for name_in_file, name in parts.items():
            content = style.encode(self.cut_out(self.inside(name), style, tight="tight" in words_of(words)))
            yield CUTOUT_ENDING.format(name=name_in_file, suffix=SUFFIXES[style.cutout_format]), content

    def try_on(self, region: str) -> TryOn:
        """Return the mask and the garment that try-on programs ask for; the region is "upper", "lower" or "full".

        Raises:
            SettingError: there is no such region.
            InputError: the photo shows no garment of the region.
        """
        return try_on(self.photo, self.mask, self.classes, region, pixel=max(self.size) / max(self.logits.shape[1:]))

    def try_on_files(self, region: str) -> Iterator[tuple[str, bytes]]:
        """Yield the files of `try_on`: what follows the stem in each name, and the content."""
        mask, garment = self.try_on(region)
        yield TRY_ON_ENDING.format(name=f"{region}-mask", suffix="png"), encode_png(mask)
        yield TRY_ON_ENDING.format(name=f"{region}-garment", suffix="jpg"), encode_jpeg(garment, 95)

    def polygons(self, name: str, *, tolerance: float = 1.0) -> list[Corners]:
        """Return the outlines of a class as polygons, one for each connected piece; see `polygons.outline`.

        To have fewer corners, an outline may stray `tolerance` pixels from the mask's; 0 keeps it exact.

        Returns:
            (N, 2) int32 each: x and y of corners, on the edges of pixels. `polygon.ravel().tolist()` is COCO's form.

        Raises:
            SettingError: the model has no such class.
        """
        return outline(self.inside(name), tolerance=tolerance)

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections` with one detection for each class that the photo shows, lowest id first.

        `xyxy`: (N, 4) float32. `mask`: (N, H, W) bool. `confidence`: (N,) float32, the scores. `class_id`: (N,) int.
        `data["class_name"]`: (N,), the names.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        supervision = require("supervision", "supervision")
        labels = sorted(self.labels, key=lambda label: label.class_id)
        boxes = np.array([label.bbox for label in labels], np.float32).reshape(-1, 4)
        class_ids = np.array([label.class_id for label in labels], int)
        return supervision.Detections(
            xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
            mask=self.mask == class_ids[:, None, None],
            confidence=np.array([label.score for label in labels], np.float32),
            class_id=class_ids,
            data={"class_name": np.array([label.name for label in labels], str)},
        )

    def to_coco(self, *, colors: bool = False) -> dict[str, Any]:
        """Return the results as plain values for JSON, version 1, for `pycocotools.mask.decode` to read.

        There is one segment per class that the photo shows, lowest id first. The background has none: it is what the
        others leave, so the segments describe the whole mask. With `colors` each has the main colours of its garment,
        too; see `colors.main_colors`. Where there are notes on the photo, they are below the key notes.
        """
        score_by_id = {label.class_id: label.score for label in self.labels}
        height, width = self.size
        return {
            "version": FORMAT_VERSION,
            "file": self.file,
            "width": width,
            "height": height,
            "model": dict(self.model),
            "segments": [
                {
                    "class_id": region.class_id,
                    "label": self.classes.names[region.class_id],
                    "rle": region.rle,
                    "area": region.area,
                    "bbox": list(region.bbox),
                    "score": round(score_by_id[region.class_id], 4),
                    **({"colors": self._colors(region)} if colors else {}),
                }
                for region in self.regions
            ],
        } | ({"notes": list(self.notes)} if self.notes else {})

    def _colors(self, region: Region) -> list[dict[str, Any]]:
        x, y, width, height = region.bbox
        box = slice(y, y + height), slice(x, x + width)
        return main_colors(self.photo[box][self.mask[box] == region.class_id])

    def save(
        self,
        folder: str | Path,
        *,
        stem: str | None = None,
        json: bool = False,
        cutouts: str = "none",
        soft_masks: bool = False,
        style: CutoutStyle = PLAIN,
        try_on: str = "",
        full_overlay: bool = False,
    ) -> tuple[Path, ...]:
        """Write the mask (indexed PNG), the overlay with legend (JPEG) and what else is asked for.

        Args:
            folder: where to write; made if needed.
            stem: start of the file names, the photo's own if None; it may begin with folders.
            json: write the results, `<stem>_results.json`.
            cutouts: write each garment that the photo shows, `<stem>_cutout-<class>.png`: "frame" or "tight"; other
                choices as in `Outputs.cutouts`.
            soft_masks: write the probability of each class that the photo shows, `<stem>_soft-<class>.png`.
            style: edges, background, canvas and format of cut-outs.
            try_on: regions to write files for try-on programs for, as in "upper,lower"; see `try_on`.
            full_overlay: write the overlay at the photo's size, also if that is more than 3,840 pixels on a side.

        Returns:
            The files, `<stem>_mask.png` and `<stem>_overlay.jpg` first. Each is written atomically.

        Raises:
            SettingError: two options do not go together, or name what does not exist.
            MachineError: the folder cannot be written, or the disk is full.
        """
        outputs = Outputs(json, cutouts, full_overlay, style, try_on, soft_masks=soft_masks)
        return self.write(Path(folder), outputs, stem or Path(self.file).stem or "photo")

    def write(self, folder: Path, outputs: Outputs, stem: str) -> tuple[Path, ...]:
        """Write the files of `contents`, each atomically, and return their paths; see `save`."""
        paths = []
        for ending, content in self.contents(outputs):
            paths.append(folder / f"{stem}{ending}")
            write_whole(paths[-1], content)
        return tuple(paths)

    def contents(self, outputs: Outputs) -> Iterator[tuple[str, bytes]]:
        """Yield the files of this photo: what follows the stem in each name, and the content."""
        yield MASK_ENDING, marked(encode_png(self.mask, palette=self.classes.palette))
        longest = max(self.size)
        shown = MAX_JPEG_SIDE if outputs.full_overlay else longest / -(-longest // OVERLAY_SIDE)
        yield OVERLAY_ENDING, marked(encode_jpeg(self._small_overlay(shown)))
        if outputs.json:
            yield RESULTS_ENDING, f"{json_text.dumps(self.to_coco())}\n".encode()
        for ending, content in self.cutout_files(outputs.cutouts, outputs.style):
            yield ending, marked(content)
        for region in words_of(outputs.try_on):
            with contextlib.suppress(InputError):  # many photos lack one region
                for ending, content in self.try_on_files(region):
                    yield ending, marked(content)
        if outputs.soft_masks:
            names = names_in_files(self.classes)
            for one in self.regions:
                plane = soft_mask(self.logits, one.class_id, self.size)
                content = encode_png(np.rint(255 * plane).astype(np.uint8))
                yield SOFT_MASK_ENDING.format(name=names[one.class_id]), marked(content)

    def _small_overlay(self, max_side: float) -> UInt8Array:
        """Return the overlay with its legend, of the photo shrunk where a side is longer than `max_side` pixels."""
        scale = min(1.0, max_side / max(self.size))
        height, width = (max(1, int(side * scale)) for side in self.size)
        whole = np.s_[: int(height / scale), : int(width / scale)]  # one odd row would take OpenCV 5 times as long
        small, mask = resize_image(self.photo[whole], (height, width)), resize_mask(self.mask[whole], (height, width))
        return self._with_legend(drawing.overlay(small, mask, self.classes))

    def _with_legend(self, picture: UInt8Array) -> UInt8Array:
        shares = {region.class_id: region.area / self.mask.size for region in self.regions}
        by_area = sorted(shares, key=lambda class_id: -shares[class_id])
        return drawing.with_legend(picture, self.classes, by_area, shares=shares)
