"""Commands that get a place ready to work."""
