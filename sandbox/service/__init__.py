"""What the sandbox does with what it is sent."""
