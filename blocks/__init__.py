"""Prefect blocks: the Bouncer account, its prices and the contacts database, typed.

`prefect block register -m blocks` puts their forms into a server's UI.
"""

from blocks.bouncer_account import BouncerAccount
from blocks.bouncer_prices import BouncerPrices
from blocks.contacts_database import ContactsDatabase

__all__ = ["BouncerAccount", "BouncerPrices", "ContactsDatabase"]
