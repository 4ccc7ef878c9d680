"""What Prefect is not needed for: the API client, verdicts, errors, tables, migrations, interleaving."""
