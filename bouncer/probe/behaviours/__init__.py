"""The table of what Bouncer does."""
