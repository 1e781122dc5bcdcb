"""Free credit, codes, who is to be told of a low balance, and keys that were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ID = sa.String(40)


def upgrade() -> None:
    op.create_table(
        "free_credits",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("secret_id", sa.String(16), nullable=False),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False, unique=True),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "codes",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id")),
        sa.Column("redeemed", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.add_column("people", sa.Column("funded", sa.Integer))
    op.add_column("keys", sa.Column("deleted", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("keys", "deleted")
    op.drop_column("people", "funded")
    for name in ("codes", "free_credits"):
        op.drop_table(name)
