"""The network, its loss and optimizer, and the model file with its description."""
