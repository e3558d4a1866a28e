"""Order exports as files: the landing folder, their text, their cells, their rows."""
