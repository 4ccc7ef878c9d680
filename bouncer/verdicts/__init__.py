"""Verdicts: how long they stay good, whose they are, and how they are stored."""
