"""count the transactions of a sale that took places Redis had not dealt"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0002'
down_revision: str | Sequence[str] | None = '0001'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('sales', sa.Column('undealt', sa.Integer(), server_default='0', nullable=False))


def downgrade() -> None:
    op.drop_column('sales', 'undealt')
