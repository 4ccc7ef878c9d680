"""The part without Prefect: API client, verdicts, errors, tables, migrations, interleaving."""

from bouncer.safe_logs import keep_logs_safe

# Here, because all that logs for us imports this package, in whichever process.
keep_logs_safe()
