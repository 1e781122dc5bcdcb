"""Bodies of requests, for those who want them kept, and who that is."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ID = sa.String(40)


def upgrade() -> None:
    op.create_table(
        "body_terms",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("days", sa.Integer, nullable=False),
    )
    op.create_table(
        "bodies",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("key_id", _ID, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("request_bytes", sa.BigInteger, nullable=False),
        sa.Column("response_bytes", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("bodies_of", "bodies", ["account_id", "created"])
    op.create_index("bodies_expire", "bodies", ["expires"])


def downgrade() -> None:
    for name in ("bodies", "body_terms"):
        op.drop_table(name)
