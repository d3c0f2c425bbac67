"""Segmentation over HTTP: the API, its page, and the processes that do the work."""
