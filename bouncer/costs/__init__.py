"""Costs: what was charged, and what would be."""
