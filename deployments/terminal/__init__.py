"""Output for people on the terminal."""
