"""The installation in a simulated world: workers, their ports, and the people around them."""
