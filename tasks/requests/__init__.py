"""Steps about requests."""
