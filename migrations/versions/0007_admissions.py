"""let members into flash sales by tickets that buy once, under the rules of the sale's entrance"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0007'
down_revision: str | Sequence[str] | None = '0006'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('sales', sa.Column('admission', sa.JSON(), server_default='{}', nullable=False))
    op.add_column('orders', sa.Column('ticket', sa.String(length=40), nullable=True))
    there = sa.text('ticket IS NOT NULL')
    op.create_index(
        'uq_orders_ticket',
        'orders',
        ['sale_id', 'ticket'],
        unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )


def downgrade() -> None:
    op.drop_index('uq_orders_ticket', table_name='orders')
    op.drop_column('orders', 'ticket')
    op.drop_column('sales', 'admission')
