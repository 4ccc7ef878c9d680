"""The part without Prefect: API client, verdicts, errors, tables, migrations, interleaving."""
