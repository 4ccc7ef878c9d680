"""The steps of a batch, without Prefect: each takes what it needs from outside through the ports of ``ports``."""
