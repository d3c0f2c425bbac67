"""Prediction on several machines: copies of the model on a Ray cluster write the same files as one machine."""
