"""endpoints that events are sent to, what was sent and what was answered"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0025'
down_revision: str | Sequence[str] | None = '0024'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TEXT = sqlmodel.sql.sqltypes.AutoString
MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
WAITING = sa.text('delivered_at IS NULL')
DELIVERED = sa.text('delivered_at IS NOT NULL')


def upgrade() -> None:
    states = sa.Enum(
        *('active', 'paused', 'disabled', 'removed'),
        name='endpoint_state',
        native_enum=False,
        create_constraint=True,
        length=20,
    )
    reasons = sa.Enum(
        *('gone', 'failed'), name='disabled_reason', native_enum=False, create_constraint=True, length=20
    )
    op.create_table(
        'endpoints',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('url', TEXT(length=500), nullable=False),
        sa.Column('types', sa.JSON(), nullable=False),
        sa.Column('state', states, nullable=False),
        sa.Column('disabled_reason', reasons, nullable=True),
        sa.Column('cursor', BIG, nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('held_until', MOMENT, nullable=True),
        sa.Column('secret', TEXT(length=200), nullable=False),
        sa.Column('old_secret', TEXT(length=200), nullable=True),
        sa.Column('old_secret_until', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint('cursor >= 0', name=op.f('ck_endpoints_cursor')),
        sa.CheckConstraint('failures >= 0', name=op.f('ck_endpoints_failures')),
        sa.CheckConstraint(
            "(disabled_reason IS NOT NULL) = (state = 'disabled')", name=op.f('ck_endpoints_disabled')
        ),
        sa.CheckConstraint(
            '(old_secret IS NULL) = (old_secret_until IS NULL)', name=op.f('ck_endpoints_old_secret')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_endpoints')),
    )
    op.create_table(
        'deliveries',
        sa.Column('endpoint_id', TEXT(length=40), nullable=False),
        sa.Column('event_id', BIG, nullable=False),
        sa.Column('subject', TEXT(length=40), nullable=False),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('delivered_at', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint('attempts >= 0', name=op.f('ck_deliveries_attempts')),
        sa.CheckConstraint('delivered_at IS NULL OR attempts > 0', name=op.f('ck_deliveries_delivered')),
        sa.ForeignKeyConstraint(['endpoint_id'], ['endpoints.id'], name=op.f('fk_deliveries_endpoint_id')),
        sa.ForeignKeyConstraint(['event_id'], ['events.id'], name=op.f('fk_deliveries_event_id')),
        sa.PrimaryKeyConstraint('endpoint_id', 'event_id', name=op.f('pk_deliveries')),
    )
    op.create_index(
        'ix_deliveries_waiting',
        'deliveries',
        ['endpoint_id', 'subject', 'event_id'],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        'ix_deliveries_delivered_at',
        'deliveries',
        ['delivered_at'],
        sqlite_where=DELIVERED,
        postgresql_where=DELIVERED,
    )
    op.create_table(
        'lanes',
        sa.Column('endpoint_id', TEXT(length=40), nullable=False),
        sa.Column('subject', TEXT(length=40), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('due_at', MOMENT, nullable=False),
        sa.CheckConstraint('failures BETWEEN 0 AND 9', name=op.f('ck_lanes_failures')),
        sa.ForeignKeyConstraint(['endpoint_id'], ['endpoints.id'], name=op.f('fk_lanes_endpoint_id')),
        sa.PrimaryKeyConstraint('endpoint_id', 'subject', name=op.f('pk_lanes')),
    )
    op.create_index(op.f('ix_lanes_endpoint_id_due_at'), 'lanes', ['endpoint_id', 'due_at'])
    op.create_table(
        'attempts',
        sa.Column('endpoint_id', TEXT(length=40), nullable=False),
        sa.Column('event_id', BIG, nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('status', sa.Integer(), nullable=True),
        sa.Column('error', TEXT(length=200), nullable=True),
        sa.Column('answer', TEXT(length=1024), nullable=False),
        sa.Column('duration_ms', sa.Integer(), nullable=False),
        sa.Column('attempted_at', MOMENT, nullable=False),
        sa.CheckConstraint('number >= 1', name=op.f('ck_attempts_number')),
        sa.CheckConstraint('(status IS NULL) = (error IS NOT NULL)', name=op.f('ck_attempts_answered')),
        sa.CheckConstraint('duration_ms >= 0', name=op.f('ck_attempts_duration_ms')),
        sa.ForeignKeyConstraint(
            ['endpoint_id', 'event_id'],
            ['deliveries.endpoint_id', 'deliveries.event_id'],
            name=op.f('fk_attempts_endpoint_id_event_id'),
        ),
        sa.PrimaryKeyConstraint('endpoint_id', 'event_id', 'number', name=op.f('pk_attempts')),
    )
    op.create_index(op.f('ix_attempts_attempted_at'), 'attempts', ['attempted_at'])


def downgrade() -> None:
    for table in ('attempts', 'lanes', 'deliveries', 'endpoints'):
        op.drop_table(table)
