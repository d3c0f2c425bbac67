"""The command `clothseg export`: write a checkpoint in a portable format that agrees with it, or a model in int8."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from clothseg.errors import MissingModelError, SettingError, command, disk_errors, make_folder, require
from clothseg.model.best import find_best
from clothseg.pictures import write_whole
from clothseg.prediction.predictor import STARTER
from clothseg.prediction.runtimes.model_file import LARGEST_BF16_CHANGE, LARGEST_BF16_SHARE, ModelFile
from clothseg.starter import starter_model

if TYPE_CHECKING:
    from clothseg.export.agreement import CheckPhotos, PortableModel

SUFFIX = ".onnx"


@dataclass(frozen=True)
class Export:
    """Write a checkpoint as one portable file that needs no torch, and check that it agrees with the checkpoint."""

    checkpoint_path: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="CKPT")] = None
    """Checkpoint to export, or with --precision int8 also an exported or imported model, or starter; without one, the
    newest best checkpoint of your own training."""
    output: Path | None = None
    """File ending in .onnx, or folder, to write to; without one, beside the checkpoint."""
    format: Literal["onnx", "smp"] = "onnx"
    """onnx: one file for clothseg and any ONNX reader. smp: a folder for smp.from_pretrained of
    segmentation-models-pytorch."""
    number_format: Annotated[Literal["fp32", "int8"], tyro.conf.arg(name="precision")] = "fp32"  # no PRECISION
    """int8: convolutions compute with 8-bit integers, faster, where that keeps the masks; needs photos to calibrate."""
    photos: tuple[Path, ...] = ()
    """Photos or folders to compare on; without any, the validation photos of the prepared dataset, else drawn ones. For
    int8 every other photo calibrates, or the training photos of the dataset."""
    count: int = 32
    """How many of them to take at most."""
    json: bool = False
    """Print the figures as JSON to stdout."""
    data_path: Path = Path("data")
    """Folder of the prepared dataset."""
    checkpoints_path: Path = Path("checkpoints")
    """Folder to search for the newest best checkpoint."""

    def run(self) -> int:
        """Export the model; print the path of the file to stdout, the figures to stderr.

        Raises:
            ModelError: the checkpoint is missing or damaged, or the exported model disagrees with it.
            InputError: a photo to compare on cannot be read.
            MissingExtraError: torch or what exports is not installed.
            MachineError: the file cannot be written.
        """
        # stderr as it is now: sys.stderr is redirected while torch exports.
        console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        source, target = self._paths()
        check_output(target if self.format == "smp" else target.parent)
        if self.format == "smp":
            require("torch", "train")
            from clothseg.export.portable import smp_files
            from clothseg.model.checkpoint import load_checkpoint

            for name, content in smp_files(*load_checkpoint(source)).items():
                write_whole(target / name, content, sync=True)
            print(target)
            return 0
        model, photos = self._made(console, source)
        write_portable(console, model, target, has_truth=photos.has_truth, as_json=self.json)
        return 0

    def _made(self, console: Console, source: Path) -> tuple[PortableModel, CheckPhotos]:
        """Return the model that is ready to be written, and the photos that it was compared on."""
        from clothseg.export.agreement import choose_photos, make_portable
        from clothseg.export.int8 import choose_calibration, quantize, quantizer

        if source.suffix.lower() == SUFFIX:
            file, network = ModelFile.read(source), None
            description = file.description
        else:
            torch = require("torch", "train")
            from clothseg.export.portable import to_onnx
            from clothseg.model.checkpoint import load_checkpoint
            from clothseg.prediction.runtimes.torch import TorchRuntime

            description, network = load_checkpoint(source)
        if self.number_format == "int8":
            calibration, chosen = choose_calibration(self.photos, self.data_path, description.classes, count=self.count)
            quantizer()  # where it is missing, that is said before a checkpoint is exported
            console.print(f"Calibrating int8 on {calibration.origin}")
        else:
            chosen = choose_photos(self.photos, self.data_path, description.classes, count=self.count)
        announce(console, f"Exporting {source}", chosen)
        with console.status("Exporting and comparing"):
            if network is not None:
                model = make_portable(to_onnx(network), TorchRuntime(description, network, torch.device("cpu")), chosen)
                file = model.file
            if self.number_format == "int8":
                model = quantize(file, calibration, chosen)
        return model, chosen

    def _paths(self) -> tuple[Path, Path]:
        """Return the checkpoint and the file or folder to write."""
        source = self.checkpoint_path or find_best(self.checkpoints_path)
        if source is None:
            raise MissingModelError(
                f"No model: {self.checkpoints_path} contains no checkpoint of a training on photos. Train one with: "
                f"{command('train')}, or name one: {command('export', 'CKPT')}"
            )
        folder = source.parent
        if str(source) == STARTER:  # what is made of the packaged model does not go into the package
            source, folder = starter_model() or source, Path()
        is_int8 = self.number_format == "int8"
        if source.suffix.lower() == SUFFIX and not is_int8:
            raise SettingError(
                f"{source} is an exported model already. Pass a checkpoint, which ends in .ckpt, or --precision int8"
            )
        if self.format == "smp":
            if is_int8:
                raise SettingError("--format smp has weights in fp32 only. Leave out --precision int8")
            return source, self.output or source.with_name(f"{source.stem}-smp")
        target = self.output or folder
        if target.suffix.lower() != SUFFIX or target.is_dir():
            target /= f"{source.stem}{'-int8' if is_int8 else ''}{SUFFIX}"
        if target.absolute() == source.absolute():
            raise SettingError(f"--output is {target}, the model that is read. Pass another file")
        return source, target


def check_output(folder: Path) -> None:
    """Refuse a folder that cannot be written before any time is spent; one that is not there yet is not made.

    Raises:
        MachineError: it or what it would be made in is a file, or cannot be written.
    """
    with disk_errors(f"Cannot write to {folder}", "Pass another --output"):
        make_folder(next((one for one in (folder, *folder.parents) if one.exists()), folder))


def announce(console: Console, what: str, photos: CheckPhotos) -> None:
    """Print what begins, and on which photos the result is compared."""
    console.print(f"{what}, then comparing it with the original on {photos.origin}")
    if not photos.is_real:
        console.print("These are no real photos: the model will run in bf16 only when asked to. Pass --photos DIR")


def write_portable(console: Console, model: PortableModel, target: Path, *, has_truth: bool, as_json: bool) -> None:
    """Write a model; print its path, or its figures as JSON, to stdout, and the agreement to stderr.

    Raises:
        MachineError: the file cannot be written.
    """
    write_whole(target, model.file.content, sync=True)
    console.print(agreement_table(model, has_truth=has_truth))
    console.print(_verdict(model))
    figures = {
        "file": str(target),
        "check": dict(model.file.check),
        "bf16_by_default": model.file.allows_bf16,
        "runtimes": {name: asdict(one) for name, one in model.agreements.items()},
    }
    print(json.dumps(figures, indent=1) if as_json else target)


def agreement_table(model: PortableModel, *, has_truth: bool) -> Table:
    """Return the agreement of each runtime with torch as a table for people."""
    reference = next(iter(model.agreements))
    against = "the truth" if has_truth else reference
    table = Table(title=f"Agreement with {reference}; mIoU against {against}; ms per photo")
    for column in ("runtime", "logits differ by", "pixels differ", "mIoU", "change", "ms"):
        table.add_column(column, justify="left" if column == "runtime" else "right", no_wrap=True)
    for name, one in model.agreements.items():
        logits, pixels, change = "", "", ""
        if name != reference:
            logits = f"{one.largest_logit_difference:.2g} of {one.largest_logit:.3g}"
            pixels, change = f"{one.share_differing:.4%}", f"{one.miou_change:+.5f}"
        table.add_row(name, logits, pixels, f"{one.miou:.4f}", change, f"{one.milliseconds:.0f}")
    return table


def _verdict(model: PortableModel) -> str:
    if model.file.description.precision == "int8":
        times = model.agreements["fp32"].milliseconds / model.agreements["openvino"].milliseconds
        advice = "" if times >= 1.3 else ". That is little: use the fp32 model here"
        return f"int8 keeps the masks, and is {times:.2f} times as fast as fp32 with OpenVINO on this machine{advice}"
    limits = f"less than {LARGEST_BF16_CHANGE:g} and less than {LARGEST_BF16_SHARE:.0%} of the pixels"
    if model.file.check["bf16_miou_change"] is None:
        consequence = "It runs in fp32; bf16 was not measured on real photos"
    elif model.file.allows_bf16:
        consequence = f"bf16 changes mIoU by {limits}: used where the CPU has it"
    else:
        consequence = f"bf16 does not change mIoU by {limits}: used only when asked for"
    return f"The exported model agrees with the original. {consequence}"
