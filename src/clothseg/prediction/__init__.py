"""Prediction: from a photo to its garments, the entry point, its runtimes and its results."""
