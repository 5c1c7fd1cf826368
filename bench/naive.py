"""The usual way: a session per request, the offer's row locked, one commit per order.

Written as the documentation of FastAPI, PyJWT and SQLModel teaches it, and correct: no oversell, a limit per
member, a repeated Idempotency-Key gets its first answer. It has no groups, events or live views, and does not look
the member up: what it does less than the service is to its advantage.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import BigInteger, UniqueConstraint, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.config import Settings
from app.gateways.database import async_url
from app.models import new_id
from app.schemas.groups import ClaimCreate
from app.services.sessions import AUDIENCE
from app.services.tokens import ALGORITHM, ISSUER
from bench.answers import frozen

POOL_SIZE = 20
KEY = Settings().key_for("access token")
engine = create_async_engine(async_url(os.environ["DATABASE_URL"]), pool_size=POOL_SIZE, max_overflow=0)


class Table(SQLModel, registry=registry()):
    """Tables that the service does not know of."""


class NaiveOffer(Table, table=True):
    __tablename__ = "naive_offers"

    id: str = Field(primary_key=True)
    sale_id: str
    price: int = Field(sa_type=BigInteger)
    currency: str
    left: int
    member_limit: int


class NaiveOrder(Table, table=True):
    __tablename__ = "naive_orders"
    __table_args__ = (UniqueConstraint("member_id", "sale_id", "idempotency_key"),)

    id: str = Field(primary_key=True)
    sale_id: str
    offer_id: str = Field(foreign_key="naive_offers.id")
    member_id: str
    quantity: int
    amount: int = Field(sa_type=BigInteger)
    currency: str
    idempotency_key: str
    created_at: datetime


class NaiveAnswer(BaseModel):
    id: str
    sale_id: str
    offer_id: str
    quantity: int
    amount: int
    currency: str
    created_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Table.metadata.create_all)
    async with frozen(app):
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def get_member_id(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    try:
        claims = jwt.decode(
            credentials.credentials,
            KEY,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED) from error
    return str(claims["sub"])


async def get_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@app.post("/v1/sales/{sale_id}/groups", status_code=status.HTTP_201_CREATED)
async def place_order(
    sale_id: str,
    body: ClaimCreate,
    member_id: Annotated[str, Depends(get_member_id)],
    session: Annotated[AsyncSession, Depends(get_session)],
    idempotency_key: Annotated[str, Header()],
) -> NaiveAnswer:
    offer = (
        await session.exec(
            select(NaiveOffer)
            .where(NaiveOffer.id == body.offer_id, NaiveOffer.sale_id == sale_id)
            .with_for_update(),
        )
    ).one_or_none()
    if offer is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    mine = NaiveOrder.sale_id == sale_id, NaiveOrder.member_id == member_id
    bought = (await session.exec(select(func.count()).where(*mine))).one()
    if offer.left < body.quantity or bought >= offer.member_limit:
        earlier = await find_earlier(session, sale_id, member_id, idempotency_key)
        if earlier is None:
            raise HTTPException(status.HTTP_409_CONFLICT)
        return earlier
    order = NaiveOrder(
        id=new_id("ord"),
        sale_id=sale_id,
        offer_id=offer.id,
        member_id=member_id,
        quantity=body.quantity,
        amount=offer.price * body.quantity,
        currency=offer.currency,
        idempotency_key=idempotency_key,
        created_at=datetime.now(UTC),
    )
    offer.left -= body.quantity
    session.add(order)
    try:
        await session.commit()
    except IntegrityError:
        await session.rollback()
        earlier = await find_earlier(session, sale_id, member_id, idempotency_key)
        if earlier is None:
            raise
        return earlier
    return NaiveAnswer.model_validate(order, from_attributes=True)


async def find_earlier(session: AsyncSession, sale_id: str, member_id: str, key: str) -> NaiveAnswer | None:
    found = await session.exec(
        select(NaiveOrder).where(
            NaiveOrder.sale_id == sale_id,
            NaiveOrder.member_id == member_id,
            NaiveOrder.idempotency_key == key,
        ),
    )
    order = found.one_or_none()
    return None if order is None else NaiveAnswer.model_validate(order, from_attributes=True)
