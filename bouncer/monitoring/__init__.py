"""Figures, thresholds, alerts, and the status of everything."""
