"""The queue: who waits, whose turn it is, what is known already."""
