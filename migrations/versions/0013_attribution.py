"""give invites limits, remember circles that were refused, what members want to be seen of, and who paid"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0013'
down_revision: str | Sequence[str] | None = '0012'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = {
    'invites': [
        'revoked_at {moment}',
        'max_uses INTEGER CONSTRAINT ck_invites_max_uses CHECK (max_uses BETWEEN 1 AND 10000)',
        'used_up_at {moment}',
        'day DATE',
        'day_number INTEGER CONSTRAINT ck_invites_day_number CHECK (day_number BETWEEN 1 AND 100)',
    ],
    'members': [
        "seen_by_friends VARCHAR(20) DEFAULT 'named' NOT NULL CONSTRAINT ck_members_seen_by"
        " CHECK (seen_by_friends IN ('named', 'counted', 'hidden'))",
    ],
    'sandbox_charges': ['payer VARCHAR(64)'],
}


def upgrade() -> None:
    moment, text = sqlmodel.sql.sqltypes.UTCDateTime(), sqlmodel.sql.sqltypes.AutoString
    type_ = 'TIMESTAMP WITH TIME ZONE' if op.get_bind().dialect.name == 'postgresql' else 'DATETIME'
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f'ALTER TABLE {table} ADD COLUMN {column.format(moment=type_)}')
    op.create_index('uq_invites_day', 'invites', ['member_id', 'day', 'day_number'], unique=True)
    op.create_index(op.f('ix_referrals_code'), 'referrals', ['code'])
    op.create_table(
        'uses',
        sa.Column('code', text(length=20), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('max_uses', sa.Integer(), nullable=False),
        sa.Column('member_id', text(length=40), nullable=False),
        sa.CheckConstraint('number BETWEEN 1 AND max_uses', name=op.f('ck_uses_number')),
        sa.ForeignKeyConstraint(['code'], ['invites.code'], name=op.f('fk_uses_code')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_uses_member_id')),
        sa.PrimaryKeyConstraint('code', 'number', name=op.f('pk_uses')),
    )
    op.create_index('uq_uses_member', 'uses', ['code', 'member_id'], unique=True)
    op.create_table(
        'refusals',
        sa.Column('scope', text(length=40), nullable=False),
        sa.Column('member_id', text(length=40), nullable=False),
        sa.Column('inviter_id', text(length=40), nullable=False),
        sa.Column(
            'reason',
            sa.Enum('cycle', name='refusal_reason', native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column('code', text(length=20), nullable=False),
        sa.Column('order_id', text(length=40), nullable=False),
        sa.Column('at', moment, nullable=False),
        sa.ForeignKeyConstraint(['code'], ['invites.code'], name=op.f('fk_refusals_code')),
        sa.ForeignKeyConstraint(['inviter_id'], ['members.id'], name=op.f('fk_refusals_inviter_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_refusals_member_id')),
        sa.PrimaryKeyConstraint('scope', 'member_id', 'inviter_id', name=op.f('pk_refusals')),
    )
    op.create_index(op.f('ix_refusals_member_id'), 'refusals', ['member_id'])
    op.create_index(op.f('ix_refusals_inviter_id'), 'refusals', ['inviter_id'])


def downgrade() -> None:
    op.drop_table('refusals')
    op.drop_table('uses')
    op.drop_index(op.f('ix_referrals_code'), table_name='referrals')
    op.drop_index('uq_invites_day', table_name='invites')
    for table, columns in COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                for word in column.split():
                    if word.startswith('ck_'):
                        batch.drop_constraint(op.f(word), type_='check')
                batch.drop_column(column.split()[0])
