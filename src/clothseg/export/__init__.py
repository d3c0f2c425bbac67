"""A trained model as one portable file: ONNX, compared with torch before it is written."""
