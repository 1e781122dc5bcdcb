"""The catalogue: models, their states, and who asks for them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("figures", sa.Text),
        sa.Column("retires", sa.BigInteger),
        sa.Column("instead", sa.String(200)),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "model_votes",
        sa.Column("model_id", sa.String(200), sa.ForeignKey("models.id"), primary_key=True),
        sa.Column("account_id", sa.String(40), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("model_votes_of", "model_votes", ["account_id"])


def downgrade() -> None:
    for name in ("model_votes", "models"):
        op.drop_table(name)
