"""How the sandbox is spoken to."""
