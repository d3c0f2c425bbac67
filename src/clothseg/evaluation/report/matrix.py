"""The confusion matrix as a coloured table."""

from __future__ import annotations

import numpy as np

from clothseg.evaluation.report.parts import class_name, row, table
from clothseg.labels import ClassList
from clothseg.types import Float64Array, Int64Array

_SHOWN_FROM = 0.005  # smaller shares would be written as 0


def shown_classes(matrix: Int64Array) -> tuple[list[int], list[int]]:
    """Return the rows, classes that the truth shows, and the columns, classes that truth or prediction shows."""
    true, either = matrix.sum(axis=1) > 0, (matrix.sum(axis=1) + matrix.sum(axis=0)) > 0
    return np.flatnonzero(true).tolist(), np.flatnonzero(either).tolist()


def row_shares(matrix: Int64Array) -> Float64Array:
    """Return the matrix with each row divided by its sum; 0 where the truth does not show the class."""
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))


def matrix_table(matrix: Int64Array, classes: ClassList) -> str:
    """Return the table: a row for each true class, in percent of its pixels."""
    shares, (rows, columns) = row_shares(matrix), shown_classes(matrix)
    head = ["true ↓   predicted →", *(classes.names[one] for one in columns)]
    lines = []
    for true in rows:
        cells = "".join(_cell(float(shares[true, one]), is_hit=one == true) for one in columns)
        lines.append(row(class_name(classes, true), ()).replace("</tr>", f"{cells}</tr>"))
    return table(head, lines, kind="matrix")


def _cell(share: float, *, is_hit: bool) -> str:
    if share < _SHOWN_FROM:
        return "<td></td>"
    # A square root spreads the small shares, which are most of the mistakes.
    return f'<td class="{"hit" if is_hit else "miss"}" style="--share: {0.85 * share**0.5:.2f}">{100 * share:.0f}</td>'
