"""Seeds small faults into a copy of the source, one at a time, and says which test catches each.

    uv run python tests/faults.py
    uv run python tests/faults.py --tier full --area scores

`faults.json` lists them: a text that occurs once in the source, and the wrong text in its place. The tests that mirror
the file run first; where they all pass, the whole tier runs, which must pass without a fault. Ends with exit code 1 if
a fault survives.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src" / "clothseg"
TIERS = {"default": "not slow", "full": ""}


def file_of(text: str) -> Path:
    """Return the one module that holds `text`, as its path inside the library."""
    found = [path for path in LIBRARY.rglob("*.py") if text in path.read_text(encoding="utf-8")]
    if len(found) != 1 or found[0].read_text(encoding="utf-8").count(text) != 1:
        raise SystemExit(f"Error: {text!r} is in {len(found)} modules, or more than once in one. Correct faults.json")
    return found[0].relative_to(LIBRARY)


def mirroring_tests(module: Path) -> Path:
    """Return the tests of a module: its own file of tests, or the nearest folder that mirrors its own."""
    own = ROOT / "tests" / module.parent / f"test_{module.stem}.py"
    folders = (ROOT / "tests" / parent for parent in module.parents if parent != Path())
    return next((path for path in (own, *folders) if path.exists()), ROOT / "tests")


def failing_test(source: Path, tests: Path, tier: str) -> str | None:
    """Run tests against the library in `source` and return the first that fails, or the last line if none ran."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", TIERS[tier], str(tests)]
    if tests != ROOT / "tests":
        command += ["-n", "0"]
    environment = os.environ | {"PYTHONPATH": str(source)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith(("FAILED tests", "ERROR tests"))]
    return (failed or lines[-1:] or [ended.stderr])[0] if ended.returncode else None


def copied_library(folder: Path) -> Path:
    """Copy the library into a folder that looks like a clone, as messages there name other commands."""
    shutil.copy(ROOT / "train.py", folder)
    return Path(shutil.copytree(ROOT / "src", folder / "src"))


def caught_by(fault: dict[str, str], tier: str) -> str | None:
    """Return the first test of a tier that fails with the fault in the source, None if all pass."""
    module = file_of(fault["old"])
    with tempfile.TemporaryDirectory() as folder:
        source = copied_library(Path(folder))
        path = source / "clothseg" / module
        path.write_text(path.read_text(encoding="utf-8").replace(fault["old"], fault["new"]), encoding="utf-8")
        targets = dict.fromkeys((mirroring_tests(module), ROOT / "tests"))
        return next((test for tests in targets if (test := failing_test(source, tests, tier))), None)


def main() -> int:
    """Seed the faults and print a line for each."""
    parser = argparse.ArgumentParser(description="Which small faults do the tests catch?")
    parser.add_argument("--tier", choices=TIERS, default="default", help="which tests run")
    parser.add_argument("--area", help="only the faults of one area")
    arguments = parser.parse_args()
    faults = json.loads((ROOT / "tests" / "faults.json").read_text(encoding="utf-8"))
    faults = [fault for fault in faults if arguments.area in (None, fault["area"])]
    with tempfile.TemporaryDirectory() as folder:
        if test := failing_test(copied_library(Path(folder)), ROOT / "tests", arguments.tier):
            raise SystemExit(f"Error: {test} fails without a fault, so it would seem to catch each")
    survivors = []
    for fault in faults:
        test = caught_by(fault, arguments.tier)
        print(f"{file_of(fault['old'])}: {fault['new']!r} {f'caught by {test}' if test else 'SURVIVED'}", flush=True)
        survivors += [] if test else [fault]
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults caught by the {arguments.tier} tier")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
