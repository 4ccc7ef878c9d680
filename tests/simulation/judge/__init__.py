"""The judge: knows what is promised, and nothing of the code."""
