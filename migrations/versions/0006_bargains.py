"""let a member's friends cut a price, in slots that are numbered places"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0006'
down_revision: str | Sequence[str] | None = '0005'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
ID = sa.String(length=40)
STATES = ('cutting', 'won', 'ordered', 'bought', 'expired')
ACTIVE = "bargain_id IS NOT NULL AND state IN ('completed', 'confirmed', 'fulfilled', 'held', 'paid')"


def upgrade() -> None:
    op.add_column('sales', sa.Column('bargain', sa.JSON(), nullable=True))
    # A bargain sale of before could be drawn up, and nobody could buy in it.
    op.execute("""UPDATE sales SET bargain = '{"slots": 2}' WHERE kind = 'bargain'""")
    with op.batch_alter_table('sales') as batch:
        batch.create_check_constraint(
            op.f('ck_sales_bargain'), "(kind = 'bargain') = (bargain IS NOT NULL)"
        )
    op.add_column('orders', sa.Column('bargain_id', ID, nullable=True))
    _index('uq_orders_bargain', 'orders', ['bargain_id'], ACTIVE, unique=True)
    op.add_column('events', sa.Column('bargain_id', ID, nullable=True))
    _index('ix_events_bargains', 'events', ['bargain_id', 'id'], 'bargain_id IS NOT NULL')
    op.create_table(
        'bargains',
        sa.Column('id', ID, nullable=False),
        sa.Column('sale_id', ID, nullable=False),
        sa.Column('offer_id', ID, nullable=False),
        sa.Column('member_id', ID, nullable=False),
        sa.Column(
            'state',
            sa.Enum(*STATES, name='bargain_state', native_enum=False, length=20, create_constraint=True),
            nullable=False,
        ),
        sa.Column('start_price', BIG, nullable=False),
        sa.Column('floor_price', BIG, nullable=False),
        sa.Column('price', BIG, nullable=False),
        sa.Column('slots', sa.Integer(), nullable=False),
        sa.Column('taken', sa.Integer(), nullable=False),
        sa.Column('seed', sa.String(length=64), nullable=False),
        sa.Column('seed_hash', sa.String(length=64), nullable=False),
        sa.Column('deadline_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            'price BETWEEN floor_price AND start_price AND floor_price >= 1', name=op.f('ck_bargains_price')
        ),
        sa.CheckConstraint(
            'slots BETWEEN 2 AND 100 AND start_price - floor_price >= slots', name=op.f('ck_bargains_slots')
        ),
        sa.CheckConstraint('taken BETWEEN 0 AND slots', name=op.f('ck_bargains_taken')),
        sa.CheckConstraint('(price = floor_price) = (taken = slots)', name=op.f('ck_bargains_floor')),
        sa.CheckConstraint(
            "(state <> 'cutting' OR taken < slots) AND (state <> 'won' OR taken = slots)",
            name=op.f('ck_bargains_won'),
        ),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_bargains_member_id')),
        sa.ForeignKeyConstraint(['offer_id'], ['offers.id'], name=op.f('fk_bargains_offer_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_bargains_sale_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_bargains')),
    )
    running = "state IN ('cutting', 'ordered', 'won')"
    _index('uq_bargains_running', 'bargains', ['sale_id', 'member_id', 'offer_id'], running, unique=True)
    _index('ix_bargains_timed', 'bargains', ['deadline_at'], "state IN ('cutting', 'won')")
    op.create_index(op.f('ix_bargains_member_id_id'), 'bargains', ['member_id', 'id'])
    op.create_table(
        'cuts',
        sa.Column('bargain_id', ID, nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('slots', sa.Integer(), nullable=False),
        sa.Column('member_id', ID, nullable=False),
        sa.Column('part', sa.Integer(), nullable=False),
        sa.Column('amount', BIG, nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint('number BETWEEN 1 AND slots', name=op.f('ck_cuts_number')),
        sa.CheckConstraint('part BETWEEN 1 AND 5', name=op.f('ck_cuts_part')),
        sa.CheckConstraint('amount >= 1', name=op.f('ck_cuts_amount')),
        sa.ForeignKeyConstraint(['bargain_id'], ['bargains.id'], name=op.f('fk_cuts_bargain_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_cuts_member_id')),
        sa.PrimaryKeyConstraint('bargain_id', 'number', name=op.f('pk_cuts')),
        sa.UniqueConstraint('bargain_id', 'member_id', 'part', name=op.f('uq_cuts_bargain_id_member_id_part')),
    )
    op.create_table(
        'helps',
        sa.Column('sale_id', ID, nullable=False),
        sa.Column('member_id', ID, nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('daily_limit', sa.Integer(), nullable=False),
        sa.Column('bargain_id', ID, nullable=False),
        sa.CheckConstraint('number BETWEEN 1 AND daily_limit', name=op.f('ck_helps_number')),
        sa.ForeignKeyConstraint(['bargain_id'], ['bargains.id'], name=op.f('fk_helps_bargain_id')),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_helps_member_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_helps_sale_id')),
        sa.PrimaryKeyConstraint('sale_id', 'member_id', 'day', 'number', name=op.f('pk_helps')),
    )


def downgrade() -> None:
    for table in ('helps', 'cuts', 'bargains'):
        op.drop_table(table)
    for table, index in (('events', 'ix_events_bargains'), ('orders', 'uq_orders_bargain')):
        op.drop_index(index, table_name=table)
        op.drop_column(table, 'bargain_id')
    with op.batch_alter_table('sales') as batch:
        batch.drop_constraint(op.f('ck_sales_bargain'), type_='check')
        batch.drop_column('bargain')


def _index(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
