"""Scores of a model at the photos' own size, with intervals, and the comparison of two models."""
