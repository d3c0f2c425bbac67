"""5. Put data, model and callbacks together and fit."""

import config
from callbacks import build_callbacks
from clothseg import cli
from clothseg.training.train_command import Train, check_inputs
from loader import build_data
from model import build_model


def train(command: Train) -> int:
    """Train as the settings say, from the start or from `--ckpt`, and return the exit code."""
    check_inputs(command)
    from clothseg.training.dry_run import dry_run
    from clothseg.training.fit import fit, print_result

    settings = command.settings
    data = build_data(settings)
    model = build_model(settings, data, with_weights=command.ckpt is None)
    if command.dry_run:
        dry_run(model, data, settings=settings, resume=command.ckpt)
        return 0
    result = fit(model, data, settings=settings, callbacks=build_callbacks(settings), resume=command.ckpt)
    print_result(result, data.classes)
    return 0


if __name__ == "__main__":
    cli.start("train", config, run=train)
