"""Bouncer, as docs/reference/bouncer.md has it: what it holds and charges, and how it answers."""
