"""Erasure: a person, or a request, leaves everything that is written here."""
