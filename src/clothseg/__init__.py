"""clothseg finds the clothes in a photo: data, training, prediction and scores for 13 classes of garments."""

__version__ = "0.1.0"
