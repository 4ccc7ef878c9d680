"""What all runs need: stopping, retries, events."""
