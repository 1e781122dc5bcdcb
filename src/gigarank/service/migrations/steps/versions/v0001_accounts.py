"""Accounts, keys, grants and the ledger, which refuses changes from its first day."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_GROWS = "the ledger only grows"
_ID = sa.String(40)


def upgrade() -> None:
    _accounts()
    _keys()
    _credit()
    _protect()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER ledger_grows ON ledger")
        op.execute("DROP FUNCTION ledger_grows()")
    for name in ("ledger", "grants", "keys", "accounts"):
        op.drop_table(name)


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("email", sa.String(320), nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("balance_micros", sa.BigInteger, nullable=False),
        sa.Column("held_micros", sa.BigInteger, nullable=False),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("tokens_per_minute", sa.Integer),
        sa.Column("concurrent_requests", sa.Integer),
        sa.Column("next_expiry", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.CheckConstraint("held_micros >= 0", name="accounts_held"),
        sa.CheckConstraint("balance_micros >= held_micros", name="accounts_balance"),
    )


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("shown", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("secret_id", sa.String(16), nullable=False),
        sa.Column("scopes", sa.String(100), nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("disabled", sa.Integer, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("cap_micros", sa.BigInteger),
        sa.Column("cap_period", sa.String(8), nullable=False),
        sa.Column("spent_micros", sa.BigInteger, nullable=False),
        sa.Column("spent_from", sa.BigInteger, nullable=False),
        sa.Column("held_micros", sa.BigInteger, nullable=False),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("tokens_per_minute", sa.Integer),
        sa.Column("concurrent_requests", sa.Integer),
        sa.Column("last_used", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.CheckConstraint("held_micros >= 0", name="keys_held"),
    )
    op.create_index("ix_keys_account_id", "keys", ["account_id"])


def _credit() -> None:
    op.create_table(
        "grants",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("left_micros", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.CheckConstraint("amount_micros > 0", name="grants_amount"),
        sa.CheckConstraint("left_micros >= 0 AND left_micros <= amount_micros", name="grants_left"),
    )
    op.create_index("grants_of", "grants", ["account_id", "priority", "expires"])
    op.create_table(
        "ledger",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("grant_id", _ID, sa.ForeignKey("grants.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("usage_id", _ID),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_ledger_account_id", "ledger", ["account_id"])
    op.create_index("ledger_once", "ledger", ["usage_id", "grant_id"], unique=True)


def _protect() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION ledger_grows() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION '{_GROWS}'; END $$ LANGUAGE plpgsql"
        )
        op.execute("CREATE TRIGGER ledger_grows BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_grows()")
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(f"CREATE TRIGGER ledger_{verb.lower()} BEFORE {verb} ON ledger BEGIN SELECT RAISE(ABORT, '{_GROWS}'); END")
