from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import ProductNotFound
from app.models import Product, Sku
from app.schemas.fields import Page
from app.schemas.products import ProductCreate, ProductPublic, ProductUpdate, SkuPublic
from app.services.pages import read_page
from app.services.pictures import picture_url
from app.services.transactions import transaction
from app.state import State


async def create_product(state: State, body: ProductCreate) -> ProductPublic:
    """Make a product with its skus."""
    now = state.clock()
    async with transaction(state, now) as work:
        row = Product(title=body.title, description=body.description, created_at=now)
        work.session.add(row)
        await work.session.flush()
        work.session.add_all(Sku(product_id=row.id, name=name) for name in body.skus)
        work.record("product.created", row.id)
        await work.session.flush()
        return (await _public(state, work.session, [row]))[0]


async def update_product(state: State, product_id: str, body: ProductUpdate) -> ProductPublic:
    """Change what is named in the body. Raises `ProductNotFound`."""
    async with transaction(state, state.clock()) as work:
        row = await work.session.get(Product, product_id)
        if row is None:
            raise ProductNotFound
        row.sqlmodel_update(body.model_dump(exclude_none=True))
        work.session.add(row)
        work.record("product.changed", row.id, fields=sorted(body.model_fields_set))
        return (await _public(state, work.session, [row]))[0]


async def get_product(state: State, product_id: str) -> ProductPublic:
    """Raises `ProductNotFound`."""
    async with state.database.snapshot() as session:
        row = await session.get(Product, product_id)
        if row is None:
            raise ProductNotFound
        return (await _public(state, session, [row]))[0]


async def list_products(state: State, after: str | None, limit: int) -> Page[ProductPublic]:
    """All products, newest first."""
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Product, select(Product), after, limit)
        return Page[ProductPublic](items=await _public(state, session, rows), next=following)


async def _public(state: State, session: AsyncSession, products: list[Product]) -> list[ProductPublic]:
    found = await session.exec(
        select(Sku).where(col(Sku.product_id).in_([product.id for product in products])).order_by(col(Sku.id)),
    )
    skus: dict[str, list[SkuPublic]] = {}
    for sku in found.all():
        skus.setdefault(sku.product_id, []).append(SkuPublic(id=sku.id, name=sku.name))
    return [
        ProductPublic(
            id=product.id,
            title=product.title,
            description=product.description,
            picture_url=picture_url(state, product.id),
            skus=skus.get(product.id, []),
            created_at=product.created_at,
        )
        for product in products
    ]
