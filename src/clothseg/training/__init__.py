"""Training: fitting a model, its callbacks, checkpoints and logs."""
