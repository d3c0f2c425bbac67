"""Fitting a model: what runs, what watches it, and the checkpoints it leaves."""
