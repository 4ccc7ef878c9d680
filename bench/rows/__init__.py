"""Benchmarks, one a module."""
