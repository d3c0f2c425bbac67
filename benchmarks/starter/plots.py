"""The plots of the report, drawn by matplotlib as SVG."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from results import Evaluation
from tables import row_shares, shown_classes

# The same input gives the same bytes; text stays text, which is smaller and can be searched.
mpl.rcParams.update({"svg.hashsalt": "clothseg", "svg.fonttype": "none", "font.size": 9})
_BLUE, _YELLOW = "#0969da", "#d4a72c"


def plots(evaluation: Evaluation, plain: Evaluation) -> dict[str, bytes]:
    """Return every plot by its file's name."""
    return {"classes.svg": _classes(evaluation, plain), "confusion.svg": _confusion(evaluation)}


def _classes(evaluation: Evaluation, plain: Evaluation) -> bytes:
    """Return the IoU of each class as bars with intervals: the starter model above the plain recipe."""
    rows = sorted(evaluation.present, key=lambda one: float(one["iou"]["value"]))
    plain_rows = {one["name"]: one["iou"] for one in plain.present}
    places = np.arange(len(rows))
    figure = Figure(figsize=(8, 0.45 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for label, color, shift, scores in (
        ("starter model", _BLUE, 0.2, [one["iou"] for one in rows]),
        ("plain recipe", _YELLOW, -0.2, [plain_rows.get(one["name"]) for one in rows]),
    ):
        values = [one["value"] if one else 0.0 for one in scores]
        axes.barh(places + shift, values, 0.38, color=color, label=label)
        for place, one in zip(places + shift, scores, strict=True):
            if one and one["low"] is not None:
                axes.plot([one["low"], one["high"]], [place, place], color="black", linewidth=1)
    for place, one in zip(places, rows, strict=True):
        axes.text(1.01, place, f"{one['iou']['value']:.3f}", va="center")
    axes.set(yticks=places, yticklabels=[one["name"] for one in rows], xlim=(0, 1), xlabel="IoU, 95% intervals")
    axes.legend(loc="lower right")
    axes.set_title(f"IoU of each class, {evaluation.values['data']['photos']} photos at their own size")
    return _svg(figure)


def _confusion(evaluation: Evaluation) -> bytes:
    """Return the confusion matrix: each row a true class, in percent of its pixels."""
    names, (rows, columns) = evaluation.names, shown_classes(evaluation.matrix)
    shares = 100 * row_shares(evaluation.matrix)[np.ix_(rows, columns)]
    figure = Figure(figsize=(8, 0.5 * len(rows) + 2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.sqrt(shares), cmap="Blues", aspect="auto")  # a square root shows the small shares, the mistakes
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color="white" if share > 40 else "black")
    axes.set_xticks(range(len(columns)), [names[one] for one in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [names[one] for one in rows])
    axes.set(xlabel="predicted class", ylabel="true class", title="Percent of the true pixels")
    return _svg(figure)


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
