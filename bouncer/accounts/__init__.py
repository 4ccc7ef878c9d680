"""What all workers share about a Bouncer account."""
