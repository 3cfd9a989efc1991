"""Alembic's environment: runs revisions on the connection that the caller hands over.

``config.attributes`` holds ``connection``, in a transaction of the caller's, or ``url``. The revision is
kept in a table of our own; the portal's ``alembic_version`` is not touched.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from include.catalog.migrate import VERSION_TABLE, is_of_catalog
from include.catalog.tables import Base


def run(connection: sa.Connection) -> None:
    """Run the asked-for revisions, all or none."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        include_name=is_of_catalog,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


attributes = context.config.attributes
if "connection" in attributes:
    run(attributes["connection"])
else:
    engine = sa.create_engine(attributes["url"], poolclass=sa.NullPool)
    with engine.begin() as opened:
        run(opened)
