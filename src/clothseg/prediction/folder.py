"""Segments any number of photos into an output folder, in a pipeline and in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clothseg.errors import InputError, MachineError
from clothseg.prediction.journal import Entry, Journal, described_run
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import FoundPhoto


@dataclass(frozen=True)
class PhotoReport:
    """What became of one photo: its segmentation and the files written, or the reason why there are none."""

    photo: FoundPhoto
    segmentation: Segmentation | None = None
    """None also for a photo that an earlier run did."""
    files: tuple[Path, ...] = ()
    error: InputError | None = None
    result: Mapping[str, Any] | None = None
    """What `Segmentation.to_coco` returns, where the run was asked for results."""

    @property
    def file(self) -> str:
        """The photo's path inside the folder it was found in."""
        return self.photo.file

    @property
    def is_new(self) -> bool:
        """Whether this run segmented it."""
        return self.segmentation is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or changed when the photo was read, in words."""
        return self.segmentation.notes if self.segmentation is not None else ()


def check_output(folder: Path) -> None:
    """Make the output folder, before any time is spent.

    Raises:
        MachineError: it is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file stands there" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise MachineError(f"Cannot make the output folder {folder}: {reason}. Pass another --output") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MachineError(f"Cannot write into {folder}: permission denied. Pass another --output")


@dataclass(frozen=True)
class FolderRun:
    """The prediction of some photos into one output folder."""

    predictor: Predictor
    photos: Sequence[FoundPhoto]
    output: Path
    outputs: Outputs = field(default_factory=Outputs)
    keeps_journal: bool = True
    """Note in the folder what is done, so that a later run can resume, and so that formats can be written."""

    def reports(self, *, resume: bool = False) -> Iterator[PhotoReport]:
        """Segment the photos and write their outputs; a photo that cannot be read is reported, and the rest done.

        Photos are decoded, segmented and written in threads, some at a time.

        Args:
            resume: pass over photos that an earlier run with the same model and options has done.

        Yields:
            One report per photo, in order, once its files are written.

        Raises:
            MachineError: the output cannot be written; the photos before are done.
        """
        if not self.keeps_journal:
            yield from self.predictor.in_pipeline(self._report, self.photos)
            return
        journal = self._journal()
        done = journal.start(self.photos, resume=resume)

        def report(photo: FoundPhoto) -> PhotoReport:
            if photo.stem not in done:
                return self._report(photo)
            return PhotoReport(photo, files=tuple(self.output / name for name in done[photo.stem]))

        with journal:
            for one in self.predictor.in_pipeline(report, self.photos):
                if one.segmentation is not None:
                    journal.add(Entry.of(one.photo, self.output, one.files, one.result))
                yield one

    def write_collection(self) -> tuple[Path, ...]:
        """Write the formats that hold all photos together; called once all reports have come.

        Returns:
            The files.

        Raises:
            MachineError: the output cannot be written.
        """
        if not self.outputs.formats:
            return ()
        # Here, as it brings XML and HTTP along, which take longer to import than a photo takes to segment.
        from clothseg.prediction.outputs import write_collection

        classes = self.predictor.description.classes
        journal = self._journal()
        return write_collection(
            self.output, classes, lambda: journal.results(self.photos), formats=self.outputs.formats
        )

    def _report(self, photo: FoundPhoto) -> PhotoReport:
        outcome = self.predictor.outcome(photo.path)
        if outcome.segmentation is None:
            return PhotoReport(photo, error=outcome.error)
        segmentation = replace(outcome.segmentation, file=photo.file)
        files = segmentation.save(
            self.output,
            stem=photo.stem,
            json=self.outputs.json,
            cutouts=self.outputs.cutouts,
            soft_masks=self.outputs.soft_masks,
        )
        result = segmentation.to_coco() if self.outputs.need_results else None
        return PhotoReport(photo, segmentation, files, result=result)

    def _journal(self) -> Journal:
        run = described_run(
            model=self.predictor.model,
            runtime_name=self.predictor.runtime_name,
            passes=self.predictor.passes,
            outputs=self.outputs,
        )
        return Journal(self.output, run)
