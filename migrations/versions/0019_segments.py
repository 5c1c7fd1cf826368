"""buckets of members for samples, words of one's own, sales for members only"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0019'
down_revision: str | Sequence[str] | None = '0018'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TEXT = sqlmodel.sql.sqltypes.AutoString
STATE: dict[str, Any] = {'native_enum': False, 'create_constraint': True, 'length': 20}
CONSENTED = sa.Enum('device', 'city', 'own_tags', 'tags', name='consented', **STATE)


def upgrade() -> None:
    for table, key in (('members', 'id'), ('memberships', 'member_id')):
        op.add_column(table, sa.Column('bucket', TEXT(length=3), nullable=True))
        op.execute(f'UPDATE {table} SET bucket = substr({key}, length({key}) - 2)')
    op.create_index(op.f('ix_members_bucket'), 'members', ['bucket'])
    op.create_index(op.f('ix_memberships_community_id_bucket'), 'memberships', ['community_id', 'bucket'])
    op.drop_index(op.f('ix_facts_bucket'), table_name='facts')
    with op.batch_alter_table('facts') as batch:
        batch.drop_column('bucket')
    with op.batch_alter_table('tags') as batch:
        batch.add_column(sa.Column('own', sa.Boolean(), nullable=False, server_default=sa.text('false')))
        batch.drop_constraint(op.f('pk_tags'), type_='primary')
        batch.create_primary_key(op.f('pk_tags'), ['member_id', 'tag', 'own'])
    with op.batch_alter_table('tags') as batch:
        batch.alter_column('own', server_default=None)
    with op.batch_alter_table('consents') as batch:
        batch.alter_column('fact', type_=CONSENTED)
    op.add_column('sales', sa.Column('members_only', sa.Boolean(), nullable=False, server_default=sa.text('false')))


def downgrade() -> None:
    with op.batch_alter_table('sales') as batch:
        batch.drop_column('members_only')
    with op.batch_alter_table('consents') as batch:
        batch.drop_constraint(op.f('ck_consents_consented'), type_='check')
        batch.alter_column('fact', type_=TEXT(length=20))
    op.execute('DELETE FROM tags WHERE own')
    with op.batch_alter_table('tags') as batch:
        batch.drop_constraint(op.f('pk_tags'), type_='primary')
        batch.create_primary_key(op.f('pk_tags'), ['member_id', 'tag'])
        batch.drop_column('own')
    with op.batch_alter_table('facts') as batch:
        batch.add_column(sa.Column('bucket', sa.Integer(), nullable=False, server_default='0'))
    op.create_index(op.f('ix_facts_bucket'), 'facts', ['bucket'])
    op.drop_index(op.f('ix_memberships_community_id_bucket'), table_name='memberships')
    op.drop_index(op.f('ix_members_bucket'), table_name='members')
    for table in ('memberships', 'members'):
        with op.batch_alter_table(table) as batch:
            batch.drop_column('bucket')
