"""let members buy alone too: sales of kind flash and bargain, in groups of one"""

from collections.abc import Sequence

from alembic import op

revision: str = '0004'
down_revision: str | Sequence[str] | None = '0003'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _replace('sales', 'sale_kind', "kind IN ('group', 'flash', 'bargain')")
    _replace('sales', 'group_size', "group_size BETWEEN 1 AND 500 AND (kind = 'group') = (group_size > 1)")
    _replace('groups', 'size', 'size BETWEEN 1 AND 500')


def downgrade() -> None:
    _replace('groups', 'size', 'size BETWEEN 2 AND 500')
    _replace('sales', 'group_size', 'group_size BETWEEN 2 AND 500')
    _replace('sales', 'sale_kind', "kind IN ('group')")


def _replace(table: str, name: str, condition: str) -> None:
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(op.f(f'ck_{table}_{name}'), type_='check')
        batch.create_check_constraint(op.f(f'ck_{table}_{name}'), condition)
