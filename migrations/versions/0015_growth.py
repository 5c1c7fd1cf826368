"""find the invites to a sale, and the latest whom somebody brought"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0015'
down_revision: str | Sequence[str] | None = '0014'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TARGETS = ('group', 'sale', 'community')


def upgrade() -> None:
    for target in TARGETS:
        named = sa.text(f'{target}_id IS NOT NULL')
        op.create_index(
            f'ix_invites_{target}', 'invites', [f'{target}_id'], sqlite_where=named, postgresql_where=named
        )
    op.create_index(op.f('ix_referrals_inviter_id_bound_at'), 'referrals', ['inviter_id', 'bound_at'])
    op.create_index(op.f('ix_referrals_bound_at'), 'referrals', ['bound_at'])
    op.drop_index(op.f('ix_referrals_inviter_id'), table_name='referrals')


def downgrade() -> None:
    op.create_index(op.f('ix_referrals_inviter_id'), 'referrals', ['inviter_id'])
    op.drop_index(op.f('ix_referrals_bound_at'), table_name='referrals')
    op.drop_index(op.f('ix_referrals_inviter_id_bound_at'), table_name='referrals')
    for target in reversed(TARGETS):
        op.drop_index(f'ix_invites_{target}', table_name='invites')
