"""The commands of ``bouncer-flows``, a module for each group of them."""
