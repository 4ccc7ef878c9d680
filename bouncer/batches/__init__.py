"""The life of a batch, from its row to its verdicts."""
