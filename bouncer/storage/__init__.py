"""The contacts database: tables, migrations, engines, and rows in bulk."""
