"""Steps of housekeeping."""
