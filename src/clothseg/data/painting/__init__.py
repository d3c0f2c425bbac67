"""Masks: painted from runs by all cores, or checked where they are there already."""
