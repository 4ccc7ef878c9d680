"""What keeps the database small, or takes it elsewhere."""
