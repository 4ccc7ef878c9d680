"""Credits: what may be committed, what is charged, what they cost."""
