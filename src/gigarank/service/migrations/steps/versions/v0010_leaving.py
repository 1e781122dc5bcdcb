"""Large accounts: read page by page in an export, and deleted piece by piece."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("leaving", sa.String(40)))
    op.create_index("accounts_leaving", "accounts", ["leaving"])
    op.create_index("usage_pages", "usage", ["account_id", "id"])
    op.create_index("ledger_pages", "ledger", ["account_id", "id"])


def downgrade() -> None:
    op.drop_index("ledger_pages", "ledger")
    op.drop_index("usage_pages", "usage")
    op.drop_index("accounts_leaving", "accounts")
    op.drop_column("accounts", "leaving")
