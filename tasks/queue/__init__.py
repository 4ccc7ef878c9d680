"""Steps that take contacts out of the queue."""
