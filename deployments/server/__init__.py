"""The Prefect server: which one, and a local one of our own."""
