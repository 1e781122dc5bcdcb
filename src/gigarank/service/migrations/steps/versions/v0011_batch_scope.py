"""Files and batches have a scope of their own; whoever could ask models could use them until now, and goes on to."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_KEYS = sa.table("keys", sa.column("scopes", sa.String(100)))
_BETWEEN = " " + _KEYS.c.scopes + " "  # so that each scope has a blank on both sides


def upgrade() -> None:
    may = (_BETWEEN.like("% inference %"), _BETWEEN.not_like("% batches %"))
    op.execute(_KEYS.update().where(*may).values(scopes=_KEYS.c.scopes + " batches"))


def downgrade() -> None:
    """A key that has this scope alone is left with none, and may do nothing."""
    left = sa.func.trim(sa.func.replace(_BETWEEN, " batches ", " "))
    op.execute(_KEYS.update().where(_BETWEEN.like("% batches %")).values(scopes=left))
