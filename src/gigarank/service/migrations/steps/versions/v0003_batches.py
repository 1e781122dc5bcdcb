"""Files, batches and what of them is done; which batch a hold and a row of usage are of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.String(40)
_EVENTS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def upgrade() -> None:
    for name in ("reservations", "usage"):
        op.add_column(name, sa.Column("batch_id", _ID))
    op.create_table(
        "files",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("files_of", "files", ["account_id", "created"])
    op.create_index("files_expire", "files", ["expires"])
    _batches()
    op.create_table(
        "batch_segments",
        sa.Column("batch_id", _ID, sa.ForeignKey("batches.id"), primary_key=True),
        sa.Column("bytes_done", sa.BigInteger, primary_key=True),
        sa.Column("output", sa.String(100)),
        sa.Column("errors", sa.String(100)),
    )


def downgrade() -> None:
    for name in ("batch_segments", "batches", "files"):
        op.drop_table(name)
    for name in ("reservations", "usage"):
        op.drop_column(name, "batch_id")


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("key_id", _ID, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("input_file_id", _ID, nullable=False),
        sa.Column("metadata", sa.Text),
        sa.Column("output_seconds", sa.Integer),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("errors", sa.Text),
        sa.Column("model", sa.String(200)),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("total", "completed", "failed")),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("lines_done", sa.Integer, nullable=False),
        sa.Column("bytes_done", sa.BigInteger, nullable=False),
        sa.Column("output_file_id", _ID),
        sa.Column("error_file_id", _ID),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        *(sa.Column(f"{event}_at", sa.BigInteger) for event in _EVENTS),
        sa.Column("owner", _ID),
        sa.Column("held_until", sa.BigInteger, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
    op.create_index("batches_of", "batches", ["account_id", "created"])
    op.create_index("batches_open", "batches", ["state", "turn"])
