"""What a prediction is written as: files beside each photo, and files that other tools read for a whole folder."""
