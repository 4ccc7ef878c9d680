"""Requests: how far they have come, and what people do with them."""
