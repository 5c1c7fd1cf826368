"""reconciliations: days beside the providers' bills, and how a real provider is paid"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0029'
down_revision: str | Sequence[str] | None = '0028'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def moment(name: str, *, nullable: bool) -> sa.Column[object]:
    return sa.Column(name, sqlmodel.sql.sqltypes.UTCDateTime(), nullable=nullable)


def upgrade() -> None:
    with op.batch_alter_table('payments') as batch:
        batch.add_column(sa.Column('pay_params', sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column('handle', sa.String(length=120), nullable=True))
        batch.add_column(moment('paid_at', nullable=True))
        batch.alter_column(
            'pay_url', existing_type=sa.String(length=500), type_=sa.String(length=2000), existing_nullable=True
        )
    op.execute('UPDATE payments SET paid_at = captured_at')
    op.create_index(
        'ix_payments_paid',
        'payments',
        ['provider', 'paid_at'],
        postgresql_where=sa.text('paid_at IS NOT NULL'),
        sqlite_where=sa.text('paid_at IS NOT NULL'),
    )
    with op.batch_alter_table('refunds') as batch:
        batch.add_column(moment('accepted_at', nullable=True))
    op.execute('UPDATE refunds SET accepted_at = succeeded_at')
    op.create_index(
        'ix_refunds_accepted',
        'refunds',
        ['accepted_at'],
        postgresql_where=sa.text('accepted_at IS NOT NULL'),
        sqlite_where=sa.text('accepted_at IS NOT NULL'),
    )
    op.create_table(
        'reconciliations',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('provider', sa.String(length=20), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('attempts', sa.Integer(), nullable=False),
        moment('due_at', nullable=False),
        sa.Column('lines', sa.Integer(), nullable=True),
        sa.Column('found', sa.Integer(), nullable=True),
        sa.Column('last_error', sa.String(length=200), nullable=True),
        moment('created_at', nullable=False),
        moment('done_at', nullable=True),
        sa.CheckConstraint("(done_at IS NOT NULL) = (state = 'done')", name=op.f('ck_reconciliations_done_at')),
        sa.CheckConstraint("(lines IS NOT NULL) = (state = 'done')", name=op.f('ck_reconciliations_lines')),
        sa.CheckConstraint("(found IS NOT NULL) = (state = 'done')", name=op.f('ck_reconciliations_found')),
        sa.CheckConstraint(
            "state IN ('waiting', 'done')", name=op.f('ck_reconciliations_reconciliation_state')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_reconciliations')),
        sa.UniqueConstraint('provider', 'day', name=op.f('uq_reconciliations_provider_day')),
    )
    op.create_index(
        'ix_reconciliations_due',
        'reconciliations',
        ['due_at'],
        postgresql_where=sa.text("state = 'waiting'"),
        sqlite_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        'differences',
        sa.Column('reconciliation_id', sa.String(length=40), nullable=False),
        sa.Column('line', sa.String(length=20), nullable=False),
        sa.Column('subject', sa.String(length=120), nullable=False),
        sa.Column('kind', sa.String(length=20), nullable=False),
        sa.Column('amount_here', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
        sa.Column('currency_here', sa.String(length=3), nullable=True),
        sa.Column('state_here', sa.String(length=20), nullable=True),
        sa.Column('amount_there', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
        sa.Column('currency_there', sa.String(length=3), nullable=True),
        sa.Column('state_there', sa.String(length=20), nullable=True),
        moment('at', nullable=False),
        sa.CheckConstraint(
            "(kind = 'missing_here') = (amount_here IS NULL)", name=op.f('ck_differences_missing_here')
        ),
        sa.CheckConstraint(
            "(kind = 'missing_there') = (amount_there IS NULL)", name=op.f('ck_differences_missing_there')
        ),
        sa.CheckConstraint("line IN ('charge', 'refund')", name=op.f('ck_differences_line_kind')),
        sa.CheckConstraint(
            "kind IN ('missing_here', 'missing_there', 'amount', 'state')",
            name=op.f('ck_differences_difference_kind'),
        ),
        sa.ForeignKeyConstraint(
            ['reconciliation_id'], ['reconciliations.id'], name=op.f('fk_differences_reconciliation_id')
        ),
        sa.PrimaryKeyConstraint('reconciliation_id', 'line', 'subject', name=op.f('pk_differences')),
    )


def downgrade() -> None:
    op.drop_table('differences')
    op.drop_table('reconciliations')
    op.drop_index('ix_refunds_accepted', 'refunds')
    with op.batch_alter_table('refunds') as batch:
        batch.drop_column('accepted_at')
    op.drop_index('ix_payments_paid', 'payments')
    op.execute('UPDATE payments SET pay_url = NULL WHERE length(pay_url) > 500')
    with op.batch_alter_table('payments') as batch:
        batch.alter_column(
            'pay_url', existing_type=sa.String(length=2000), type_=sa.String(length=500), existing_nullable=True
        )
        batch.drop_column('paid_at')
        batch.drop_column('handle')
        batch.drop_column('pay_params')
