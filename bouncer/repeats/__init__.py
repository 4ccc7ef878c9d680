"""Verifications repeated: the deep pass, and old verdicts."""
