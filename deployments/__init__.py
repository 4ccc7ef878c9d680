"""Operation: settings, setup, the local Prefect server, and the command line."""
