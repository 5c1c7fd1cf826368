"""identities: one member may come from several providers; who met on a day"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = '0023'
down_revision: str | Sequence[str] | None = '0022'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        'identities',
        sa.Column('provider', sa.String(length=40), nullable=False),
        sa.Column('subject', sa.String(length=120), nullable=False),
        sa.Column('member_id', sa.String(length=40), nullable=False),
        sa.Column('created_at', sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_identities_member_id')),
        sa.PrimaryKeyConstraint('provider', 'subject', name=op.f('pk_identities')),
    )
    op.create_index(op.f('ix_identities_member_id'), 'identities', ['member_id'])
    op.execute(
        'INSERT INTO identities (provider, subject, member_id, created_at)'
        " SELECT provider, subject, id, created_at FROM members WHERE provider <> 'erased'"
    )
    op.create_index(
        op.f('ix_encounters_community_id_day_giver_id_receiver_id'),
        'encounters',
        ['community_id', 'day', 'giver_id', 'receiver_id'],
    )
    with op.batch_alter_table('members') as batch:
        batch.drop_constraint(op.f('ck_members_erased'), type_='check')
        batch.drop_constraint(op.f('uq_members_provider_subject'), type_='unique')
        batch.drop_column('subject')
        batch.drop_column('provider')


def downgrade() -> None:
    """A member who came from several providers keeps one; one without any cannot log in any more."""
    with op.batch_alter_table('members') as batch:
        batch.add_column(sa.Column('provider', sa.String(length=20), nullable=True))
        batch.add_column(sa.Column('subject', sa.String(length=120), nullable=True))
    op.execute("UPDATE members SET provider = 'erased', subject = id")
    op.execute(
        'UPDATE members SET provider = i.provider, subject = i.subject FROM identities AS i'
        ' WHERE i.member_id = members.id'
    )
    op.execute("UPDATE members SET provider = 'gone' WHERE provider = 'erased' AND erased_at IS NULL")
    with op.batch_alter_table('members') as batch:
        batch.alter_column('provider', existing_type=sa.String(length=20), nullable=False)
        batch.alter_column('subject', existing_type=sa.String(length=120), nullable=False)
        batch.create_unique_constraint(op.f('uq_members_provider_subject'), ['provider', 'subject'])
        batch.create_check_constraint(
            op.f('ck_members_erased'), "(erased_at IS NOT NULL) = (provider = 'erased')"
        )
    op.drop_index(op.f('ix_encounters_community_id_day_giver_id_receiver_id'), table_name='encounters')
    op.drop_table('identities')
