"""bindings of chats, what was said in them, and codes that link who speaks there"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0026'
down_revision: str | Sequence[str] | None = '0025'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
CHAT = "state = 'active' AND chat_id IS NOT NULL"
RECEIVED = "state = 'received'"


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, length=20, create_constraint=True)


def upgrade() -> None:
    platforms = ('wecom', 'wechat', 'feishu', 'dingtalk', 'telegram', 'slack', 'discord')
    op.create_table(
        'bindings',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('platform', _one_of('platform_name', *platforms), nullable=False),
        sa.Column('community_id', sa.String(length=40), nullable=False),
        sa.Column('chat_id', sa.String(length=200), nullable=True),
        sa.Column('language', _one_of('language', 'zh', 'en'), nullable=False),
        sa.Column('credentials', sa.String(length=20_000), nullable=False),
        sa.Column('state', _one_of('binding_state', 'active', 'removed'), nullable=False),
        sa.Column('tested_at', MOMENT, nullable=True),
        sa.Column('test_result', sa.String(length=200), nullable=True),
        sa.Column('failed_at', MOMENT, nullable=True),
        sa.Column('last_error', sa.String(length=200), nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('removed_at', MOMENT, nullable=True),
        sa.CheckConstraint("(state = 'removed') = (credentials = '')", name=op.f('ck_bindings_sealed')),
        sa.CheckConstraint(
            "(removed_at IS NOT NULL) = (state = 'removed')", name=op.f('ck_bindings_removed_at')
        ),
        sa.CheckConstraint(
            '(tested_at IS NOT NULL) = (test_result IS NOT NULL)', name=op.f('ck_bindings_tested_at')
        ),
        sa.CheckConstraint(
            '(failed_at IS NOT NULL) = (last_error IS NOT NULL)', name=op.f('ck_bindings_failed_at')
        ),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_bindings_community_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_bindings')),
    )
    op.create_index(op.f('ix_bindings_community_id'), 'bindings', ['community_id'])
    op.create_index(
        'uq_bindings_chat',
        'bindings',
        ['platform', 'chat_id'],
        unique=True,
        sqlite_where=sa.text(CHAT),
        postgresql_where=sa.text(CHAT),
    )
    op.create_table(
        'chat_numbers',
        sa.Column('community_id', sa.String(length=40), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('subject', sa.String(length=40), nullable=False),
        sa.CheckConstraint('number >= 1', name=op.f('ck_chat_numbers_number')),
        sa.ForeignKeyConstraint(
            ['community_id'], ['communities.id'], name=op.f('fk_chat_numbers_community_id')
        ),
        sa.PrimaryKeyConstraint('community_id', 'number', name=op.f('pk_chat_numbers')),
    )
    op.create_index('uq_chat_numbers_subject', 'chat_numbers', ['community_id', 'subject'], unique=True)
    op.create_table(
        'messages',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('binding_id', sa.String(length=40), nullable=False),
        sa.Column('message_id', sa.String(length=200), nullable=False),
        sa.Column('chat_id', sa.String(length=200), nullable=False),
        sa.Column('sender_id', sa.String(length=120), nullable=False),
        sa.Column('member_id', sa.String(length=40), nullable=True),
        sa.Column('command', sa.JSON(none_as_null=True), nullable=True),
        sa.Column('is_private', sa.Boolean(), nullable=False),
        sa.Column('reply_token', sa.String(length=3000), nullable=True),
        sa.Column('state', _one_of('message_state', 'received', 'answered', 'given_up'), nullable=False),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint('attempts BETWEEN 0 AND 5', name=op.f('ck_messages_attempts')),
        sa.CheckConstraint("state = 'received' OR reply_token IS NULL", name=op.f('ck_messages_forgotten')),
        sa.ForeignKeyConstraint(['binding_id'], ['bindings.id'], name=op.f('fk_messages_binding_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_messages_member_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_messages')),
        sa.UniqueConstraint('binding_id', 'message_id', name=op.f('uq_messages_binding_id_message_id')),
    )
    op.create_index(
        'ix_messages_received',
        'messages',
        ['binding_id', 'id'],
        sqlite_where=sa.text(RECEIVED),
        postgresql_where=sa.text(RECEIVED),
    )
    op.create_index(op.f('ix_messages_member_id'), 'messages', ['member_id'])
    op.create_index(op.f('ix_messages_created_at'), 'messages', ['created_at'])
    op.create_table(
        'nonces',
        sa.Column('binding_id', sa.String(length=40), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('seen_at', MOMENT, nullable=False),
        sa.ForeignKeyConstraint(['binding_id'], ['bindings.id'], name=op.f('fk_nonces_binding_id')),
        sa.PrimaryKeyConstraint('binding_id', 'digest', name=op.f('pk_nonces')),
    )
    op.create_index(op.f('ix_nonces_seen_at'), 'nonces', ['seen_at'])
    op.create_table(
        'link_codes',
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('member_id', sa.String(length=40), nullable=True),
        sa.Column('provider', sa.String(length=40), nullable=True),
        sa.Column('subject', sa.String(length=120), nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('expires_at', MOMENT, nullable=False),
        sa.Column('used_at', MOMENT, nullable=True),
        sa.CheckConstraint('(provider IS NULL) = (subject IS NULL)', name=op.f('ck_link_codes_subject')),
        sa.CheckConstraint(
            'member_id IS NOT NULL OR subject IS NOT NULL', name=op.f('ck_link_codes_made_by')
        ),
        sa.CheckConstraint(
            '(used_at IS NOT NULL) = (member_id IS NOT NULL AND subject IS NOT NULL)',
            name=op.f('ck_link_codes_used_at'),
        ),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_link_codes_member_id')),
        sa.PrimaryKeyConstraint('digest', name=op.f('pk_link_codes')),
    )
    op.create_index(op.f('ix_link_codes_member_id'), 'link_codes', ['member_id'])
    op.create_index(op.f('ix_link_codes_expires_at'), 'link_codes', ['expires_at'])
    op.create_index(op.f('ix_link_codes_provider_subject'), 'link_codes', ['provider', 'subject'])


def downgrade() -> None:
    for table in ('link_codes', 'nonces', 'messages', 'chat_numbers', 'bindings'):
        op.drop_table(table)
