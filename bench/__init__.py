"""Benchmarks: every figure beside its floor, taken in the same run on the same servers."""
