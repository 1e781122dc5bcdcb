"""Credit: prices, grants, the ledger, and what is held while a request runs."""
