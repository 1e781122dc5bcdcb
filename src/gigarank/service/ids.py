"""Names for rows: a word that says what it is, and what nobody guesses."""

import secrets


def new_id(kind: str) -> str:
    """As acc_9f0c..., of at most 40 characters."""
    return f"{kind}_{secrets.token_hex(12)}"
