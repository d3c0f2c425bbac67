"""Measures everything between a download and a training step against the plain way, in one run and one table.

Run it on a prepared data set, on a machine that does nothing else: uv run python benchmarks/data.py --data-path data
"""

import argparse
from pathlib import Path

import preparation
from machine import heading
from ratios import show


def main() -> int:
    """Measure, print one table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Data and training step against the plain way.")
    parser.add_argument("--data-path", type=Path, default=Path("data"), help="folder of a prepared Fashionpedia mirror")
    arguments = parser.parse_args()
    rows = preparation.rows(arguments.data_path, large_file=True)
    # Only now: torch would be in every process that was measured before, and hide what that one takes in memory.
    import loading
    import training_step

    rows += loading.rows(arguments.data_path, samples=80)
    rows += training_step.rows(training_step.parser().parse_args([]))
    packages = tuple(dict.fromkeys((*preparation.PACKAGES, *loading.PACKAGES, *training_step.PACKAGES)))
    return show(heading("Data and training step, per core unless a row says otherwise", packages), rows)


if __name__ == "__main__":
    raise SystemExit(main())
