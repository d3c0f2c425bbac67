"""From a download to batches: Fashionpedia, painted masks, augmented samples."""
