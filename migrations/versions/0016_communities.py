"""communities of every kind: who belongs, what they write, what is known of them, what they are told"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0016'
down_revision: str | Sequence[str] | None = '0015'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
TEXT = sqlmodel.sql.sqltypes.AutoString
STATE: dict[str, Any] = {'native_enum': False, 'create_constraint': True, 'length': 20}
PURPOSE = sa.Enum('service', 'sales', 'interest', 'growth', name='purpose', **STATE)
JOIN_MODE = sa.Enum('open', 'invite', 'approve', 'paid', name='join_mode', **STATE)
COMMUNITY_STATE = sa.Enum('draft', 'open', 'dissolved', name='community_state', **STATE)
WITH_DEFAULTS: dict[str, tuple[Any, str]] = {
    'form': (sa.Enum('chat', 'forum', name='form', **STATE), "'forum'"),
    'lifespan': (sa.Enum('flash', 'lasting', name='lifespan', **STATE), "'lasting'"),
    'need': (TEXT(length=500), "''"),
    'benefits': (TEXT(length=500), "''"),
    'sustained_by': (TEXT(length=500), "''"),
    'posting_rules': (TEXT(length=500), "''"),
    'state': (COMMUNITY_STATE, "'draft'"),
    'timezone': (TEXT(length=40), "'Asia/Shanghai'"),
    'on_dissolve': (sa.Enum('keep', 'erase', name='on_dissolve', **STATE), "'keep'"),
    'join_mode': (JOIN_MODE, "'open'"),
    'blocked_words': (sa.JSON(), "'[]'"),
    'quiet_from': (sa.Integer(), '1320'),
    'quiet_to': (sa.Integer(), '480'),
    'member_count': (sa.Integer(), '0'),
}
"""What the communities there are get: forums that have not stated their value yet."""
NULLABLE: dict[str, Any] = {
    'closes_at': MOMENT,
    'memory_days': sa.Integer(),
    'answer_minutes': sa.Integer(),
    'period_days': sa.Integer(),
    'plan_sale_id': TEXT(length=40),
    'see_segment_id': TEXT(length=40),
    'join_segment_id': TEXT(length=40),
    'buy_segment_id': TEXT(length=40),
    'opened_at': MOMENT,
    'dissolved_at': MOMENT,
}
CHECKS = {
    'closes_at': "(lifespan = 'flash') = (closes_at IS NOT NULL)",
    'on_dissolve_rule': "on_dissolve = 'keep' OR lifespan = 'flash'",
    'memory_days': "(form = 'chat') = (memory_days IS NOT NULL)",
    'memory_range': 'memory_days IS NULL OR memory_days BETWEEN 1 AND 366',
    'answer_minutes': "(purpose = 'service') = (answer_minutes IS NOT NULL)",
    'answer_range': 'answer_minutes IS NULL OR answer_minutes BETWEEN 1 AND 43200',
    'period_days': "(join_mode = 'paid') = (period_days IS NOT NULL)",
    'period_range': 'period_days IS NULL OR period_days BETWEEN 1 AND 3660',
    'plan': "(join_mode = 'paid') = (plan_sale_id IS NOT NULL)",
    'statement': (
        "state <> 'open' OR audience <> '' AND need <> '' AND benefits <> '' AND sustained_by <> ''"
        " AND posting_rules <> ''"
    ),
    'dissolved_at': "(dissolved_at IS NOT NULL) = (state = 'dissolved')",
    'member_count': 'member_count >= 0',
    'quiet': 'quiet_from BETWEEN 0 AND 1439 AND quiet_to BETWEEN 0 AND 1439',
}
TABLES = (
    'segments',
    'consents',
    'facts',
    'mentions',
    'segment_members',
    'tags',
    'community_days',
    'encounters',
    'memberships',
    'periods',
    'posts',
    'reactions',
    'reports',
    'comments',
    'pushes',
    'sale_communities',
    'sale_segments',
    'notices',
    'overflows',
)
CLOSING = sa.text("closes_at IS NOT NULL AND state <> 'dissolved'")
UNCOUNTED = sa.text('counted < version')
IN_COMMUNITY = sa.text('community_id IS NOT NULL')


def upgrade() -> None:
    op.create_table('segments',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('name', TEXT(length=60), nullable=False),
        sa.Column('kind', sa.Enum('static', 'dynamic', name='segment_kind', **STATE), nullable=False),
        sa.Column('rule', sa.JSON(), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_segments'))
    )
    op.create_table('consents',
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('fact', TEXT(length=20), nullable=False),
        sa.Column('given_at', MOMENT, nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_consents_member_id')),
        sa.PrimaryKeyConstraint('member_id', 'fact', name=op.f('pk_consents'))
    )
    op.create_table('facts',
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('bucket', sa.Integer(), nullable=False),
        sa.Column('orders', sa.Integer(), nullable=False),
        sa.Column('spent', BIG, nullable=False),
        sa.Column('first_order_at', MOMENT, nullable=True),
        sa.Column('last_order_at', MOMENT, nullable=True),
        sa.Column('check_ins', sa.Integer(), nullable=False),
        sa.Column('night_check_ins', sa.Integer(), nullable=False),
        sa.Column('device', sa.Enum('phone', 'tablet', 'desktop', name='device_kind', **STATE), nullable=True),
        sa.Column('city', TEXT(length=60), nullable=True),
        sa.CheckConstraint('check_ins >= 0 AND night_check_ins BETWEEN 0 AND check_ins', name=op.f('ck_facts_check_ins')),
        sa.CheckConstraint('orders >= 0', name=op.f('ck_facts_orders')),
        sa.CheckConstraint('spent >= 0', name=op.f('ck_facts_spent')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_facts_member_id')),
        sa.PrimaryKeyConstraint('member_id', name=op.f('pk_facts'))
    )
    op.create_index(op.f('ix_facts_bucket'), 'facts', ['bucket'])
    op.create_table('mentions',
        sa.Column('subject_id', TEXT(length=40), nullable=False),
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_mentions_member_id')),
        sa.PrimaryKeyConstraint('subject_id', 'member_id', name=op.f('pk_mentions'))
    )
    op.create_index(op.f('ix_mentions_member_id'), 'mentions', ['member_id'])
    op.create_table('segment_members',
        sa.Column('segment_id', TEXT(length=40), nullable=False),
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_segment_members_member_id')),
        sa.ForeignKeyConstraint(['segment_id'], ['segments.id'], name=op.f('fk_segment_members_segment_id')),
        sa.PrimaryKeyConstraint('segment_id', 'member_id', name=op.f('pk_segment_members'))
    )
    op.create_index(op.f('ix_segment_members_member_id'), 'segment_members', ['member_id'])
    op.create_table('tags',
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('tag', TEXT(length=30), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_tags_member_id')),
        sa.PrimaryKeyConstraint('member_id', 'tag', name=op.f('pk_tags'))
    )
    op.create_index(op.f('ix_tags_tag_member_id'), 'tags', ['tag', 'member_id'])
    op.create_table('community_days',
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('day', TEXT(length=10), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('counted', sa.Integer(), nullable=False),
        sa.Column('value', BIG, nullable=False),
        sa.Column('figures', sa.JSON(), nullable=False),
        sa.CheckConstraint('counted BETWEEN 0 AND version', name=op.f('ck_community_days_counted')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_community_days_community_id')),
        sa.PrimaryKeyConstraint('community_id', 'day', name=op.f('pk_community_days'))
    )
    op.create_index('ix_community_days_due', 'community_days', ['community_id', 'day'], sqlite_where=sa.text('counted < version'), postgresql_where=sa.text('counted < version'))
    op.create_table('encounters',
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('giver_id', TEXT(length=40), nullable=False),
        sa.Column('receiver_id', TEXT(length=40), nullable=False),
        sa.Column('day', TEXT(length=10), nullable=False),
        sa.CheckConstraint('receiver_id <> giver_id', name=op.f('ck_encounters_receiver_id')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_encounters_community_id')),
        sa.ForeignKeyConstraint(['giver_id'], ['members.id'], name=op.f('fk_encounters_giver_id')),
        sa.ForeignKeyConstraint(['receiver_id'], ['members.id'], name=op.f('fk_encounters_receiver_id')),
        sa.PrimaryKeyConstraint('community_id', 'giver_id', 'receiver_id', 'day', name=op.f('pk_encounters'))
    )
    op.create_index(op.f('ix_encounters_community_id_receiver_id_day'), 'encounters', ['community_id', 'receiver_id', 'day'])
    op.create_table('memberships',
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('state', sa.Enum('applied', 'active', 'declined', 'left', 'removed', 'lapsed', 'blocked', name='membership_state', **STATE), nullable=False),
        sa.Column('role', sa.Enum('member', 'expert', 'moderator', 'leader', 'owner', name='role', **STATE), nullable=False),
        sa.Column('application', TEXT(length=500), nullable=False),
        sa.Column('invite_code', TEXT(length=20), nullable=True),
        sa.Column('nickname', TEXT(length=60), nullable=False),
        sa.Column('bio', TEXT(length=500), nullable=False),
        sa.Column('shown', sa.JSON(), nullable=False),
        sa.Column('push_wish', sa.Enum('each', 'digest', 'none', name='push_wish', **STATE), nullable=False),
        sa.Column('paid_until', MOMENT, nullable=True),
        sa.Column('applied_at', MOMENT, nullable=True),
        sa.Column('joined_at', MOMENT, nullable=True),
        sa.Column('left_at', MOMENT, nullable=True),
        sa.Column('leave_reason', sa.Enum('not_useful', 'too_many_pushes', 'too_expensive', 'conflict', 'moved_on', 'other', 'removed', 'blocked', 'lapsed', 'dissolved', 'erased', name='leave_reason', **STATE), nullable=True),
        sa.Column('acted_at', MOMENT, nullable=True),
        sa.Column('seen_at', MOMENT, nullable=True),
        sa.CheckConstraint("(left_at IS NOT NULL) = (state IN ('left', 'removed', 'lapsed', 'blocked'))", name=op.f('ck_memberships_left_at')),
        sa.CheckConstraint("joined_at IS NOT NULL OR state NOT IN ('active', 'lapsed')", name=op.f('ck_memberships_joined_at')),
        sa.CheckConstraint("role = 'member' OR state = 'active'", name=op.f('ck_memberships_role_held')),
        sa.CheckConstraint('(leave_reason IS NOT NULL) = (left_at IS NOT NULL)', name=op.f('ck_memberships_reason_given')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_memberships_community_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_memberships_member_id')),
        sa.PrimaryKeyConstraint('community_id', 'member_id', name=op.f('pk_memberships'))
    )
    op.create_index(op.f('ix_memberships_community_id_state_member_id'), 'memberships', ['community_id', 'state', 'member_id'])
    op.create_index(op.f('ix_memberships_member_id'), 'memberships', ['member_id'])
    op.create_index('ix_memberships_paid', 'memberships', ['paid_until'], sqlite_where=sa.text("paid_until IS NOT NULL AND state = 'active'"), postgresql_where=sa.text("paid_until IS NOT NULL AND state = 'active'"))
    op.create_index('uq_memberships_owner', 'memberships', ['community_id'], unique=True, sqlite_where=sa.text("role = 'owner'"), postgresql_where=sa.text("role = 'owner'"))
    op.create_table('periods',
        sa.Column('order_id', TEXT(length=40), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('days', sa.Integer(), nullable=False),
        sa.Column('bought_at', MOMENT, nullable=False),
        sa.Column('ended_at', MOMENT, nullable=True),
        sa.CheckConstraint('days BETWEEN 1 AND 3660', name=op.f('ck_periods_days')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_periods_community_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_periods_member_id')),
        sa.PrimaryKeyConstraint('order_id', name=op.f('pk_periods'))
    )
    op.create_index(op.f('ix_periods_community_id_member_id'), 'periods', ['community_id', 'member_id'])
    op.create_table('posts',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('author_id', TEXT(length=40), nullable=False),
        sa.Column('kind', sa.Enum('text', 'question', 'check_in', 'group_card', 'flash_card', 'job', name='post_kind', **STATE), nullable=False),
        sa.Column('body', TEXT(length=2000), nullable=False),
        sa.Column('pictures', sa.JSON(), nullable=False),
        sa.Column('group_id', TEXT(length=40), nullable=True),
        sa.Column('sale_id', TEXT(length=40), nullable=True),
        sa.Column('exclusive', sa.Boolean(), nullable=False),
        sa.Column('day', TEXT(length=10), nullable=True),
        sa.Column('streak', sa.Integer(), nullable=True),
        sa.Column('night', sa.Boolean(), nullable=False),
        sa.Column('answered_at', MOMENT, nullable=True),
        sa.Column('comment_count', sa.Integer(), nullable=False),
        sa.Column('reaction_count', sa.Integer(), nullable=False),
        sa.Column('pinned_at', MOMENT, nullable=True),
        sa.Column('hidden_at', MOMENT, nullable=True),
        sa.Column('removed_at', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('request_key', TEXT(length=128), nullable=False),
        sa.CheckConstraint("(kind = 'check_in') = (day IS NOT NULL)", name=op.f('ck_posts_day')),
        sa.CheckConstraint("(kind = 'check_in') = (streak IS NOT NULL)", name=op.f('ck_posts_streak')),
        sa.CheckConstraint("(kind = 'flash_card') = (sale_id IS NOT NULL)", name=op.f('ck_posts_flash_card')),
        sa.CheckConstraint("(kind = 'group_card') = (group_id IS NOT NULL)", name=op.f('ck_posts_group_card')),
        sa.CheckConstraint("answered_at IS NULL OR kind = 'question'", name=op.f('ck_posts_answered_at')),
        sa.CheckConstraint('comment_count >= 0 AND reaction_count >= 0', name=op.f('ck_posts_counts')),
        sa.ForeignKeyConstraint(['author_id'], ['members.id'], name=op.f('fk_posts_author_id')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_posts_community_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_posts')),
        sa.UniqueConstraint('author_id', 'request_key', name=op.f('uq_posts_author_id_request_key'))
    )
    op.create_index(op.f('ix_posts_community_id_author_id_id'), 'posts', ['community_id', 'author_id', 'id'])
    op.create_index(op.f('ix_posts_community_id_id'), 'posts', ['community_id', 'id'])
    op.create_index('ix_posts_pinned', 'posts', ['community_id', 'pinned_at'], sqlite_where=sa.text('pinned_at IS NOT NULL'), postgresql_where=sa.text('pinned_at IS NOT NULL'))
    op.create_index('uq_posts_check_in', 'posts', ['community_id', 'author_id', 'day'], unique=True, sqlite_where=sa.text("kind = 'check_in'"), postgresql_where=sa.text("kind = 'check_in'"))
    op.create_table('reactions',
        sa.Column('subject_id', TEXT(length=40), nullable=False),
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('kind', sa.Enum('like', 'thanks', 'cheer', name='reaction_kind', **STATE), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_reactions_community_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_reactions_member_id')),
        sa.PrimaryKeyConstraint('subject_id', 'member_id', 'kind', name=op.f('pk_reactions'))
    )
    op.create_index(op.f('ix_reactions_community_id_member_id'), 'reactions', ['community_id', 'member_id'])
    op.create_table('reports',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('subject_id', TEXT(length=40), nullable=False),
        sa.Column('reporter_id', TEXT(length=40), nullable=False),
        sa.Column('reason', sa.Enum('advertising', 'fraud', 'abuse', 'other', name='report_reason', **STATE), nullable=False),
        sa.Column('note', TEXT(length=500), nullable=False),
        sa.Column('state', sa.Enum('open', 'upheld', 'dismissed', name='report_state', **STATE), nullable=False),
        sa.Column('decided_by', TEXT(length=40), nullable=True),
        sa.Column('decided_at', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint("(decided_at IS NOT NULL) = (state <> 'open')", name=op.f('ck_reports_decided_at')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_reports_community_id')),
        sa.ForeignKeyConstraint(['reporter_id'], ['members.id'], name=op.f('fk_reports_reporter_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_reports')),
        sa.UniqueConstraint('subject_id', 'reporter_id', name=op.f('uq_reports_subject_id_reporter_id'))
    )
    op.create_index('ix_reports_open', 'reports', ['community_id', 'id'], sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.create_table('comments',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('post_id', TEXT(length=40), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('author_id', TEXT(length=40), nullable=False),
        sa.Column('body', TEXT(length=2000), nullable=False),
        sa.Column('is_answer', sa.Boolean(), nullable=False),
        sa.Column('reaction_count', sa.Integer(), nullable=False),
        sa.Column('hidden_at', MOMENT, nullable=True),
        sa.Column('removed_at', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('request_key', TEXT(length=128), nullable=False),
        sa.CheckConstraint('reaction_count >= 0', name=op.f('ck_comments_reaction_count')),
        sa.ForeignKeyConstraint(['author_id'], ['members.id'], name=op.f('fk_comments_author_id')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_comments_community_id')),
        sa.ForeignKeyConstraint(['post_id'], ['posts.id'], name=op.f('fk_comments_post_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_comments')),
        sa.UniqueConstraint('author_id', 'request_key', name=op.f('uq_comments_author_id_request_key'))
    )
    op.create_index(op.f('ix_comments_community_id_author_id_id'), 'comments', ['community_id', 'author_id', 'id'])
    op.create_index(op.f('ix_comments_post_id_id'), 'comments', ['post_id', 'id'])
    op.create_table('pushes',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.Column('sender_id', TEXT(length=40), nullable=False),
        sa.Column('text', TEXT(length=500), nullable=False),
        sa.Column('post_id', TEXT(length=40), nullable=True),
        sa.Column('sale_id', TEXT(length=40), nullable=True),
        sa.Column('segment_id', TEXT(length=40), nullable=True),
        sa.Column('state', sa.Enum('scheduled', 'sending', 'sent', 'cancelled', name='push_state', **STATE), nullable=False),
        sa.Column('cost', BIG, nullable=False),
        sa.Column('recipients', sa.Integer(), nullable=False),
        sa.Column('sends_at', MOMENT, nullable=False),
        sa.Column('sent_at', MOMENT, nullable=True),
        sa.Column('sent_to', TEXT(length=40), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('request_key', TEXT(length=128), nullable=False),
        sa.CheckConstraint('cost >= 1', name=op.f('ck_pushes_cost')),
        sa.CheckConstraint('recipients >= 1', name=op.f('ck_pushes_recipients')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_pushes_community_id')),
        sa.ForeignKeyConstraint(['post_id'], ['posts.id'], name=op.f('fk_pushes_post_id')),
        sa.ForeignKeyConstraint(['segment_id'], ['segments.id'], name=op.f('fk_pushes_segment_id')),
        sa.ForeignKeyConstraint(['sender_id'], ['members.id'], name=op.f('fk_pushes_sender_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_pushes')),
        sa.UniqueConstraint('sender_id', 'request_key', name=op.f('uq_pushes_sender_id_request_key'))
    )
    op.create_index(op.f('ix_pushes_community_id_id'), 'pushes', ['community_id', 'id'])
    op.create_index('ix_pushes_due', 'pushes', ['sends_at'], sqlite_where=sa.text("state IN ('scheduled', 'sending')"), postgresql_where=sa.text("state IN ('scheduled', 'sending')"))
    op.create_table('sale_communities',
        sa.Column('sale_id', TEXT(length=40), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=False),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_sale_communities_community_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_sale_communities_sale_id')),
        sa.PrimaryKeyConstraint('sale_id', 'community_id', name=op.f('pk_sale_communities'))
    )
    op.create_index(op.f('ix_sale_communities_community_id_sale_id'), 'sale_communities', ['community_id', 'sale_id'])
    op.create_table('sale_segments',
        sa.Column('sale_id', TEXT(length=40), nullable=False),
        sa.Column('segment_id', TEXT(length=40), nullable=False),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_sale_segments_sale_id')),
        sa.ForeignKeyConstraint(['segment_id'], ['segments.id'], name=op.f('fk_sale_segments_segment_id')),
        sa.PrimaryKeyConstraint('sale_id', 'segment_id', name=op.f('pk_sale_segments'))
    )
    op.create_index(op.f('ix_sale_segments_segment_id'), 'sale_segments', ['segment_id'])
    op.create_table('notices',
        sa.Column('id', TEXT(length=40), nullable=False),
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('kind', sa.Enum('push', 'digest', 'order', 'refund', 'mention', 'answer', 'membership', 'summary', name='notice_kind', **STATE), nullable=False),
        sa.Column('community_id', TEXT(length=40), nullable=True),
        sa.Column('push_id', TEXT(length=40), nullable=True),
        sa.Column('subject_id', TEXT(length=40), nullable=True),
        sa.Column('text', TEXT(length=2000), nullable=False),
        sa.Column('day', TEXT(length=10), nullable=True),
        sa.Column('number', sa.Integer(), nullable=True),
        sa.Column('read_at', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint("(kind = 'push') = (number IS NOT NULL) AND (number IS NULL) = (day IS NULL)", name=op.f('ck_notices_place')),
        sa.CheckConstraint("(kind = 'push') = (push_id IS NOT NULL)", name=op.f('ck_notices_push_id')),
        sa.CheckConstraint('number BETWEEN 1 AND 3', name=op.f('ck_notices_number')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_notices_community_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_notices_member_id')),
        sa.ForeignKeyConstraint(['push_id'], ['pushes.id'], name=op.f('fk_notices_push_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_notices')),
        sa.UniqueConstraint('member_id', 'day', 'number', name=op.f('uq_notices_member_id_day_number'))
    )
    op.create_index(op.f('ix_notices_member_id_id'), 'notices', ['member_id', 'id'])
    op.create_index('uq_notices_push', 'notices', ['push_id', 'member_id'], unique=True, sqlite_where=sa.text('push_id IS NOT NULL'), postgresql_where=sa.text('push_id IS NOT NULL'))
    op.create_table('overflows',
        sa.Column('member_id', TEXT(length=40), nullable=False),
        sa.Column('push_id', TEXT(length=40), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_overflows_member_id')),
        sa.ForeignKeyConstraint(['push_id'], ['pushes.id'], name=op.f('fk_overflows_push_id')),
        sa.PrimaryKeyConstraint('member_id', 'push_id', name=op.f('pk_overflows'))
    )
    _change_communities()
    with op.batch_alter_table('causes') as batch:
        batch.add_column(sa.Column('counted', sa.Integer(), server_default='0', nullable=False))
        batch.create_check_constraint(op.f('ck_causes_counted'), 'counted BETWEEN 0 AND version')
    op.create_index(
        'ix_causes_uncounted', 'causes', ['order_id'], sqlite_where=UNCOUNTED, postgresql_where=UNCOUNTED
    )
    op.add_column('events', sa.Column('community_id', TEXT(length=40), nullable=True))
    op.create_index(
        'ix_events_communities',
        'events',
        ['community_id', 'id'],
        sqlite_where=IN_COMMUNITY,
        postgresql_where=IN_COMMUNITY,
    )
    with op.batch_alter_table('tips') as batch:
        batch.add_column(sa.Column('community_id', TEXT(length=40), nullable=True))
        batch.add_column(sa.Column('subject_id', TEXT(length=40), nullable=True))
        batch.create_foreign_key(op.f('fk_tips_community_id'), 'communities', ['community_id'], ['id'])


def _change_communities() -> None:
    """What a community said it is for becomes the need it meets."""
    with op.batch_alter_table('communities') as batch:
        for name, (type_, default) in WITH_DEFAULTS.items():
            batch.add_column(sa.Column(name, type_, server_default=sa.text(default), nullable=False))
        for name, type_ in NULLABLE.items():
            batch.add_column(sa.Column(name, type_, nullable=True))
    op.execute("UPDATE communities SET need = purpose, purpose = 'sales'")
    with op.batch_alter_table('communities') as batch:
        for name in WITH_DEFAULTS:
            batch.alter_column(name, server_default=None)
        batch.alter_column('purpose', existing_type=TEXT(length=500), type_=PURPOSE, existing_nullable=False)
        for name, condition in CHECKS.items():
            batch.create_check_constraint(op.f(f'ck_communities_{name}'), condition)
        for name in ('see', 'join', 'buy'):
            key = f'{name}_segment_id'
            batch.create_foreign_key(op.f(f'fk_communities_{key}'), 'segments', [key], ['id'])
    op.create_index(
        'ix_communities_closing', 'communities', ['closes_at'], sqlite_where=CLOSING, postgresql_where=CLOSING
    )
    op.create_index(op.f('ix_communities_plan_sale_id'), 'communities', ['plan_sale_id'])


def downgrade() -> None:
    with op.batch_alter_table('tips') as batch:
        batch.drop_constraint(op.f('fk_tips_community_id'), type_='foreignkey')
        batch.drop_column('subject_id')
        batch.drop_column('community_id')
    op.drop_index('ix_events_communities', table_name='events')
    op.drop_column('events', 'community_id')
    op.drop_index('ix_causes_uncounted', table_name='causes')
    with op.batch_alter_table('causes') as batch:
        batch.drop_constraint(op.f('ck_causes_counted'), type_='check')
        batch.drop_column('counted')
    op.drop_index(op.f('ix_communities_plan_sale_id'), table_name='communities')
    op.drop_index('ix_communities_closing', table_name='communities')
    with op.batch_alter_table('communities') as batch:
        for name in ('see', 'join', 'buy'):
            batch.drop_constraint(op.f(f'fk_communities_{name}_segment_id'), type_='foreignkey')
        for name in (*CHECKS, 'form', 'lifespan', 'community_state', 'on_dissolve', 'join_mode'):
            batch.drop_constraint(op.f(f'ck_communities_{name}'), type_='check')
        batch.alter_column('purpose', existing_type=PURPOSE, type_=TEXT(length=500), existing_nullable=False)
    op.execute('UPDATE communities SET purpose = need')
    with op.batch_alter_table('communities') as batch:
        for name in (*WITH_DEFAULTS, *NULLABLE):
            batch.drop_column(name)
    for table in reversed(TABLES):
        op.drop_table(table)
