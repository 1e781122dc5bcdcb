"""Accounts whose batches wait take turns; what is open now begins anew, with the batch that waits for longest."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "batch_turns",
        sa.Column("account_id", sa.String(40), primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("batch_turns")
