"""deal the ids of events to transactions that have a number themselves"""

from collections.abc import Sequence

from alembic import op

revision: str = '0024'
down_revision: str | Sequence[str] | None = '0023'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

DEAL = "nextval('events_id_seq'::regclass)"


def upgrade() -> None:
    """CASE has its condition evaluated first: the transaction has a number before the id is dealt."""
    _deal_by(f'CASE WHEN pg_current_xact_id() IS NULL THEN NULL ELSE {DEAL} END')


def downgrade() -> None:
    _deal_by(DEAL)


def _deal_by(expression: str) -> None:
    """SQLite has one writer at a time, and deals by itself."""
    if op.get_bind().dialect.name == 'postgresql':
        op.execute(f'ALTER TABLE events ALTER COLUMN id SET DEFAULT {expression}')
