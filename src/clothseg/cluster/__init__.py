"""Prediction past one machine: the same files, from copies of the model on a Ray cluster."""
