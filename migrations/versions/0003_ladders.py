"""let groups succeed with fewer than all seats, at prices that fall with every head"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0003'
down_revision: str | Sequence[str] | None = '0002'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE = ('group_failed', 'late', 'duplicate', 'wrong_amount', 'operator')


def upgrade() -> None:
    # A column with its CHECK, in one statement that SQLite understands too.
    op.execute(
        'ALTER TABLE sales ADD COLUMN min_size INTEGER CONSTRAINT ck_sales_min_size'
        ' CHECK (min_size IS NULL OR min_size BETWEEN 1 AND group_size)'
    )
    big = 'BIGINT' if op.get_bind().dialect.name == 'postgresql' else 'INTEGER'
    op.execute(
        f'ALTER TABLE orders ADD COLUMN settled_price {big} CONSTRAINT ck_orders_settled_price'
        ' CHECK (settled_price IS NULL OR settled_price BETWEEN 1 AND unit_price)'
    )
    op.add_column('offers', sa.Column('ladder', sa.JSON(), server_default='[]', nullable=False))
    _let_reasons_be('group_failed', 'gap', *BEFORE[1:])


def downgrade() -> None:
    _let_reasons_be(*BEFORE)
    op.drop_column('offers', 'ladder')
    for table, column in (('orders', 'settled_price'), ('sales', 'min_size')):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f'ck_{table}_{column}'), type_='check')
            batch.drop_column(column)


def _let_reasons_be(*reasons: str) -> None:
    listed = ', '.join(f"'{reason}'" for reason in reasons)
    with op.batch_alter_table('refunds') as batch:
        batch.drop_constraint(op.f('ck_refunds_refund_reason'), type_='check')
        batch.create_check_constraint(op.f('ck_refunds_refund_reason'), f'reason IN ({listed})')
