"""Keeps strangers out of our processes, our servers and our files."""
