"""Batches for training and validation: samples, their augmentation and their order."""
