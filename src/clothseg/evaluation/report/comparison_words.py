"""A comparison in words, the same in every report."""

from __future__ import annotations

from clothseg.evaluation.bootstrap import RESAMPLES, SEED
from clothseg.evaluation.compare import Comparison, Difference
from clothseg.evaluation.evaluation import Circumstances
from clothseg.evaluation.metrics import Estimate
from clothseg.evaluation.report import words

SHOWN = ("iou", "f1", "boundary_iou")
"""The scores that tables show; the JSON has all."""

EXPLANATION = (
    "Both were scored on the same photos, and the intervals are paired: each resample scores both on the same "
    "photos. A difference is beyond chance where its 95% interval leaves out 0. Of twenty differences that are only "
    "chance, about one still will."
)


def title(comparison: Comparison) -> str:
    """Return what is compared on what."""
    first, second = comparison.names
    return f"{second} against {first} on {comparison.first.data_name}, {comparison.first.split}"


def change(one: Estimate) -> str:
    """Return a difference with its sign.

    >>> change(Estimate(0.0312))
    '+0.031'
    """
    return words.ABSENT if one.is_absent else _signed(one.value)


def change_bounds(one: Estimate) -> str:
    """Return the interval of a difference, or nothing where it has none.

    >>> change_bounds(Estimate(0.0312, -0.0104, 0.07))
    '−0.010 to +0.070'
    """
    return f"{_signed(one.low)} to {_signed(one.high)}" if one.has_interval else ""


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def verdict(one: Difference) -> str:
    """Return whether a difference is beyond chance."""
    if one.verdict == "unclear" and not one.change.has_interval:
        return "too few photos"
    return {"unclear": "within chance", "absent": words.ABSENT}.get(one.verdict, one.verdict)


def sentence(comparison: Comparison) -> str:
    """Return the outcome in one sentence."""
    mean = comparison.garment_means["iou"]
    bounds = change_bounds(mean.change)
    figures = f"{change(mean.change)}{f' ({bounds})' if bounds else ''}"
    outcome = {
        "better": f"{comparison.names[1]} is better beyond chance",
        "worse": f"{comparison.names[1]} is worse beyond chance",
    }.get(mean.verdict, "The difference is within chance")
    return f"{outcome}: mean IoU without background {figures}."


def sentence_of_classes(comparison: Comparison) -> str:
    """Return which classes differ beyond chance."""
    found = comparison.verdicts()
    kinds = (("IoU better beyond chance", found["better"]), ("IoU worse beyond chance", found["worse"]))
    parts = [f"{kind}: {', '.join(names)}." for kind, names in kinds if names]
    return " ".join(parts) if parts else "No class's IoU differs beyond chance."


def circumstances(comparison: Comparison, ran: Circumstances) -> list[tuple[str, str]]:
    """Return what was compared, how, when and where, as names and values."""
    rows = []
    for name, side in zip(comparison.names, (comparison.first, comparison.second), strict=True):
        checksum = f", SHA-256 {side.predictions['sha256']}" if "sha256" in side.predictions else ""
        rows.append((name, f"{side.predictions['kind']}{checksum}"))
    left_out = (
        f"; {len(comparison.left_out_photos)} that only one was scored on are left out"
        if comparison.left_out_photos
        else ""
    )
    return [
        *rows,
        ("Data", f"{comparison.first.data_name}, {comparison.first.split}"),
        ("Photos", f"{words.photos(comparison.num_photos)}{left_out}"),
        ("Intervals", f"95%, by paired bootstrap over photos: {RESAMPLES:,} resamples, seed {SEED}"),
        ("Command", ran.command),
        ("clothseg", ran.clothseg),
        ("Machine", ran.machine),
        ("Date", ran.date),
    ]
