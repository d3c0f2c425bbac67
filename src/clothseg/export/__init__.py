"""A trained model made portable: ONNX, checked against torch before it gets its name."""
