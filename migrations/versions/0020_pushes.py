"""inbox and broadcasts: reminders, one digest a day, what a push has reached, when a digest is due"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0020'
down_revision: str | Sequence[str] | None = '0019'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
TEXT = sqlmodel.sql.sqltypes.AutoString
KINDS = ('push', 'digest', 'order', 'refund', 'mention', 'answer', 'membership', 'summary')
OLD_PLACE = "(kind = 'push') = (number IS NOT NULL) AND (number IS NULL) = (day IS NULL)"
DIGEST = sa.text("kind = 'digest'")
UNREAD = sa.text('read_at IS NULL')
WITH_DEFAULTS: dict[str, tuple[Any, str]] = {
    'delivered': (sa.Integer(), '0'),
    'digested': (sa.Integer(), '0'),
    'request_hash': (TEXT(length=64), "''"),
}


def upgrade() -> None:
    with op.batch_alter_table('notices') as batch:
        batch.drop_constraint(op.f('ck_notices_place'), type_='check')
        batch.drop_constraint(op.f('ck_notices_notice_kind'), type_='check')
        batch.create_check_constraint(op.f('ck_notices_notice_kind'), _one_of(*KINDS, 'reminder'))
        batch.create_check_constraint(op.f('ck_notices_place'), "(kind = 'push') = (number IS NOT NULL)")
        batch.create_check_constraint(op.f('ck_notices_day'), "(kind IN ('push', 'digest')) = (day IS NOT NULL)")
    op.create_index(
        'uq_notices_digest',
        'notices',
        ['member_id', 'day'],
        unique=True,
        sqlite_where=DIGEST,
        postgresql_where=DIGEST,
    )
    op.create_index(
        'ix_notices_unread', 'notices', ['member_id', 'id'], sqlite_where=UNREAD, postgresql_where=UNREAD
    )
    with op.batch_alter_table('pushes') as batch:
        for name, (type_, default) in WITH_DEFAULTS.items():
            batch.add_column(sa.Column(name, type_, server_default=sa.text(default), nullable=False))
    with op.batch_alter_table('pushes') as batch:
        for name in WITH_DEFAULTS:
            batch.alter_column(name, server_default=None)
        batch.create_check_constraint(op.f('ck_pushes_sent_at'), "(sent_at IS NOT NULL) = (state = 'sent')")
    with op.batch_alter_table('overflows') as batch:
        batch.add_column(sa.Column('due_at', MOMENT, nullable=True))
    op.execute('UPDATE overflows SET due_at = created_at')
    with op.batch_alter_table('overflows') as batch:
        batch.alter_column('due_at', existing_type=MOMENT, nullable=False)
    op.create_index(op.f('ix_overflows_due_at'), 'overflows', ['due_at'])


def downgrade() -> None:
    op.drop_index(op.f('ix_overflows_due_at'), table_name='overflows')
    with op.batch_alter_table('overflows') as batch:
        batch.drop_column('due_at')
    with op.batch_alter_table('pushes') as batch:
        batch.drop_constraint(op.f('ck_pushes_sent_at'), type_='check')
        for name in WITH_DEFAULTS:
            batch.drop_column(name)
    op.drop_index('ix_notices_unread', table_name='notices')
    op.drop_index('uq_notices_digest', table_name='notices')
    op.execute("DELETE FROM notices WHERE kind IN ('reminder', 'digest')")
    with op.batch_alter_table('notices') as batch:
        for name in ('day', 'place', 'notice_kind'):
            batch.drop_constraint(op.f(f'ck_notices_{name}'), type_='check')
        batch.create_check_constraint(op.f('ck_notices_notice_kind'), _one_of(*KINDS))
        batch.create_check_constraint(op.f('ck_notices_place'), OLD_PLACE)


def _one_of(*kinds: str) -> str:
    return f"kind IN ({', '.join(repr(kind) for kind in kinds)})"
