"""Takes the curves of a training out of TensorBoard's log, for the report.

    uv run python benchmarks/starter/training_log.py logs/version_0 --validated-on "20 of the photos it learns from"

writes results/training.json: the settings, when it ran and how long, and each curve as steps and values. Run it on the
machine that trained, as the machine's name is kept with it. Curves of every step are thinned to what a plot can show.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keep import as_json, machine_in_words
from results import RESULTS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clothseg import __version__
from clothseg.pictures import write_whole
from clothseg.settings import Settings

MOST_POINTS = 300
CURVES = ("train_loss", "train_loss_step", "val_loss", "val_iou", "val_f1", "val_acc")
_RECIPE = (
    *("classes", "img_size", "crop_size", "batch_size", "architecture", "encoder_name", "encoder_weights"),
    *("decoder_width", "epochs", "loss", "class_balance", "averaging", "learning_rate", "encoder_rate"),
    *("weight_decay", "warmup", "patience", "precision", "seed"),
)
"""Settings that say what was learnt and how; of a path, only its last name is kept."""


def read_training(folder: Path) -> dict[str, Any]:
    """Return what a log folder `version_N` holds, as plain values.

    Raises:
        SystemExit: there is no log of a training.
    """
    log = _open(folder)
    names = log.Tags()["scalars"]
    rates = sorted(name for name in names if name.startswith("lr-"))
    curves = {name: _curve(log, name) for name in CURVES if name in names}
    if "val_loss" not in curves or "settings/text_summary" not in log.Tags()["tensors"]:
        raise SystemExit(
            f"Error: {folder} is no log of a training with a validation. Pass a folder such as logs/version_0"
        )
    if rates:
        curves["learning_rate"] = _curve(log, rates[0])
    classes = {name.partition("/")[2]: _curve(log, name) for name in names if name.startswith("val_iou/")}
    starts = [(one.wall_time, _settings(one)) for one in log.Tensors("settings/text_summary")]
    settings = starts[-1][1]
    steps = curves["val_loss"]["steps"][-1] + 1
    return {
        "command": command_of(settings),
        "machine": machine_in_words(),
        "clothseg": __version__,
        "starts": [{"date": _date(time), "epochs": int(values["epochs"])} for time, values in starts],
        "ended": _date(log.Scalars("val_loss")[-1].wall_time),
        "seconds": _seconds(folder),
        "settings": {name: Path(settings[name]).name for name in _RECIPE},
        "steps": steps,
        "photos_seen": steps * int(settings["batch_size"]),
        "curves": curves,
        "val_iou_of_classes": classes,
    }


def command_of(settings: Mapping[str, str]) -> str:
    """Return the command that trains with these settings; files lie where the README of this folder says."""
    defaults = Settings().to_dict()
    changed = {name: value for name, value in settings.items() if str(defaults.get(name)) != value}
    changed |= {"data_path": "/".join(Path(settings["data_path"]).parts[-2:])} if "data_path" in changed else {}
    if "/" in changed.get("encoder_weights", ""):
        changed["encoder_weights"] = "WEIGHTS.pth"
    if "crop_size" in changed:  # a pair is logged as Python writes it
        changed["crop_size"] = " ".join(re.findall(r"\d+", changed["crop_size"]))
    flags = [
        f"--{name.replace('_', '-')} {value}" for name, value in changed.items() if name in ("data_path", *_RECIPE)
    ]
    return " ".join(["uv run train.py", *flags])


def _open(folder: Path) -> EventAccumulator:
    if not list(folder.glob("events.out.tfevents.*")):
        raise SystemExit(f"Error: no log of TensorBoard in {folder}. Pass a folder such as logs/version_0")
    log = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 1})
    log.Reload()
    return log


def _curve(log: EventAccumulator, name: str) -> dict[str, list[float]]:
    """Return a curve, the last of many points always among those that are kept."""
    points = log.Scalars(name)
    kept = points[::-1][:: max(1, -(-len(points) // MOST_POINTS))][::-1]
    return {"steps": [one.step for one in kept], "values": [float(f"{one.value:.5g}") for one in kept]}


def _settings(event: Any) -> dict[str, str]:
    """Return the settings of one start from the table that was logged."""
    lines = event.tensor_proto.string_val[0].decode().splitlines()[2:]
    return {name.strip(): value.strip() for name, value in (line.strip("|").split("|") for line in lines)}


def _seconds(folder: Path) -> int:
    """Return how long it was at work: from the first to the last entry of each file, as each start writes its own."""
    total = 0.0
    for path in folder.glob("events.out.tfevents.*"):
        log = _open_file(path)
        times = [one.wall_time for name in log.Tags()["scalars"] for one in log.Scalars(name)]
        begins = [one.wall_time for name in log.Tags()["tensors"] for one in log.Tensors(name)]
        total += max(times + begins, default=0.0) - min(times + begins, default=0.0)
    return round(total)


def _open_file(path: Path) -> EventAccumulator:
    log = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0, "images": 1})
    log.Reload()
    return log


def _date(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def main() -> int:
    """Write results/training.json."""
    parser = argparse.ArgumentParser(description="Take the curves of a training out of TensorBoard's log.")
    parser.add_argument("log", type=Path, help="log folder, such as logs/version_0")
    parser.add_argument("--validated-on", default="", help="in words, which photos its val_ curves are of")
    parser.add_argument(
        "--note", default="", help="what else ran on the machine, or any other word on the circumstances"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to keep it in")
    arguments = parser.parse_args()
    words = {"validated_on": arguments.validated_on, "note": arguments.note}
    content = as_json(words | read_training(arguments.log))
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / "training.json"
    write_whole(target, content)
    print(f"{target}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
