"""The commands of ``bouncer-flows``: a module for each, in folders by what it is given for.

A command imports what it works with when it is called. So ``--help``, which reads the first line of every command,
loads neither the database's libraries nor Prefect, whose settings must not be read before a local server is up.
"""
