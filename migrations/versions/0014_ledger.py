"""book rewards, payouts and tips in a double-entry ledger"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0014'
down_revision: str | Sequence[str] | None = '0013'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
TEXT: dict[str, Any] = {'native_enum': False, 'create_constraint': True, 'length': 20}
REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""
BOOK = ('transfers', 'postings')
"""Tables that are only ever added to. A migration that makes SQLite copy one has to make its triggers anew."""


def upgrade() -> None:
    op.create_table(
        'sandbox_payouts',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('account', sa.String(length=120), nullable=False),
        sa.Column('amount', BIG, nullable=False),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_sandbox_payouts')),
    )
    op.create_table(
        'transfers',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column(
            'kind',
            sa.Enum(
                'budget',
                'accrued',
                'reduced',
                'withheld',
                'released',
                'matured',
                'reversed',
                'payout_asked',
                'payout_paid',
                'payout_returned',
                'tip',
                name='transfer_kind',
                **TEXT,
            ),
            nullable=False,
        ),
        sa.Column('cause', sa.String(length=200), nullable=False),
        sa.Column('subject', sa.String(length=40), nullable=False),
        sa.Column('order_id', sa.String(length=40), nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_transfers')),
        sa.UniqueConstraint('cause', name=op.f('uq_transfers_cause')),
    )
    op.create_index(op.f('ix_transfers_subject'), 'transfers', ['subject'])
    op.create_table(
        'accounts',
        sa.Column('id', sa.String(length=60), nullable=False),
        sa.Column(
            'kind',
            sa.Enum(
                'house',
                'paid_out',
                'fees',
                'budget',
                'pending',
                'balance',
                'owed',
                'payouts',
                name='account_kind',
                **TEXT,
            ),
            nullable=False,
        ),
        sa.Column('member_id', sa.String(length=40), nullable=True),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('balance', BIG, nullable=False),
        sa.Column('floor', BIG, nullable=True),
        sa.Column('ceiling', BIG, nullable=True),
        sa.Column('lines', sa.Integer(), nullable=False),
        sa.CheckConstraint('balance <= ceiling', name=op.f('ck_accounts_ceiling')),
        sa.CheckConstraint('balance >= floor', name=op.f('ck_accounts_floor')),
        sa.CheckConstraint('lines >= 0 AND (lines > 0 OR balance = 0)', name=op.f('ck_accounts_lines')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_accounts_member_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_accounts')),
    )
    op.create_index(op.f('ix_accounts_member_id'), 'accounts', ['member_id'])
    op.create_table(
        'payouts',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('member_id', sa.String(length=40), nullable=False),
        sa.Column('amount', BIG, nullable=False),
        sa.Column('fee', BIG, nullable=False),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('account', sa.String(length=120), nullable=False),
        sa.Column(
            'state',
            sa.Enum('waiting', 'ready', 'submitted', 'paid', 'failed', 'rejected', name='payout_state', **TEXT),
            nullable=False,
        ),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('due_at', MOMENT, nullable=False),
        sa.Column('provider_ref', sa.String(length=120), nullable=True),
        sa.Column('last_error', sa.String(length=200), nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('paid_at', MOMENT, nullable=True),
        sa.Column('request_key', sa.String(length=128), nullable=False),
        sa.CheckConstraint("(paid_at IS NOT NULL) = (state = 'paid')", name=op.f('ck_payouts_paid_at')),
        sa.CheckConstraint('fee >= 0 AND fee < amount', name=op.f('ck_payouts_fee')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_payouts_member_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_payouts')),
        sa.UniqueConstraint('member_id', 'request_key', name=op.f('uq_payouts_member_id_request_key')),
    )
    op.create_index('ix_payouts_due', 'payouts', ['due_at'], **where(sa.text("state IN ('ready', 'submitted')")))
    op.create_index(op.f('ix_payouts_member_id_id'), 'payouts', ['member_id', 'id'])
    op.create_index(op.f('ix_payouts_state_id'), 'payouts', ['state', 'id'])
    op.create_table(
        'tips',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('sender_id', sa.String(length=40), nullable=False),
        sa.Column('receiver_id', sa.String(length=40), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('amount', BIG, nullable=False),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('note', sa.String(length=500), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('request_key', sa.String(length=128), nullable=False),
        sa.CheckConstraint('amount BETWEEN 1 AND 20000', name=op.f('ck_tips_amount')),
        sa.CheckConstraint('number BETWEEN 1 AND 20', name=op.f('ck_tips_number')),
        sa.CheckConstraint('receiver_id <> sender_id', name=op.f('ck_tips_receiver_id')),
        sa.ForeignKeyConstraint(['receiver_id'], ['members.id'], name=op.f('fk_tips_receiver_id')),
        sa.ForeignKeyConstraint(['sender_id'], ['members.id'], name=op.f('fk_tips_sender_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tips')),
        sa.UniqueConstraint('sender_id', 'day', 'number', name=op.f('uq_tips_sender_id_day_number')),
        sa.UniqueConstraint('sender_id', 'request_key', name=op.f('uq_tips_sender_id_request_key')),
    )
    op.create_index(op.f('ix_tips_receiver_id'), 'tips', ['receiver_id'])
    op.create_table(
        'postings',
        sa.Column('transfer_id', sa.String(length=40), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('account_id', sa.String(length=60), nullable=False),
        sa.Column('line', sa.Integer(), nullable=False),
        sa.Column('amount', BIG, nullable=False),
        sa.Column('balance_after', BIG, nullable=False),
        sa.CheckConstraint('amount <> 0', name=op.f('ck_postings_amount')),
        sa.CheckConstraint('line >= 1', name=op.f('ck_postings_line')),
        sa.CheckConstraint('number >= 1', name=op.f('ck_postings_number')),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_postings_account_id')),
        sa.ForeignKeyConstraint(['transfer_id'], ['transfers.id'], name=op.f('fk_postings_transfer_id')),
        sa.PrimaryKeyConstraint('transfer_id', 'number', name=op.f('pk_postings')),
        sa.UniqueConstraint('account_id', 'line', name=op.f('uq_postings_account_id_line')),
    )
    op.create_table(
        'reward_policies',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('title', sa.String(length=120), nullable=False),
        sa.Column('sale_id', sa.String(length=40), nullable=True),
        sa.Column('community_id', sa.String(length=40), nullable=True),
        sa.Column('role', sa.Enum('inviter', 'leader', 'helper', name='reward_role', **TEXT), nullable=False),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('first_basis_points', sa.Integer(), nullable=True),
        sa.Column('first_amount', BIG, nullable=True),
        sa.Column('second_basis_points', sa.Integer(), nullable=True),
        sa.Column('second_amount', BIG, nullable=True),
        sa.Column('order_cap', BIG, nullable=True),
        sa.Column('day_cap', BIG, nullable=True),
        sa.Column('mature_days', sa.Integer(), nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('ended_at', MOMENT, nullable=True),
        sa.CheckConstraint(
            "second_basis_points IS NULL AND second_amount IS NULL"
            " OR role = 'inviter' AND (second_basis_points IS NULL OR second_amount IS NULL)",
            name=op.f('ck_reward_policies_second'),
        ),
        sa.CheckConstraint(
            '(first_basis_points IS NULL) <> (first_amount IS NULL)',
            name=op.f('ck_reward_policies_first'),
        ),
        sa.CheckConstraint('(sale_id IS NULL) <> (community_id IS NULL)', name=op.f('ck_reward_policies_scope')),
        sa.CheckConstraint(
            'coalesce(first_amount, 1) >= 1 AND coalesce(second_amount, 1) >= 1',
            name=op.f('ck_reward_policies_amounts'),
        ),
        sa.CheckConstraint(
            'coalesce(first_basis_points, 1) >= 1 AND coalesce(second_basis_points, 1) >= 1'
            ' AND coalesce(first_basis_points, 0) + coalesce(second_basis_points, 0) <= 10000',
            name=op.f('ck_reward_policies_basis_points'),
        ),
        sa.CheckConstraint(
            'coalesce(order_cap, 1) >= 1 AND coalesce(day_cap, 1) >= 1',
            name=op.f('ck_reward_policies_caps'),
        ),
        sa.CheckConstraint('mature_days BETWEEN 0 AND 365', name=op.f('ck_reward_policies_mature_days')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_reward_policies_community_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_reward_policies_sale_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_reward_policies')),
    )
    op.create_index(op.f('ix_reward_policies_community_id'), 'reward_policies', ['community_id'])
    op.create_index(op.f('ix_reward_policies_sale_id'), 'reward_policies', ['sale_id'])
    op.create_table(
        'rewards',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('policy_id', sa.String(length=40), nullable=False),
        sa.Column('order_id', sa.String(length=40), nullable=False),
        sa.Column('sale_id', sa.String(length=40), nullable=False),
        sa.Column('member_id', sa.String(length=40), nullable=False),
        sa.Column('via_id', sa.String(length=40), nullable=True),
        sa.Column('level', sa.Integer(), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('amount', BIG, nullable=False),
        sa.Column('limited_by', sa.Enum('order', 'day', 'budget', name='reward_limit', **TEXT), nullable=True),
        sa.Column(
            'state',
            sa.Enum('pending', 'withheld', 'matured', 'reversed', 'declined', name='reward_state', **TEXT),
            nullable=False,
        ),
        sa.Column('reasons', sa.JSON(), nullable=False),
        sa.Column('cleared', sa.Boolean(), nullable=False),
        sa.Column('mature_at', MOMENT, nullable=True),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.CheckConstraint("state <> 'matured' OR mature_at IS NOT NULL", name=op.f('ck_rewards_mature_at')),
        sa.CheckConstraint('amount >= 0', name=op.f('ck_rewards_amount')),
        sa.CheckConstraint('level BETWEEN 1 AND 2', name=op.f('ck_rewards_level')),
        sa.CheckConstraint('number >= 1', name=op.f('ck_rewards_number')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_rewards_member_id')),
        sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_rewards_order_id')),
        sa.ForeignKeyConstraint(['policy_id'], ['reward_policies.id'], name=op.f('fk_rewards_policy_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_rewards_sale_id')),
        sa.ForeignKeyConstraint(['via_id'], ['members.id'], name=op.f('fk_rewards_via_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_rewards')),
        sa.UniqueConstraint(
            'policy_id',
            'order_id',
            'level',
            'number',
            name=op.f('uq_rewards_policy_id_order_id_level_number'),
        ),
        sa.UniqueConstraint(
            'policy_id', 'order_id', 'member_id', name=op.f('uq_rewards_policy_id_order_id_member_id')
        ),
    )
    op.create_index(op.f('ix_rewards_member_id_id'), 'rewards', ['member_id', 'id'])
    op.create_index(op.f('ix_rewards_order_id'), 'rewards', ['order_id'])
    op.create_index('ix_rewards_pending', 'rewards', ['mature_at'], **where(sa.text("state = 'pending'")))
    op.create_index(op.f('ix_rewards_policy_id_member_id_day'), 'rewards', ['policy_id', 'member_id', 'day'])
    op.create_index(op.f('ix_rewards_state_id'), 'rewards', ['state', 'id'])

    if op.get_bind().dialect.name == 'postgresql':
        op.execute(REFUSE)
        for table in BOOK:
            op.execute(
                f'CREATE TRIGGER {table}_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}'
                ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()'
            )
        return
    for table in BOOK:
        for change in ('update', 'delete'):
            op.execute(
                f'CREATE TRIGGER {table}_no_{change} BEFORE {change} ON {table}'
                f" BEGIN SELECT RAISE(ABORT, '{table} is only ever added to'); END"
            )


def downgrade() -> None:
    for table in ('rewards', 'reward_policies', 'tips', 'payouts', 'postings', 'transfers', 'accounts'):
        op.drop_table(table)
    op.drop_table('sandbox_payouts')
    if op.get_bind().dialect.name == 'postgresql':
        op.execute('DROP FUNCTION refuse_change()')


def where(condition: Any) -> dict[str, Any]:
    """The condition of a partial index."""
    return {'sqlite_where': condition, 'postgresql_where': condition}
