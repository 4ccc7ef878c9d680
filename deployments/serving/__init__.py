"""Services that run until they are stopped."""
