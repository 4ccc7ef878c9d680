"""Flows about costs."""
