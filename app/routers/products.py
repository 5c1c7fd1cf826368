from fastapi import APIRouter, Depends, status

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import BadRequest, ProductNotFound
from app.domain.operators import Scope
from app.routers.problems import problems
from app.schemas.fields import Page, ProductId
from app.schemas.products import ProductCreate, ProductPublic, ProductUpdate
from app.services import products

operator_router = APIRouter(
    prefix="/v1/ops/products",
    tags=["operators: catalog"],
    dependencies=[Depends(require_scope(Scope.CATALOG))],
    responses=problems(*OPERATOR_ERRORS),
)


@operator_router.post(
    "", status_code=status.HTTP_201_CREATED, responses=problems(BadRequest), summary="Make a product 新建商品"
)
async def create_product(state: StateDep, body: ProductCreate) -> ProductPublic:
    return await products.create_product(state, body)


@operator_router.get("", summary="List products 商品列表")
async def list_products(
    state: StateDep, after: ProductId | None = None, limit: LimitQuery = 20
) -> Page[ProductPublic]:
    return await products.list_products(state, after, limit)


@operator_router.get("/{product_id}", responses=problems(ProductNotFound), summary="Get a product 商品详情")
async def get_product(state: StateDep, product_id: ProductId) -> ProductPublic:
    return await products.get_product(state, product_id)


@operator_router.patch(
    "/{product_id}", responses=problems(BadRequest, ProductNotFound), summary="Change a product 修改商品"
)
async def update_product(state: StateDep, product_id: ProductId, body: ProductUpdate) -> ProductPublic:
    return await products.update_product(state, product_id, body)
