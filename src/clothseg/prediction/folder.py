"""Segments any number of photos into an output folder, in a pipeline and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clothseg.errors import InputError
from clothseg.prediction.journal import Entry, Journal, described_run
from clothseg.prediction.outputs import Outputs, words_of, write_collection
from clothseg.prediction.postprocess import keep
from clothseg.prediction.predictor import Outcome, Predictor
from clothseg.prediction.sources import Photo


@dataclass(frozen=True)
class FolderRun:
    """The prediction of some photos into one output folder."""

    predictor: Predictor
    photos: Sequence[Photo]
    output: Path
    outputs: Outputs = field(default_factory=Outputs)
    writes_journal: bool = True
    """Record in the folder what is done, so that a later run can resume, and so that formats can be written."""

    def outcomes(self, *, resume: bool = False) -> Iterator[Outcome]:
        """Segment the photos and write their outputs; a photo that cannot be read is reported, and the rest done.

        Photos are decoded, segmented and written in threads, some at a time.

        Args:
            resume: skip photos that an earlier run with the same model and options has done.

        Yields:
            One outcome per photo, in order, once its files are written.

        Raises:
            MachineError: the output cannot be written; the photos before are done.
        """
        if not self.writes_journal:
            yield from self.predictor.in_pipeline(self._segment, self.photos)
            return
        journal = self._journal()
        done = journal.start(self.photos, resume=resume)

        def segment_unless_done(photo: Photo) -> Outcome:
            if photo.stem not in done:
                return self._segment(photo)
            return Outcome(photo, files=[self.output / name for name in done[photo.stem]], is_new=False)

        with journal:
            for outcome in self.predictor.in_pipeline(segment_unless_done, self.photos):
                if outcome.segmentation is not None:
                    paths = map(Path, outcome.files)
                    sizes = {path.relative_to(self.output).as_posix(): path.stat().st_size for path in paths}
                    colors = self.outputs.need_colors
                    result = outcome.segmentation.to_coco(colors=colors) if self.outputs.need_results else None
                    journal.add(Entry(outcome.photo.stem, outcome.photo.identity, sizes, result))
                yield outcome

    def write_collection(self) -> tuple[Path, ...]:
        """Write the formats of all photos together, once all outcomes have come, and return the files.

        Raises:
            MachineError: the output cannot be written.
        """
        journal = self._journal()
        return write_collection(
            self.output,
            self.predictor.description.classes,
            lambda: journal.results(self.photos),
            formats=self.outputs.formats,
        )

    def _segment(self, photo: Photo) -> Outcome:
        try:
            segmentation = self.predictor.predict(photo.source, name=photo.file)
        except InputError as error:
            return Outcome(photo, error=error)
        if self.outputs.keep:
            segmentation = keep(segmentation, *words_of(self.outputs.keep))
        files = segmentation.write(self.output, self.outputs, photo.stem)
        if self.outputs.need_results:
            _ = segmentation.labels  # here, in a thread; the journal needs them
        return Outcome(photo, segmentation, files=files, notes=segmentation.notes)

    def _journal(self) -> Journal:
        run = described_run(
            model=self.predictor.model,
            runtime_name=self.predictor.runtime_name,
            augmentation=self.predictor.augmentation,
            outputs=self.outputs,
        )
        return Journal(self.output, run)
