"""E-mail addresses: their normal form, the keys of equal ones, and how their domains are mixed."""
