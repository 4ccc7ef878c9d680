"""Steps about costs."""
