"""The reference in docs/reference, made from the code: ``python -m tests.docs.reference`` writes it."""
