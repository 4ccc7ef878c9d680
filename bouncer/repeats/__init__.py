"""What is verified once more: the deep pass, and old verdicts."""
