"""The network, its loss, how it learns, and what a model file says of itself."""
