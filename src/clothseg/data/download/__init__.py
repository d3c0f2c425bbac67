"""Getting the data here: files over http or from a folder, and archives of photos, whole or not at all."""
