"""Commands that change what becomes of the queue."""
