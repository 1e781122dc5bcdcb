"""Prices, reservations, usage and answers kept for repeated requests."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.String(40)


def upgrade() -> None:
    _prices()
    _usage()
    op.create_table(
        "repeats",
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("holder", _ID, nullable=False),
        sa.Column("held_until", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("content_type", sa.String(100)),
        sa.Column("body", sa.LargeBinary),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("repeats_expire", "repeats", ["expires"])


def downgrade() -> None:
    for name in ("repeats", "usage", "reservations", "prices"):
        op.drop_table(name)


def _prices() -> None:
    prices = op.create_table(
        "prices",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("micros", sa.BigInteger, nullable=False),
        sa.Column("valid_from", sa.BigInteger, nullable=False),
        sa.CheckConstraint("micros >= 0", name="prices_micros"),
    )
    op.create_index("prices_of", "prices", ["model", "tier", "valid_from"], unique=True)
    usual = {"model": "*", "unit": "tokens", "valid_from": 0}
    op.bulk_insert(
        prices,
        [
            {"id": "price_default", "tier": "default", "micros": 50_000, **usual},
            {"id": "price_batch", "tier": "batch", "micros": 25_000, **usual},
        ],
    )


def _usage() -> None:
    op.create_table(
        "reservations",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("key_id", _ID, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("owner", _ID, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.CheckConstraint("amount_micros >= 0", name="reservations_amount"),
    )
    op.create_index("reservations_of", "reservations", ["account_id", "key_id"])
    op.create_index("reservations_expire", "reservations", ["expires"])
    op.create_table(
        "usage",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("key_id", _ID, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("price_id", _ID, sa.ForeignKey("prices.id"), nullable=False),
        sa.Column("latency_ms", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
    )
    op.create_index("usage_of", "usage", ["account_id", "created"])
    op.create_index("usage_days", "usage", ["account_id", "day"])
