"""The ledger: one database that holds the truth. See `ledger.Ledger` for the door into it."""

from resources.adapters.ledger.ledger import Ledger, open_ledger

__all__ = ["Ledger", "open_ledger"]
