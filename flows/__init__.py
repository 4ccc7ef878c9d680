"""Flows, one a file: each reads as the list of its steps."""
