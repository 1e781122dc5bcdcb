"""The tables of kept bodies and of the catalogue, beside those of tables.py, where they are known from.

Data, no queries.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()
"""Of all tables."""
_ID = String(40)

body_terms = Table(
    "body_terms",
    metadata,
    Column("id", _ID, primary_key=True),  # an account's, or of one of its keys
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("days", Integer, nullable=False),  # 0: none are kept
)

bodies = Table(
    "bodies",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("key_id", _ID, ForeignKey("keys.id"), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("route", String(200), nullable=False),
    Column("status", Integer, nullable=False),
    *(Column(name, LargeBinary, nullable=False) for name in ("request", "response")),  # or their beginnings
    *(Column(name, BigInteger, nullable=False) for name in ("request_bytes", "response_bytes")),  # of the whole
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("bodies_of", "account_id", "created"),
    Index("bodies_expire", "expires"),
)

models = Table(
    "models",
    metadata,
    Column("id", String(200), primary_key=True),  # the name in lower case
    Column("name", String(200), nullable=False),  # a known model's, or the hub's
    Column("state", String(16), nullable=False),  # proposed, benchmarking, onboarding, live, retired
    Column("reason", String(500)),  # why the last step failed
    Column("figures", Text),  # a JSON array of what was measured, a step each; null: accounts ask for it, and no more
    Column("retires", BigInteger),  # it is not served from then on
    Column("instead", String(200)),  # what to ask then
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),  # when it came to its state
)

model_votes = Table(
    "model_votes",
    metadata,
    Column("model_id", String(200), ForeignKey("models.id"), primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Index("model_votes_of", "account_id"),
)
