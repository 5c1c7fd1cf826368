"""keep a picture of each product"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0012'
down_revision: str | Sequence[str] | None = '0011'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    text = sqlmodel.sql.sqltypes.AutoString
    op.create_table(
        'pictures',
        sa.Column('product_id', text(length=40), nullable=False),
        sa.Column('jpeg', sa.LargeBinary(), nullable=False),
        sa.Column('tag', text(length=64), nullable=False),
        sa.Column('changed_at', sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint('length(jpeg) BETWEEN 1 AND 4194304', name=op.f('ck_pictures_jpeg')),
        sa.ForeignKeyConstraint(['product_id'], ['products.id'], name=op.f('fk_pictures_product_id')),
        sa.PrimaryKeyConstraint('product_id', name=op.f('pk_pictures')),
    )


def downgrade() -> None:
    op.drop_table('pictures')
