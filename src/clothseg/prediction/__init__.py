"""From a photo to its garments: the one door, its runtimes and its results."""
