"""What a request was answered before: the order it made keeps its key, its content's hash and its answer."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy
from sqlmodel import col, select

from app.models import Order
from app.state import State


class Asked(NamedTuple):
    """A claim's request: its Idempotency-Key belongs to a member and a sale."""

    sale_id: str
    member_id: str
    request_key: str
    request_hash: str


class Answered(NamedTuple):
    """The order a request made, and what it was told."""

    order_id: str
    request_hash: str
    answer: str


async def find_answer(state: State, asked: Asked) -> Answered | None:
    """What was answered to this key, whatever the content was."""
    return await state.batches(_find_answers).ask(asked[:3], asked)


async def is_spent(state: State, asked: Asked, ticket: str) -> bool:
    """Whether another request of its member has bought an order with this ticket, as the rows say."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Order.id).where(
                Order.sale_id == asked.sale_id, Order.ticket == ticket, Order.request_key != asked.request_key
            ),
        )
        return found.first() is not None


async def _find_answers(state: State, asked: Sequence[Asked]) -> list[Answered | None]:
    sales, members, keys, _ = (set(part) for part in zip(*asked, strict=True))
    async with state.database.snapshot() as session:
        rows = await session.exec(  # type: ignore[call-overload]
            sqlalchemy.select(
                *(col(Order.sale_id), col(Order.member_id), col(Order.request_key)),
                *(col(Order.id), col(Order.request_hash), col(Order.answer)),
            ).where(
                col(Order.sale_id).in_(sales),
                col(Order.member_id).in_(members),
                col(Order.request_key).in_(keys),
            ),
        )
        found = {tuple(row[:3]): Answered(*row[3:]) for row in rows.all()}
    return [found.get(request[:3]) for request in asked]
