"""Prefect blocks: the Bouncer account and the contacts database, typed."""
