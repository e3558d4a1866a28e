"""What Alembic runs around the scripts, on the connection and in the transaction that it is given."""

from alembic import context

from rfm_pipeline.ledger.migrations import VERSION_TABLE
from rfm_pipeline.ledger.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
