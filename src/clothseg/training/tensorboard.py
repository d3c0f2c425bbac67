"""The TensorBoard log of a training: where it goes on, its settings, hyperparameters and pictures."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from clothseg.settings import Settings
from clothseg.training.checkpoints import continues
from clothseg.training.resume import ResumePoint

HPARAM_METRICS = ("val_loss", "val_iou", "val_f1", "val_acc")
"""Scores shown beside the hyperparameters; TensorBoard takes the last value of each."""

_HPARAMS = (
    *(
        "classes",
        "architecture",
        "encoder_name",
        "encoder_weights",
        "decoder_width",
        "img_size",
        "batch_size",
        "epochs",
        "learning_rate",
    ),
    *("encoder_rate", "weight_decay", "warmup", "precision", "seed"),
)


def open_log(settings: Settings, resume: ResumePoint | None) -> TensorBoardLogger:
    """Return the log of a training, a folder `version_N` in `settings.logs_path`.

    A training that continues `last.ckpt` goes on in its own log; what that log holds from later steps, as after a kill,
    is hidden by TensorBoard. Any other training gets a new log.
    """
    folder, first_step = None, None
    if (
        resume is not None
        and continues(resume.path, settings.checkpoints_path)
        and (settings.logs_path / resume.log_folder).is_dir()
    ):
        folder, first_step = resume.log_folder, resume.global_step
    return TensorBoardLogger(
        settings.logs_path, name="", version=folder, default_hp_metric=False, purge_step=first_step
    )


def describe_run(logger: TensorBoardLogger, settings: Settings) -> None:
    """Write the settings as text, and those that matter for the scores as hyperparameters.

    The hyperparameters name the scores now and are not given any: TensorBoard's table reads them from the curves, so
    that it is right at any time and for a training that was killed.
    """
    values = settings.to_dict()
    logger.log_hyperparams(values)  # without scores of its own this writes hparams.yaml, and nothing else
    rows = [f"| {name} | {value} |" for name, value in values.items()]
    logger.experiment.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
    shown = {name: value if isinstance(value := values[name], int | float) else str(value) for name in _HPARAMS}
    experiment, session_start, _ = hparams(shown, dict.fromkeys(HPARAM_METRICS, 0.0))  # type: ignore[no-untyped-call]
    writer = logger.experiment._get_file_writer()  # add_hparams would open a second log of its own beside this one
    writer.add_summary(experiment)
    writer.add_summary(session_start)


def log_folder_of(logger: TensorBoardLogger) -> str:
    """Return the name of the log's folder inside the logs folder."""
    return Path(logger.log_dir).name
