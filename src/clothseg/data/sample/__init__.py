"""A dataset drawn by our own code: people-like figures in clothes of all categories, with exact outlines."""

from clothseg.data.sample.mirror import draw_photo, draw_sample, sample_picture

__all__ = ["draw_photo", "draw_sample", "sample_picture"]
