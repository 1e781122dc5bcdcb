"""The tables of credit that nobody paid for: free credit and codes. As tables.py, of whose metadata they are."""

from sqlalchemy import BigInteger, Column, ForeignKey, String, Table

from gigarank.service.tables import metadata

_ID = String(40)

free_credits = Table(
    "free_credits",
    metadata,
    Column("digest", String(64), primary_key=True),  # HMAC-SHA256 of the address: it stays when the account goes
    Column("secret_id", String(16), nullable=False),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
)

codes = Table(
    "codes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256
    Column("amount_micros", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("account_id", _ID, ForeignKey("accounts.id")),  # who redeemed it
    Column("redeemed", BigInteger),
    Column("created", BigInteger, nullable=False),
)
