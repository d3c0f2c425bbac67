"""The command `clothseg predict` with both engines: this process, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from clothseg.errors import ModelError, SettingError, read_input
from clothseg.prediction import predict_command
from clothseg.prediction.predict_command import LocalEngine, Run, segment
from clothseg.prediction.predictor import chosen_model
from clothseg.prediction.runtimes.openvino import prefers_int8
from clothseg.prediction.sources import Photo, Search
from clothseg.progress import Printer
from clothseg.settings import tyro


@dataclass(frozen=True)
class Predict(predict_command.Predict):
    """Segment photos: a mask, an overlay and, if asked for, COCO JSON and more for each."""

    output: Annotated[str | Path, tyro.conf.arg(metavar="DIR_OR_ADDRESS")] = "output"
    """Folder to write to; folders of photos keep their structure in it. With ray also s3://… or gs://…."""
    engine: Literal["local", "ray"] = "local"
    """Where photos are segmented: in this process, or by copies of the model on a Ray cluster, which also read photos
    at s3, gs and http addresses."""
    workers: int | None = None
    """With ray: copies of the model; one for each CPU slot or GPU of the cluster, unless given."""
    cluster: str | None = None
    """With ray: HOST:PORT of its head, or auto for one on this machine. Without: RAY_ADDRESS, else a new one here."""

    def run(self) -> int:
        """Segment the photos; see `prediction.predict_command.segment`."""
        if self.engine == "ray":
            return segment(self, RayEngine(self))
        if self.workers is not None or self.cluster is not None:
            raise SettingError("--workers and --cluster are for a Ray cluster. Pass --engine ray, or leave them out")
        return segment(self, LocalEngine(self))


@dataclass(frozen=True)
class RayEngine:
    """Segments the photos with copies of the model on a Ray cluster."""

    options: Predict

    def find(self, given: Sequence[str], listed: Sequence[str]) -> Search:
        """Return the photos of the command line, and the errors of inputs without photos."""
        from clothseg.cluster.remote import find
        from clothseg.cluster.targets import target_of

        target_of(self.options.output)  # a wrong one is named before anything is listed
        return find(given, listed, output=self.options.output)

    @contextmanager
    def open(self, console: Printer, photos: Sequence[Photo]) -> Iterator[Run]:
        """Check the output, load the model on the cluster and print on `console` which it is."""
        from clothseg.cluster.cluster import joined, load_first, slots_of
        from clothseg.cluster.run import ClusterRun, journal_of
        from clothseg.cluster.targets import target_of
        from clothseg.cluster.worker import RunOptions

        options, model_options = self.options, self.options.model_options
        target = target_of(options.output)
        target.check()
        takes_int8 = prefers_int8(runtime=model_options.runtime, precision=model_options.precision)
        model_path, origin = chosen_model(options.checkpoint_path, options.checkpoints_path, prefers_int8=takes_int8)
        model = read_input(model_path, "Model", "Pass another --ckpt", error=ModelError)
        with joined(options.cluster) as ray, TemporaryDirectory(prefix="clothseg-journal-") as folder:
            may_use_gpu = model_path.suffix.lower() == ".ckpt" and ray.cluster_resources().get("GPU", 0) >= 1
            on_gpu = model_options.device == "cuda" or (model_options.device == "auto" and may_use_gpu)
            slots = slots_of(ray, runs_on_gpu=on_gpu, workers=options.workers)
            if model_options.device == "auto":
                model_options = replace(model_options, device="cuda" if on_gpu else "cpu")
            run_options = RunOptions(model_path.name, model_options, options.augmentation, options.outputs, target)
            content = ray.put(model)
            loaded = load_first(ray, run_options, content, slots, console)
            console.print(f"Model: {origin}{loaded.unseen} ({loaded.runtime_name}, {slots.in_words})")
            for meaning in options.outputs.meanings(loaded.classes):
                console.print(meaning)
            journal = journal_of(run_options, loaded, Path(folder))
            yield ClusterRun(ray, photos, run_options, loaded, slots, content, console, journal)
