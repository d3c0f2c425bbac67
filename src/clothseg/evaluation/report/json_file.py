"""An evaluation as JSON, version 1, and back: the counts of each photo are in it, so that two can be compared later."""

from __future__ import annotations

import json
import math
from typing import Any

from clothseg.evaluation.bootstrap import LEAST_PHOTOS, LEVEL, RESAMPLES, SEED
from clothseg.evaluation.counts import Tally
from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.metrics import ClassSummary, Estimate, GroupSummary, SizeSummary
from clothseg.evaluation.objects import FOUND_IOU, LARGE_SHARE, TORN_SHARE
from clothseg.evaluation.photo_counts import COUNTS
from clothseg.evaluation.records import VERSION
from clothseg.scores import BOUNDARY_SHARE


def evaluation_json(evaluation: Evaluation) -> bytes:
    """Return an evaluation as the bytes of its JSON file: one line for each photo, and for each row of the matrix."""
    values = _values(evaluation)
    long_lists = {"confusion_matrix": evaluation.summary.matrix.tolist(), "per_photo": per_photo(evaluation.tally)}
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    for name, rows in long_lists.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False, allow_nan=False)}" for row in rows)
        text += f',\n "{name}": [\n{lines}\n ]'
    return (text + "\n}\n").encode()


def _values(evaluation: Evaluation) -> dict[str, Any]:
    summary, names = evaluation.summary, evaluation.classes.names
    return {
        "version": VERSION,
        "predictions": dict(evaluation.predictions),
        "data": {
            "name": evaluation.data_name,
            "source": evaluation.data_source,
            "split": evaluation.split,
            "photos": summary.num_photos,
            "failed": [{"photo": one.photo, "reason": one.reason} for one in evaluation.failures],
            "classes": evaluation.classes.to_dicts(),
        },
        "clothseg": evaluation.circumstances.clothseg,
        "command": evaluation.circumstances.command,
        "machine": evaluation.circumstances.machine,
        "date": evaluation.circumstances.date,
        "intervals": {
            "level": LEVEL,
            "method": "bootstrap over photos",
            "resamples": RESAMPLES,
            "seed": SEED,
            "least_photos": LEAST_PHOTOS,
        },
        "boundary_share_of_diagonal": BOUNDARY_SHARE,
        "found_from_iou": FOUND_IOU,
        "pixel_accuracy": _estimate(summary.accuracy),
        "photo_iou": _estimate(summary.photo_iou),
        "mean": {
            "with_background": {name: _estimate(one) for name, one in summary.means.items()},
            "without_background": {name: _estimate(one) for name, one in summary.garment_means.items()},
            "without_left_out": {name: _estimate(one) for name, one in summary.chosen_means.items()},
            "left_out": list(summary.left_out),
            "over_classes": [one.name for one in summary.classes if one.photos],
        },
        "classes": [_class(one) for one in summary.classes],
        "object_sizes": [_size(one, names) for one in summary.sizes],
        "large_garments": {
            "from_share_of_photo": LARGE_SHARE,
            "torn_above_share": TORN_SHARE,
            "garments": summary.consistency.garments,
            "photos": summary.consistency.photos,
            "torn": _estimate(summary.consistency.torn),
            "wrong_majority": _estimate(summary.consistency.wrong),
        },
        "garments_per_photo": [_group(one) for one in summary.groups],
        "per_photo_counts": list(COUNTS),
    }


def _estimate(one: Estimate) -> dict[str, float | None] | None:
    if one.is_absent:
        return None
    return {"value": one.value, "low": _number(one.low), "high": _number(one.high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _class(one: ClassSummary) -> dict[str, Any]:
    counts = {"photos": one.photos, "pixels": one.pixels, "predicted_pixels": one.predicted_pixels}
    scores = {name: _estimate(score) for name, score in one.scores.items()}
    return {"id": one.class_id, "name": one.name, "absent": not one.photos} | counts | scores


def _size(one: SizeSummary, names: tuple[str, ...]) -> dict[str, Any]:
    classes = {
        name: {"objects": objects, "iou": iou}
        for name, objects, iou in zip(names, one.class_objects, one.class_iou, strict=True)
        if objects
    }
    return {
        "name": one.size.name,
        "from_pixels": one.size.least,
        "below_pixels": one.size.below,
        "objects": one.objects,
        "photos": one.photos,
        "recall": _estimate(one.recall),
        "iou": _estimate(one.iou),
        "found": _estimate(one.found),
        "classes": classes,
    }


def _group(one: GroupSummary) -> dict[str, Any]:
    scores = {"photo_iou": _estimate(one.photo_iou), "pixel_accuracy": _estimate(one.accuracy)}
    return {"garments": one.name, "photos": one.photos} | scores


def per_photo(tally: Tally) -> list[dict[str, Any]]:
    """Return the counts of each photo: by class id, for the classes that truth or prediction shows, as `COUNTS`."""
    rows = []
    columns = zip(tally.photos, tally.truth_checksums, tally.photo_iou.tolist(), tally.counts, strict=True)
    for name, checksum, iou, counts in columns:
        of_classes = {str(one): counts[:, one].tolist() for one in counts.any(axis=0).nonzero()[0]}
        rows.append({"photo": name, "truth_crc32": f"{checksum:08x}", "iou": round(iou, 6), "counts": of_classes})
    return rows
