"""Upkeep: keeps the database small, or moves it elsewhere."""
