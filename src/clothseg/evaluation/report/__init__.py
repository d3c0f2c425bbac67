"""An evaluation written down: JSON, Markdown and one HTML page."""
