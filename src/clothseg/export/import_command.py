"""The command `clothseg import`: a model of other people as a portable file that agrees with the original."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from clothseg.errors import SettingError, require
from clothseg.export.export_command import SUFFIX, announce, check_output, write_portable

if TYPE_CHECKING:
    from clothseg.export.original import OriginalModel


@dataclass(frozen=True)
class Import:
    """Write a model of other people as one portable file, and check that it agrees with the original.

    Afterwards it works without torch, as one of your own training: --ckpt model.onnx, serve --model model.onnx.
    """

    source: Annotated[str | Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Folder of transformers' or segmentation-models-pytorch's save_pretrained, hf://OWNER/NAME[@REVISION], or an ONNX
    file with a YAML description beside it."""
    output: Path = Path("model.onnx")
    """File ending in .onnx to write to."""
    description: str = ""
    """YAML file with classes, size and normalisation, or u2net_cloth_seg or segformer for the ready ones."""
    licence: str = ""
    """Terms of the weights, where the source does not state them or you know better."""
    photos: tuple[Path, ...] = ()
    """Photos or folders to compare on; without any, the validation photos of the prepared dataset, else drawn ones."""
    count: int = 8
    """How many of them to take at most."""
    json: bool = False
    """Print the figures as JSON to stdout."""
    data_path: Path = Path("data")
    """Folder of the prepared dataset."""

    def run(self) -> int:
        """Import the model; print the path of the file to stdout, the figures and notes to stderr.

        Raises:
            ModelError: the source is missing, damaged, of another kind, or the imported model disagrees with it.
            SettingError: the description, the class names or the size cannot be used.
            InputError: a photo to compare on cannot be read.
            MissingExtraError: torch, transformers or what exports is not installed.
            MachineError: the hub does not answer, or the file cannot be written.
        """
        console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        if self.output.suffix.lower() != SUFFIX:
            raise SettingError(f"--output is {self.output}. Allowed: a file that ends in {SUFFIX}")
        check_output(self.output.parent)
        require("torch", "train")
        from clothseg.export.agreement import choose_photos, make_portable

        with console.status("Opening"):
            original = self._open()
        description = original.reference.description
        chosen = choose_photos(self.photos, self.data_path, description.classes, count=self.count)
        announce(console, f"Importing {description.source}, {description.architecture}", chosen)
        with console.status("Importing and comparing"):
            original.check_shape()
            notes = [*original.notes, original.compare_programs(chosen), _terms(description.licence)]
            model = make_portable(original.graph(), original.reference, chosen, name=original.framework)
        write_portable(console, model, self.output, has_truth=chosen.has_truth, as_json=self.json)
        for note in filter(None, notes):
            console.print(note)
        return 0

    def _open(self) -> OriginalModel:
        from clothseg.export.original import SourceDescription

        given = SourceDescription.read(self.description) if self.description else None
        source = str(self.source)
        if source.lower().endswith(SUFFIX):
            from clothseg.export.foreign_onnx import open_onnx

            return open_onnx(Path(source), given).with_origin("", self.licence)
        from clothseg.export.foreign_checkpoint import fetch_folder, open_folder

        folder, origin = fetch_folder(source) if source.startswith("hf://") else (Path(source), "")
        return open_folder(folder, given).with_origin(origin, self.licence)


def _terms(licence: str) -> str:
    is_limited = any(word in licence.lower() for word in ("non-commercial", "noncommercial", "-nc"))
    return f"{'Warning, not for commercial use' if is_limited else 'Licence'}: {licence}"
