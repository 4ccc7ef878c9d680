"""Steps of a batch."""
