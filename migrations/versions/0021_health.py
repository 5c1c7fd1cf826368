"""days of communities that close, with a score; and what happened in a community on a day, by indexes"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0021'
down_revision: str | Sequence[str] | None = '0020'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
INDEXES: dict[str, tuple[str, list[str], str | None]] = {
    'ix_community_days_closing': ('community_days', ['closes_at'], 'closes_at IS NOT NULL'),
    'ix_community_days_ranked': ('community_days', ['day', 'score', 'community_id'], 'score IS NOT NULL'),
    'ix_posts_community_id_created_at': ('posts', ['community_id', 'created_at'], None),
    'ix_comments_community_id_created_at': ('comments', ['community_id', 'created_at'], None),
    'ix_reactions_community_id_created_at': ('reactions', ['community_id', 'created_at'], None),
    'ix_tips_community': ('tips', ['community_id', 'created_at'], 'community_id IS NOT NULL'),
    'ix_events_community_times': ('events', ['community_id', 'created_at'], 'community_id IS NOT NULL'),
    'ix_orders_paid': ('orders', ['sale_id', 'paid_at'], 'paid_at IS NOT NULL'),
    'ix_groups_succeeded': ('groups', ['sale_id', 'ended_at'], "state = 'succeeded' AND size > 1"),
    'ix_pushes_sent': ('pushes', ['community_id', 'sent_at'], 'sent_at IS NOT NULL'),
}


def upgrade() -> None:
    with op.batch_alter_table('community_days') as batch:
        batch.add_column(sa.Column('counted_at', MOMENT, nullable=True))
        batch.add_column(sa.Column('closes_at', MOMENT, nullable=True))
        batch.add_column(sa.Column('score', sa.Integer(), nullable=True))
        batch.create_check_constraint(op.f('ck_community_days_score'), 'score IS NULL OR score BETWEEN 0 AND 100')
    for name, (table, columns, condition) in INDEXES.items():
        only: dict[str, Any] = {}
        if condition is not None:
            only = {'sqlite_where': sa.text(condition), 'postgresql_where': sa.text(condition)}
        op.create_index(name, table, columns, **only)


def downgrade() -> None:
    for name, (table, *_) in reversed(INDEXES.items()):
        op.drop_index(name, table_name=table)
    with op.batch_alter_table('community_days') as batch:
        batch.drop_constraint(op.f('ck_community_days_score'), type_='check')
        batch.drop_column('score')
        batch.drop_column('closes_at')
        batch.drop_column('counted_at')
