"""Steps of check-health."""
