"""What Alembic runs: the versions, on the connection that `migrate` gives, within its transaction."""

from alembic import context

from gigarank.service.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True, render_as_batch=True
)
context.run_migrations()
