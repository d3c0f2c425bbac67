"""A prepared data set packed into shards: a few large tar files and their index."""
