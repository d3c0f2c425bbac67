"""The command `clothseg verify`: checks a prepared data set and prints what each class has of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from clothseg.cores import available_cores
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.verify import Verification, verify
from clothseg.progress import show_step


@dataclass(frozen=True)
class Verify:
    """Check a prepared data set: pairs, sizes, values, counts, and photos that occur twice.

    Args:
        data_path: Folder of the prepared data set.
        num_workers: Processes that check; without it, one for each core.
    """

    data_path: Path = Path("data")
    num_workers: Annotated[int | None, tyro.conf.arg(name="workers")] = None

    def run(self) -> int:
        """Check the data set; return 1 if there are defects, each named on stderr."""
        num_workers = available_cores() if self.num_workers is None else self.num_workers
        result = verify(self.data_path / DATASET_FOLDER, num_workers=num_workers, steps=show_step)
        Console(soft_wrap=True).print(class_table(result))
        errors = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        for defect in result.defects:
            errors.print(str(defect), markup=False)
        checked = sum(check.num_pairs for check in result.splits.values())
        found = f"{len(result.defects):,} defects" if result.defects else "no defect"
        errors.print(f"Checked {checked:,} photos with their masks: {found}.", markup=False)
        return 1 if result.defects else 0


def class_table(result: Verification) -> Table:
    """Return a table of the photos and the share of pixels that each class has in each split."""
    title = f"{result.manifest.name}, licence {result.manifest.licence or 'unknown'}"
    table = Table(title=title, show_footer=True)
    table.add_column("id", justify="right")
    table.add_column("class", footer="all")
    for name, check in result.splits.items():
        table.add_column(f"{name} photos", justify="right", footer=f"{check.num_pairs:,}")
        table.add_column(f"{name} pixels", justify="right", footer=f"{int(check.pixels_per_class.sum()):,}")
    for class_id, class_name in enumerate(result.manifest.classes.names):
        row = [str(class_id), class_name]
        for check in result.splits.values():
            total = max(1, int(check.pixels_per_class.sum()))
            photos = int(check.photos_per_class[class_id])
            row += [f"{photos:,}", f"{check.pixels_per_class[class_id] / total:.3%}"] if photos else ["absent", "-"]
        table.add_row(*row)
    return table
