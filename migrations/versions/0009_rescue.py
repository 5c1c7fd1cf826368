"""rescue groups that do not fill: what members and sales want then, and how a group was filled up"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision: str = '0009'
down_revision: str | Sequence[str] | None = '0008'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WISHES = "on_unfilled IN ('refund', 'merge', 'extend', 'solo')"


def upgrade() -> None:
    big = 'BIGINT' if op.get_bind().dialect.name == 'postgresql' else 'INTEGER'
    op.add_column('sales', sa.Column('rescue', sa.JSON(), server_default='{}', nullable=False))
    _add(
        'offers',
        f'solo_price {big} CONSTRAINT ck_offers_solo_price'
        ' CHECK (solo_price IS NULL OR solo_price BETWEEN price AND 1000000000000)',
    )
    _add(
        'orders',
        f"on_unfilled VARCHAR(20) DEFAULT 'refund' NOT NULL CONSTRAINT ck_orders_on_unfilled CHECK ({WISHES})",
        'min_quantity INTEGER CONSTRAINT ck_orders_min_quantity'
        ' CHECK (min_quantity IS NULL OR min_quantity BETWEEN 1 AND quantity)',
        'settled_quantity INTEGER CONSTRAINT ck_orders_settled_quantity'
        ' CHECK (settled_quantity IS NULL OR settled_quantity BETWEEN min_quantity AND quantity)',
        'moved_from VARCHAR(40)',
    )
    with op.batch_alter_table('groups') as batch:
        batch.add_column(sa.Column('merged_into', sa.String(40)))
        batch.add_column(sa.Column('extended_at', sa.DateTime(timezone=True)))
        batch.add_column(sa.Column('covered', sa.Integer(), server_default='0', nullable=False))
        batch.add_column(sa.Column('extra', sa.Integer(), server_default='0', nullable=False))
    with op.batch_alter_table('groups') as batch:
        for name in ('group_state', 'ended'):
            batch.drop_constraint(op.f(f'ck_groups_{name}'), type_='check')
        _check(batch, 'group_state', "state IN ('open', 'filled', 'succeeded', 'failed', 'merged')")
        _check(batch, 'ended', "(ended_at IS NOT NULL) = (state IN ('failed', 'merged', 'succeeded'))")
        _check(batch, 'merged_into', "(merged_into IS NOT NULL) = (state = 'merged')")
        _check(batch, 'filled_up', 'covered >= 0 AND extra >= 0 AND covered + extra < size')


def downgrade() -> None:
    with op.batch_alter_table('groups') as batch:
        for name in ('group_state', 'ended', 'merged_into', 'filled_up'):
            batch.drop_constraint(op.f(f'ck_groups_{name}'), type_='check')
        _check(batch, 'group_state', "state IN ('open', 'filled', 'succeeded', 'failed')")
        _check(batch, 'ended', "(ended_at IS NOT NULL) = (state IN ('failed', 'succeeded'))")
        for column in ('merged_into', 'extended_at', 'covered', 'extra'):
            batch.drop_column(column)
    with op.batch_alter_table('orders') as batch:
        for column in ('settled_quantity', 'min_quantity', 'on_unfilled'):
            batch.drop_constraint(op.f(f'ck_orders_{column}'), type_='check')
            batch.drop_column(column)
        batch.drop_column('moved_from')
    with op.batch_alter_table('offers') as batch:
        batch.drop_constraint(op.f('ck_offers_solo_price'), type_='check')
        batch.drop_column('solo_price')
    op.drop_column('sales', 'rescue')


def _add(table: str, *columns: str) -> None:
    """Add columns with their CHECKs, in statements that SQLite understands too."""
    for column in columns:
        op.execute(f'ALTER TABLE {table} ADD COLUMN {column}')


def _check(batch: BatchOperations, name: str, condition: str) -> None:
    batch.create_check_constraint(op.f(f'ck_groups_{name}'), condition)
