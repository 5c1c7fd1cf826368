"""say who came by whose invite, who brought whom, and what two accounts share"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0011'
down_revision: str | Sequence[str] | None = '0010'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    moment, text = sqlmodel.sql.sqltypes.UTCDateTime(), sqlmodel.sql.sqltypes.AutoString
    touch_kind = {'native_enum': False, 'create_constraint': True, 'length': 20, 'name': 'touch_kind'}
    op.add_column('sales', sa.Column('attribution', sa.JSON(), server_default='{}', nullable=False))
    op.create_table(
        'touches',
        sa.Column('code', text(length=20), nullable=False),
        sa.Column('visitor_id', text(length=40), nullable=False),
        sa.Column('member_id', text(length=40), nullable=True),
        sa.Column('kind', sa.Enum('link', 'code', **touch_kind), nullable=False),
        sa.Column('taps', sa.Integer(), nullable=False),
        sa.Column('first_at', moment, nullable=False),
        sa.Column('last_at', moment, nullable=False),
        sa.CheckConstraint('first_at <= last_at', name=op.f('ck_touches_times')),
        sa.CheckConstraint('taps >= 1', name=op.f('ck_touches_taps')),
        sa.ForeignKeyConstraint(['code'], ['invites.code'], name=op.f('fk_touches_code')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_touches_member_id')),
        sa.PrimaryKeyConstraint('code', 'visitor_id', name=op.f('pk_touches')),
    )
    op.create_index(op.f('ix_touches_member_id_last_at'), 'touches', ['member_id', 'last_at'])
    op.create_index(op.f('ix_touches_visitor_id'), 'touches', ['visitor_id'])
    op.create_table(
        'referrals',
        sa.Column('scope', text(length=40), nullable=False),
        sa.Column('member_id', text(length=40), nullable=False),
        sa.Column('inviter_id', text(length=40), nullable=False),
        sa.Column('code', text(length=20), nullable=False),
        sa.Column(
            'channel',
            sa.Enum(
                *('link', 'chat', 'poster', 'qr'),
                name='invite_channel',
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column('kind', sa.Enum('link', 'code', **touch_kind), nullable=False),
        sa.Column('order_id', text(length=40), nullable=False),
        sa.Column('touched_at', moment, nullable=False),
        sa.Column('bound_at', moment, nullable=False),
        sa.CheckConstraint('inviter_id <> member_id', name=op.f('ck_referrals_inviter_id')),
        sa.ForeignKeyConstraint(['code'], ['invites.code'], name=op.f('fk_referrals_code')),
        sa.ForeignKeyConstraint(['inviter_id'], ['members.id'], name=op.f('fk_referrals_inviter_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_referrals_member_id')),
        sa.PrimaryKeyConstraint('scope', 'member_id', name=op.f('pk_referrals')),
    )
    op.create_index(op.f('ix_referrals_scope_inviter_id'), 'referrals', ['scope', 'inviter_id'])
    op.create_index(op.f('ix_referrals_member_id'), 'referrals', ['member_id'])
    op.create_index(op.f('ix_referrals_inviter_id'), 'referrals', ['inviter_id'])
    op.create_table(
        'causes',
        sa.Column('order_id', text(length=40), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('handled', sa.Integer(), nullable=False),
        sa.CheckConstraint('handled BETWEEN 0 AND version', name=op.f('ck_causes_handled')),
        sa.PrimaryKeyConstraint('order_id', name=op.f('pk_causes')),
    )
    due = sa.text('handled < version')
    op.create_index('ix_causes_due', 'causes', ['order_id'], sqlite_where=due, postgresql_where=due)
    op.create_table(
        'marks',
        sa.Column('member_id', text(length=40), nullable=False),
        sa.Column(
            'kind',
            sa.Enum(
                *('device', 'payer', 'phone'),
                name='mark_kind',
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column('digest', text(length=64), nullable=False),
        sa.Column('created_at', moment, nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_marks_member_id')),
        sa.PrimaryKeyConstraint('member_id', 'kind', 'digest', name=op.f('pk_marks')),
    )
    op.create_index(op.f('ix_marks_kind_digest'), 'marks', ['kind', 'digest'])


def downgrade() -> None:
    for table in ('marks', 'causes', 'referrals', 'touches'):
        op.drop_table(table)
    with op.batch_alter_table('sales') as batch:
        batch.drop_column('attribution')
