"""let people stand in line: for a draw, for what is sold out, for a group that is full"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0008'
down_revision: str | Sequence[str] | None = '0007'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECKS = {
    'allocation': "allocation IN ('fastest', 'draw')",
    'draws_at': "(allocation = 'draw') = (draws_at IS NOT NULL)",
    'draw_window': "draws_at IS NULL OR kind = 'flash' AND opens_at < draws_at"
    " AND (draws_at < closes_at OR state = 'ended')",
    'max_weight': 'max_weight BETWEEN 1 AND 5',
    'seed': "(seed IS NOT NULL) = (allocation = 'draw' AND state <> 'draft')",
    'drawn_at': "drawn_at IS NULL OR allocation = 'draw'",
    'entries_hash': '(entries_hash IS NOT NULL) = (drawn_at IS NOT NULL)',
}
COLUMNS = ('allocation', 'draws_at', 'max_weight', 'seed', 'drawn_at', 'entries_hash')
STATES = ('waiting', 'called', 'offered', 'taken', 'lapsed', 'left', 'lost')


def upgrade() -> None:
    moment, text = sqlmodel.sql.sqltypes.UTCDateTime(), sqlmodel.sql.sqltypes.AutoString
    # Without the CHECK of its own that an Enum would bring: it is among the others.
    allocation = sa.Enum('fastest', 'draw', name='allocation', native_enum=False, create_constraint=False, length=20)
    with op.batch_alter_table('sales') as batch:
        batch.add_column(sa.Column('allocation', allocation, server_default='fastest', nullable=False))
        batch.add_column(sa.Column('draws_at', moment, nullable=True))
        batch.add_column(sa.Column('max_weight', sa.Integer(), server_default='1', nullable=False))
        batch.add_column(sa.Column('seed', text(length=64), nullable=True))
        batch.add_column(sa.Column('drawn_at', moment, nullable=True))
        batch.add_column(sa.Column('entries_hash', text(length=64), nullable=True))
        for name, condition in CHECKS.items():
            batch.create_check_constraint(op.f(f'ck_sales_{name}'), condition)
    op.add_column('offers', sa.Column('drawn_stock', sa.Integer(), nullable=True))
    op.create_table(
        'entries',
        sa.Column('id', text(length=40), nullable=False),
        sa.Column('sale_id', text(length=40), nullable=False),
        sa.Column('offer_id', text(length=40), nullable=False),
        sa.Column('line_id', text(length=40), nullable=False),
        sa.Column('member_id', text(length=40), nullable=False),
        sa.Column('quantity', sa.Integer(), nullable=False),
        sa.Column('weight', sa.Integer(), nullable=False),
        sa.Column('rank', sa.Integer(), nullable=True),
        sa.Column(
            'state',
            sa.Enum(*STATES, name='entry_state', native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column('group_id', text(length=40), nullable=True),
        sa.Column('order_id', text(length=40), nullable=True),
        sa.Column('created_at', moment, nullable=False),
        sa.Column('changed_at', moment, nullable=False),
        sa.CheckConstraint('quantity BETWEEN 1 AND 100', name=op.f('ck_entries_quantity')),
        sa.CheckConstraint('weight BETWEEN 1 AND 5', name=op.f('ck_entries_weight')),
        sa.CheckConstraint('rank IS NULL OR rank >= 1 AND line_id = sale_id', name=op.f('ck_entries_rank')),
        sa.CheckConstraint(
            "(order_id IS NOT NULL) = (state IN ('lapsed', 'offered', 'taken'))", name=op.f('ck_entries_order_id')
        ),
        sa.CheckConstraint(
            "(group_id IS NOT NULL) = (state IN ('lapsed', 'offered', 'taken', 'called'))",
            name=op.f('ck_entries_group_id'),
        ),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_entries_member_id')),
        sa.ForeignKeyConstraint(['offer_id'], ['offers.id'], name=op.f('fk_entries_offer_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_entries_sale_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_entries')),
        sa.UniqueConstraint('sale_id', 'offer_id', 'rank', name=op.f('uq_entries_sale_id_offer_id_rank')),
    )
    _index('uq_entries_open', ['line_id', 'member_id'], "state IN ('called', 'offered', 'waiting')", unique=True)
    _index('ix_entries_in_line', ['sale_id', 'offer_id'], "state IN ('called', 'waiting')")
    _index('ix_entries_offered', ['order_id'], "state = 'offered'")
    op.create_index(op.f('ix_entries_member_id_id'), 'entries', ['member_id', 'id'])
    op.create_index(op.f('ix_entries_line_id'), 'entries', ['line_id'])


def downgrade() -> None:
    op.drop_table('entries')
    op.drop_column('offers', 'drawn_stock')
    with op.batch_alter_table('sales') as batch:
        for name in CHECKS:
            batch.drop_constraint(op.f(f'ck_sales_{name}'), type_='check')
        for column in COLUMNS:
            batch.drop_column(column)


def _index(name: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, 'entries', columns, unique=unique, sqlite_where=where, postgresql_where=where)
