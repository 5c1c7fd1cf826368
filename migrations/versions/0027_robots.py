"""robots: what is said in chats, how far the feed was read for it, and broadcasts that go to chats too"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0027'
down_revision: str | Sequence[str] | None = '0026'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
INDEXES = (
    ('ix_announcements_due', 'announcements', ['binding_id', 'due_at'], False, 'due_at IS NOT NULL'),
    ('ix_announcements_said_at', 'announcements', ['said_at'], False, None),
    ('ix_outgoing_due', 'outgoing', ['binding_id', 'due_at', 'id'], False, "state = 'queued'"),
    ('ix_outgoing_ended', 'outgoing', ['ended_at'], False, 'ended_at IS NOT NULL'),
    ('uq_outgoing_push', 'outgoing', ['push_id', 'binding_id'], True, 'push_id IS NOT NULL'),
)


def upgrade() -> None:
    op.create_table(
        'robots',
        sa.Column('binding_id', sa.String(length=40), nullable=False),
        sa.Column('earned_at', MOMENT, nullable=False),
        sa.Column('next_at', MOMENT, nullable=False),
        sa.Column('busy_until', MOMENT, nullable=True),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('announced_at', MOMENT, nullable=True),
        sa.CheckConstraint('failures >= 0', name=op.f('ck_robots_failures')),
        sa.ForeignKeyConstraint(['binding_id'], ['bindings.id'], name=op.f('fk_robots_binding_id')),
        sa.PrimaryKeyConstraint('binding_id', name=op.f('pk_robots')),
    )
    op.create_table(
        'announcements',
        sa.Column('binding_id', sa.String(length=40), nullable=False),
        sa.Column('group_id', sa.String(length=40), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('since', MOMENT, nullable=True),
        sa.Column('due_at', MOMENT, nullable=True),
        sa.Column('joined', sa.Integer(), nullable=False),
        sa.Column('matters', sa.Boolean(), nullable=False),
        sa.Column('said_at', MOMENT, nullable=True),
        sa.Column('message_id', sa.String(length=200), nullable=True),
        sa.Column('posted_at', MOMENT, nullable=True),
        sa.CheckConstraint('(due_at IS NULL) = (since IS NULL)', name=op.f('ck_announcements_due_at')),
        sa.CheckConstraint(
            'joined >= 0 AND (joined = 0 OR due_at IS NOT NULL)', name=op.f('ck_announcements_joined')
        ),
        sa.CheckConstraint(
            '(message_id IS NULL) = (posted_at IS NULL)', name=op.f('ck_announcements_message_id')
        ),
        sa.ForeignKeyConstraint(['binding_id'], ['bindings.id'], name=op.f('fk_announcements_binding_id')),
        sa.ForeignKeyConstraint(['group_id'], ['groups.id'], name=op.f('fk_announcements_group_id')),
        sa.PrimaryKeyConstraint('binding_id', 'group_id', name=op.f('pk_announcements')),
    )
    op.create_table(
        'outgoing',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('binding_id', sa.String(length=40), nullable=False),
        sa.Column('push_id', sa.String(length=40), nullable=True),
        sa.Column(
            'state',
            sa.Enum(
                *('queued', 'sent', 'dropped'),
                name='outgoing_state',
                native_enum=False,
                length=20,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column('content', sa.Text(), nullable=False),
        sa.Column('due_at', MOMENT, nullable=False),
        sa.Column('expires_at', MOMENT, nullable=False),
        sa.Column('ended_at', MOMENT, nullable=True),
        sa.Column('reason', sa.String(length=200), nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint("(content <> '') = (state = 'queued')", name=op.f('ck_outgoing_content')),
        sa.CheckConstraint("(ended_at IS NOT NULL) = (state <> 'queued')", name=op.f('ck_outgoing_ended_at')),
        sa.CheckConstraint("(reason IS NOT NULL) = (state = 'dropped')", name=op.f('ck_outgoing_reason')),
        sa.ForeignKeyConstraint(['binding_id'], ['bindings.id'], name=op.f('fk_outgoing_binding_id')),
        sa.ForeignKeyConstraint(['push_id'], ['pushes.id'], name=op.f('fk_outgoing_push_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_outgoing')),
    )
    op.create_table(
        'cursors',
        sa.Column('name', sa.String(length=40), nullable=False),
        sa.Column('event_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
        sa.PrimaryKeyConstraint('name', name=op.f('pk_cursors')),
    )
    for name, table, columns, unique, condition in INDEXES:
        which = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, unique=unique, sqlite_where=which, postgresql_where=which)
    op.add_column('pushes', sa.Column('to_chats', sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    with op.batch_alter_table('pushes') as batch:
        batch.drop_column('to_chats')
    for table in ('cursors', 'outgoing', 'announcements', 'robots'):
        op.drop_table(table)
