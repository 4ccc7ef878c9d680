"""State of a Bouncer account that all workers share."""
