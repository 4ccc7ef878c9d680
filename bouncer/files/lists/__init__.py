"""Lists as files: read wherever they are, and given back with their own columns."""
