"""jobs, reports that are trusted, and indexes for what lists of posts show"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0018'
down_revision: str | Sequence[str] | None = '0017'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
TEXT = sqlmodel.sql.sqltypes.AutoString
STATE: dict[str, Any] = {'native_enum': False, 'create_constraint': True, 'length': 20}
SHOWN = 'hidden_at IS NULL AND removed_at IS NULL'
INDEXES: list[tuple[str, str, list[str], str]] = [
    ('ix_posts_shown', 'posts', ['community_id', 'id'], SHOWN),
    ('ix_posts_kinds', 'posts', ['community_id', 'kind', 'id'], SHOWN),
    (
        'ix_posts_unanswered',
        'posts',
        ['community_id', 'id'],
        f"kind = 'question' AND answered_at IS NULL AND {SHOWN}",
    ),
    ('ix_posts_hidden', 'posts', ['community_id', 'id'], 'hidden_at IS NOT NULL AND removed_at IS NULL'),
    ('ix_posts_streaks', 'posts', ['community_id', 'day', 'streak', 'id'], "kind = 'check_in'"),
    ('ix_posts_remembered', 'posts', ['community_id', 'created_at'], 'removed_at IS NULL'),
    ('ix_comments_remembered', 'comments', ['community_id', 'created_at'], 'removed_at IS NULL'),
]
OLD, BY_PERSON = ['community_id', 'receiver_id', 'day'], ['community_id', 'receiver_id', 'giver_id', 'day']
BY_DAY = ['community_id', 'giver_id', 'day']


def upgrade() -> None:
    op.create_table(
        'jobs',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column(
            'state', sa.Enum('offered', 'taken', 'done', 'withdrawn', name='job_state', **STATE), nullable=False
        ),
        sa.Column('holder_id', TEXT(length=40), nullable=True),
        sa.Column('ended_at', MOMENT, nullable=True),
        sa.CheckConstraint("state <> 'offered' OR holder_id IS NULL", name=op.f('ck_jobs_offered')),
        sa.CheckConstraint(
            "state NOT IN ('taken', 'done') OR holder_id IS NOT NULL", name=op.f('ck_jobs_held')
        ),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (state IN ('done', 'withdrawn'))", name=op.f('ck_jobs_ended_at')
        ),
        sa.ForeignKeyConstraint(['id'], ['posts.id'], name=op.f('fk_jobs_id')),
        sa.ForeignKeyConstraint(['holder_id'], ['members.id'], name=op.f('fk_jobs_holder_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs')),
    )
    op.create_table(
        'hands',
        sa.Column('post_id', TEXT(length=40), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('giver_id', TEXT(length=40), nullable=False),
        sa.Column('receiver_id', TEXT(length=40), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint('number BETWEEN 1 AND 20', name=op.f('ck_hands_number')),
        sa.CheckConstraint('receiver_id <> giver_id', name=op.f('ck_hands_receiver_id')),
        sa.ForeignKeyConstraint(['post_id'], ['jobs.id'], name=op.f('fk_hands_post_id')),
        sa.ForeignKeyConstraint(['giver_id'], ['members.id'], name=op.f('fk_hands_giver_id')),
        sa.ForeignKeyConstraint(['receiver_id'], ['members.id'], name=op.f('fk_hands_receiver_id')),
        sa.PrimaryKeyConstraint('post_id', 'number', name=op.f('pk_hands')),
    )
    op.add_column('reports', sa.Column('trusted', sa.Boolean(), nullable=False, server_default=sa.false()))
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    op.drop_index(op.f('ix_encounters_community_id_receiver_id_day'), 'encounters')
    op.create_index(op.f('ix_encounters_community_id_receiver_id_giver_id_day'), 'encounters', BY_PERSON)
    op.create_index(op.f('ix_encounters_community_id_giver_id_day'), 'encounters', BY_DAY)


def downgrade() -> None:
    op.drop_index(op.f('ix_encounters_community_id_giver_id_day'), 'encounters')
    op.drop_index(op.f('ix_encounters_community_id_receiver_id_giver_id_day'), 'encounters')
    op.create_index(op.f('ix_encounters_community_id_receiver_id_day'), 'encounters', OLD)
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table)
    op.drop_column('reports', 'trusted')
    op.drop_table('hands')
    op.drop_table('jobs')
