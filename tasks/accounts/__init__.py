"""Steps about accounts."""
