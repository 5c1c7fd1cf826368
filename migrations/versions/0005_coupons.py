"""take something off an order for a coupon, a limited number of times"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0005'
down_revision: str | Sequence[str] | None = '0004'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'coupons',
        sa.Column('id', sa.String(length=40), nullable=False),
        sa.Column('code', sa.String(length=20), nullable=False),
        sa.Column('granted', sa.Boolean(), nullable=False),
        sa.Column('title', sa.String(length=120), nullable=False),
        sa.Column('kind', sa.String(length=20), nullable=False),
        sa.Column('value', BIG, nullable=False),
        sa.Column('max_discount', BIG, nullable=True),
        sa.Column('min_spend', BIG, nullable=False),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('community_id', sa.String(length=40), nullable=True),
        sa.Column('sale_id', sa.String(length=40), nullable=True),
        sa.Column('product_id', sa.String(length=40), nullable=True),
        sa.Column('opens_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('closes_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('total', sa.Integer(), nullable=False),
        sa.Column('member_limit', sa.Integer(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('fixed', 'percent')", name=op.f('ck_coupons_coupon_kind')),
        sa.CheckConstraint('opens_at < closes_at', name=op.f('ck_coupons_window')),
        sa.CheckConstraint(
            "value BETWEEN 1 AND CASE WHEN kind = 'percent' THEN 99 ELSE 1000000000000 END",
            name=op.f('ck_coupons_value'),
        ),
        sa.CheckConstraint(
            "max_discount IS NULL OR (max_discount >= 1 AND kind = 'percent')", name=op.f('ck_coupons_max_discount')
        ),
        sa.CheckConstraint('min_spend BETWEEN 0 AND 1000000000000', name=op.f('ck_coupons_min_spend')),
        sa.CheckConstraint('total BETWEEN 1 AND 1000000', name=op.f('ck_coupons_total')),
        sa.CheckConstraint('member_limit BETWEEN 1 AND 100', name=op.f('ck_coupons_member_limit')),
        sa.ForeignKeyConstraint(['community_id'], ['communities.id'], name=op.f('fk_coupons_community_id')),
        sa.ForeignKeyConstraint(['sale_id'], ['sales.id'], name=op.f('fk_coupons_sale_id')),
        sa.ForeignKeyConstraint(['product_id'], ['products.id'], name=op.f('fk_coupons_product_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_coupons')),
        sa.UniqueConstraint('code', name=op.f('uq_coupons_code')),
    )
    op.create_table(
        'grants',
        sa.Column('member_id', sa.String(length=40), nullable=False),
        sa.Column('coupon_id', sa.String(length=40), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['member_id'], ['members.id'], name=op.f('fk_grants_member_id')),
        sa.ForeignKeyConstraint(['coupon_id'], ['coupons.id'], name=op.f('fk_grants_coupon_id')),
        sa.PrimaryKeyConstraint('member_id', 'coupon_id', name=op.f('pk_grants')),
    )
    op.create_index(op.f('ix_grants_coupon_id'), 'grants', ['coupon_id'])
    op.create_table(
        'redemptions',
        sa.Column('coupon_id', sa.String(length=40), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('total', sa.Integer(), nullable=False),
        sa.Column('member_id', sa.String(length=40), nullable=False),
        sa.Column('member_number', sa.Integer(), nullable=False),
        sa.Column('member_limit', sa.Integer(), nullable=False),
        sa.Column('order_id', sa.String(length=40), nullable=False),
        sa.CheckConstraint('number BETWEEN 1 AND total', name=op.f('ck_redemptions_number')),
        sa.CheckConstraint(
            'member_number BETWEEN 1 AND member_limit', name=op.f('ck_redemptions_member_number')
        ),
        sa.PrimaryKeyConstraint('coupon_id', 'number', name=op.f('pk_redemptions')),
        sa.UniqueConstraint(
            'coupon_id', 'member_id', 'member_number', name=op.f('uq_redemptions_coupon_id_member_id_member_number')
        ),
        sa.UniqueConstraint('order_id', name=op.f('uq_redemptions_order_id')),
    )
    op.add_column('orders', sa.Column('coupon_code', sa.String(length=20), nullable=True))
    op.add_column('orders', sa.Column('discount', BIG, server_default='0', nullable=False))
    with op.batch_alter_table('orders') as batch:
        batch.create_check_constraint(
            op.f('ck_orders_discount'), 'discount >= 0 AND (discount > 0) = (coupon_code IS NOT NULL)'
        )
        batch.drop_constraint(op.f('ck_orders_amount'), type_='check')
        batch.create_check_constraint(
            op.f('ck_orders_amount'), 'amount = unit_price * quantity - discount AND amount > 0'
        )


def downgrade() -> None:
    with op.batch_alter_table('orders') as batch:
        batch.drop_constraint(op.f('ck_orders_discount'), type_='check')
        batch.drop_constraint(op.f('ck_orders_amount'), type_='check')
        batch.create_check_constraint(op.f('ck_orders_amount'), 'amount = unit_price * quantity AND amount > 0')
        batch.drop_column('discount')
        batch.drop_column('coupon_code')
    op.drop_table('redemptions')
    op.drop_table('grants')
    op.drop_table('coupons')
