"""Flows about one request."""
