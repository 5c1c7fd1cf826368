"""logins: phone numbers, and who began a session"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0028'
down_revision: str | Sequence[str] | None = '0027'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
ENDED = sa.text('revoked_at IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'phones',
        sa.Column('member_id', sa.String(length=40), nullable=False),
        sa.Column('number', sa.String(length=120), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('provider', sa.String(length=40), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_phones_member_id')),
        sa.PrimaryKeyConstraint('member_id', name=op.f('pk_phones')),
    )
    op.create_index(op.f('ix_phones_digest'), 'phones', ['digest'])
    with op.batch_alter_table('sessions') as batch:
        batch.add_column(sa.Column('provider', sa.String(length=40), nullable=True))
        batch.add_column(sa.Column('refreshed_at', MOMENT, nullable=True))
    op.create_index(
        'ix_sessions_revoked', 'sessions', ['revoked_at'], sqlite_where=ENDED, postgresql_where=ENDED
    )


def downgrade() -> None:
    op.drop_index('ix_sessions_revoked', table_name='sessions')
    with op.batch_alter_table('sessions') as batch:
        batch.drop_column('refreshed_at')
        batch.drop_column('provider')
    op.drop_table('phones')
