"""Needs of every run: stopping, retries, events."""
