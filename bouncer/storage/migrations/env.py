"""Runs the revisions on the connection that ``bouncer.storage.migrate`` hands over; Alembic looks for this file."""

from alembic import context

handed_over = context.config.attributes
context.configure(
    connection=handed_over["connection"],
    version_table=handed_over["version_table"],
)
context.run_migrations()
