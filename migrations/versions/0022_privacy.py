"""members who are erased, and what is kept for a time only"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0022'
down_revision: str | Sequence[str] | None = '0021'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
UNSEEN = "removed_at IS NOT NULL AND body <> ''"
INDEXES = (
    ('ix_members_erased', 'members', 'erased_at', 'erased_at IS NOT NULL'),
    ('ix_members_sweep', 'members', 'sweep_at', 'sweep_at IS NOT NULL'),
    ('ix_sessions_expires_at', 'sessions', 'expires_at', None),
    ('ix_touches_strangers', 'touches', 'last_at', 'member_id IS NULL'),
    ('ix_notices_quoting', 'notices', 'subject_id', "kind IN ('mention', 'answer')"),
    ('ix_cuts_member_id', 'cuts', 'member_id', None),
    ('ix_memberships_applications', 'memberships', 'applied_at', "application <> ''"),
    ('ix_memberships_ended', 'memberships', 'left_at', 'left_at IS NOT NULL'),
    ('ix_posts_removed', 'posts', 'removed_at', UNSEEN),
    ('ix_comments_removed', 'comments', 'removed_at', UNSEEN),
)
KINDS = (
    *('budget', 'accrued', 'reduced', 'withheld', 'released', 'matured', 'reversed'),
    *('payout_asked', 'payout_paid', 'payout_returned', 'tip'),
)


def upgrade() -> None:
    with op.batch_alter_table('members') as batch:
        batch.add_column(sa.Column('erased_at', MOMENT, nullable=True))
        batch.add_column(sa.Column('sweep_at', MOMENT, nullable=True))
        batch.create_check_constraint(
            op.f('ck_members_erased'), "(erased_at IS NOT NULL) = (provider = 'erased')"
        )
        batch.create_check_constraint(op.f('ck_members_sweep_at'), 'sweep_at IS NULL OR erased_at IS NOT NULL')
    for name, table, column, condition in INDEXES:
        which = None if condition is None else sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=which, postgresql_where=which)
    _allow((*KINDS, 'forfeited'))
    op.execute('DELETE FROM sandbox_callbacks WHERE due_at IS NULL')


def downgrade() -> None:
    _allow(KINDS)
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    with op.batch_alter_table('members') as batch:
        batch.drop_constraint(op.f('ck_members_sweep_at'), type_='check')
        batch.drop_constraint(op.f('ck_members_erased'), type_='check')
        batch.drop_column('sweep_at')
        batch.drop_column('erased_at')


def _allow(kinds: Sequence[str]) -> None:
    """Let transfers be of these kinds. On SQLite the table is written anew, and its triggers with it."""
    names = ', '.join(f"'{kind}'" for kind in kinds)
    with op.batch_alter_table('transfers') as batch:
        batch.drop_constraint(op.f('ck_transfers_transfer_kind'), type_='check')
        batch.create_check_constraint(op.f('ck_transfers_transfer_kind'), f'kind IN ({names})')
    if op.get_bind().dialect.name == 'sqlite':
        for change in ('update', 'delete'):
            op.execute(
                f'CREATE TRIGGER transfers_no_{change} BEFORE {change} ON transfers'
                " BEGIN SELECT RAISE(ABORT, 'transfers is only ever added to'); END"
            )
