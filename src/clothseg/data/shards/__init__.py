"""Packed data sets: tar files read from a folder or a remote store through a bounded cache."""
