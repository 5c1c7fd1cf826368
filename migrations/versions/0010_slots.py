"""lay flash sales out in daily slots, and remind members before a sale opens"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0010'
down_revision: str | Sequence[str] | None = '0009'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # A column with its foreign key, in one statement that SQLite understands too.
    op.execute(
        'ALTER TABLE sales ADD COLUMN series_id VARCHAR(40) CONSTRAINT fk_sales_series_id REFERENCES sales (id)'
    )
    op.create_index('uq_sales_slot', 'sales', ['series_id', 'opens_at'], unique=True)
    op.create_table('reminders',
    sa.Column('sale_id', sqlmodel.sql.sqltypes.AutoString(length=40), nullable=False),
    sa.Column('member_id', sqlmodel.sql.sqltypes.AutoString(length=40), nullable=False),
    sa.Column('minutes_before', sa.Integer(), nullable=False),
    sa.Column('remind_at', sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
    sa.Column('told_at', sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
    sa.Column('created_at', sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
    sa.CheckConstraint('minutes_before BETWEEN 1 AND 1440', name=op.f('ck_reminders_minutes_before')),
    sa.CheckConstraint('told_at IS NULL OR told_at >= remind_at', name=op.f('ck_reminders_told_in_time')),
    sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_reminders_member_id')),
    sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_reminders_sale_id')),
    sa.PrimaryKeyConstraint('sale_id', 'member_id', name=op.f('pk_reminders'))
    )
    op.create_index(op.f('ix_reminders_member_id'), 'reminders', ['member_id'], unique=False)
    op.create_index('ix_reminders_due', 'reminders', ['remind_at'], unique=False,
        sqlite_where=sa.text('told_at IS NULL'), postgresql_where=sa.text('told_at IS NULL'))


def downgrade() -> None:
    op.drop_table('reminders')
    op.drop_index('uq_sales_slot', table_name='sales')
    with op.batch_alter_table('sales') as batch:
        batch.drop_column('series_id')  # and its foreign key
