"""The tables of who people are elsewhere. As tables.py, of whose metadata they are."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from gigarank.service.tables import metadata

_ID = String(40)

identities = Table(
    "identities",
    metadata,
    Column("issuer", String(200), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("identities_of", "account_id"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the state
    Column("provider", String(32), nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("verifier", String(64), nullable=False),
    Column("onward", String(512), nullable=False),
    Column("expires", BigInteger, nullable=False),
)
