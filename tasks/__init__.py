"""The steps of the flows: one verb a task, each safe to run twice."""
