"""A data set drawn by our own code: people-like figures in textured clothes, with exact outlines."""

from clothseg.data.sample.mirror import draw_sample
from clothseg.data.sample.photo import draw_photo, sample_picture

__all__ = ["draw_photo", "draw_sample", "sample_picture"]
