"""One training that is ended in many ways, each for real, and resumed after each.

A separate program, because a process that has trained cannot be forked. It prints one line of JSON per run.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from clothseg import cli
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.model.module import ClothSegmentationModel
from clothseg.settings import Settings
from clothseg.training.callbacks import AveragedWeights, Progress
from clothseg.training.checkpoints import Checkpoints
from clothseg.training.fit import fit
from clothseg.training.train_command import Train

ENDS = ("SIGKILL", "SIGKILL while saving", "SIGTERM", "NaN", "SIGKILL", "full disk", "SIGKILL while saving", "SIGUSR1")
"""How the runs end; the one after these finishes the training."""


class Run(Callback):
    """Writes the samples of each step to a file, and lets the second step fail where this run ends so."""

    def __init__(self, number: int, end: str, settings: Settings) -> None:
        self.number = number
        self.end = end
        self.settings = settings
        self.steps = 0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        note = {"run": self.number, "step": [trainer.current_epoch, batch_idx], "names": batch["name"]}
        with journal_of(self.settings).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(note) + "\n")
        time.sleep(0.05)  # a step takes a while, so that a kill may come within
        self.steps += 1
        if self.steps == 2 and self.end == "NaN":
            with torch.no_grad():
                next(module.parameters())[0] = float("nan")
        if self.steps == 2 and self.end == "full disk":  # a write beyond the limit fails, as on a full disk
            limit = (self.settings.checkpoints_path / "last.ckpt").stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def journal_of(settings: Settings) -> Path:
    return settings.checkpoints_path.with_name("journal.jsonl")


def train(settings: Settings, one: Run) -> None:
    """Train as `train.py` does, with a checkpoint after every step, and leave with its exit code."""

    def run(command: Train) -> int:
        data = ClothSegmentationData.from_settings(settings)
        checkpoints = Checkpoints(settings.checkpoints_path, every=timedelta(0))
        callbacks = [one, Progress(), AveragedWeights(settings.averaging), checkpoints]
        fit(
            ClothSegmentationModel.from_settings(settings, data),
            data,
            settings=settings,
            callbacks=callbacks,
            resume=command.ckpt,
        )
        return 0

    last = settings.checkpoints_path / "last.ckpt"
    cli.start("train", settings, run=run, arguments=["--ckpt", str(last)] if last.exists() else [])


def wait_for(is_there: Callable[[], Any], process_id: int) -> None:
    """Wait until `is_there`, or until the process has ended."""
    while not is_there() and os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.0002)


def end_run(end: str, process_id: int, folder: Path, has_begun: Callable[[], bool], rng: random.Random) -> None:
    """Wait for the first step of a run, and for the moment after it, and send the signal."""
    wait_for(has_begun, process_id)
    if end == "SIGKILL":
        time.sleep(rng.uniform(0, 0.15))
    if end == "SIGKILL while saving":
        wait_for(lambda: list(folder.glob(".*.part")), process_id)
    if end.startswith("SIG"):
        os.kill(process_id, getattr(signal, end.split()[0]))


def main(settings: Settings, seed: int) -> None:
    """Run until the training is done."""
    rng = random.Random(seed)
    folder, ends = settings.checkpoints_path, [*ENDS, "done"]
    folder.mkdir(parents=True)
    journal_of(settings).touch()
    for number, end in enumerate(ends):
        size = journal_of(settings).stat().st_size
        messages = folder.with_name(f"run-{number}.txt")
        process_id = os.fork()
        if process_id == 0:
            os.dup2(os.open(messages, os.O_WRONLY | os.O_CREAT), 2)
            try:
                train(settings, Run(number, end, settings))
            except SystemExit as left:
                sys.stderr.flush()
                os._exit(int(left.code or 0))
            finally:
                sys.stderr.flush()
        end_run(end, process_id, folder, lambda size=size: journal_of(settings).stat().st_size > size, rng)
        code = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
        parts = [path.name for path in folder.glob(".*.part")]
        told = {"end": end, "code": code, "parts": parts, "messages": messages.read_text(encoding="utf-8")}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Settings(**json.loads(sys.argv[1])), int(sys.argv[2]))
