"""plans in which memberships are bought, periods that are due, and communities that wind up"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0017'
down_revision: str | Sequence[str] | None = '0016'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sqlmodel.sql.sqltypes.UTCDateTime()
ID = sqlmodel.sql.sqltypes.AutoString(length=40)
PARTIAL: dict[str, tuple[str, list[str], str]] = {
    'ix_communities_winding_up': ('communities', ['id'], "state = 'dissolved' AND wound_up_at IS NULL"),
    'ix_memberships_roles': ('memberships', ['community_id', 'member_id'], "role <> 'member'"),
    'ix_periods_due': ('periods', ['community_id', 'member_id'], 'is_due'),
}


def upgrade() -> None:
    op.add_column('sales', sa.Column('is_plan', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('periods', sa.Column('is_due', sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column('periods', sa.Column('granted_at', MOMENT, nullable=True))
    with op.batch_alter_table('memberships') as batch:
        batch.add_column(sa.Column('warned_for', MOMENT, nullable=True))
        batch.create_check_constraint(op.f('ck_memberships_paid_until'), 'paid_until IS NULL OR joined_at IS NOT NULL')
    with op.batch_alter_table('communities') as batch:
        batch.add_column(sa.Column('summary', sa.JSON(), nullable=True))
        batch.add_column(sa.Column('told_to', ID, server_default='', nullable=False))
        batch.add_column(sa.Column('erased_to', ID, server_default='', nullable=False))
        batch.add_column(sa.Column('wound_up_at', MOMENT, nullable=True))
        batch.create_check_constraint(
            op.f('ck_communities_wound_up_at'), "wound_up_at IS NULL OR state = 'dissolved'"
        )
    for name, (table, columns, condition) in PARTIAL.items():
        some = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=some, postgresql_where=some)


def downgrade() -> None:
    for name, (table, _, _) in PARTIAL.items():
        op.drop_index(name, table_name=table)
    with op.batch_alter_table('communities') as batch:
        batch.drop_constraint(op.f('ck_communities_wound_up_at'), type_='check')
        for name in ('wound_up_at', 'erased_to', 'told_to', 'summary'):
            batch.drop_column(name)
    with op.batch_alter_table('memberships') as batch:
        batch.drop_constraint(op.f('ck_memberships_paid_until'), type_='check')
        batch.drop_column('warned_for')
    for name in ('granted_at', 'is_due'):
        op.drop_column('periods', name)
    op.drop_column('sales', 'is_plan')
