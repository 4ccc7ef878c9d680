"""Planted faults: small changes of the code, each of which the simulation must find."""
