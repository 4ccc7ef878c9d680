"""The machine of a simulated world: time, processes, and a database whose commits can go wrong."""
