"""Branches: walks through who brought whom, down from a member or up. They visit what they return and no more,
however many referrals there are beside.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Integer, String, text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import MemberNotFound
from app.domain.members import mask_name
from app.domain.referrals import LASTING, AttributionRules
from app.models import Member, Referral
from app.schemas.branches import Branch, BranchMember, Inviters, Level, OperatorBranch, OperatorReferral
from app.services.terms import published_sale
from app.state import State

MOST_SEEN = 5_000
"""Referrals one walk visits at most. Beyond that its counts are of the nearest."""


class Direction(StrEnum):
    """From a member to those it brought, or to those who brought it."""

    DOWN = "down"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Step:
    """One referral of a walk; `level` 1 is the member's own, or those it made itself."""

    level: int
    member_id: str
    inviter_id: str
    bound_at: datetime
    name: str
    """Of whom the walk came to: the member on the way down, the inviter on the way up."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a walk begins, and how far it goes."""

    scope: str
    member_id: str
    direction: Direction
    depth: int

    @property
    def values(self) -> dict[str, Any]:
        """What its queries bind."""
        return {"scope": self.scope, "start": self.member_id, "depth": self.depth, "most": MOST_SEEN}


def walk_query(session: AsyncSession, direction: Direction) -> str:
    """A recursive query of the referrals on the way, nearest first.

    Each step is a look-up in the key or index. A planner that may join as it likes reads all referrals once it
    thinks that a branch is large. `CROSS JOIN` on SQLite and `LATERAL` with an `OFFSET` on PostgreSQL leave it no
    choice.
    """
    begin, end = ("inviter_id", "member_id") if direction == Direction.DOWN else ("member_id", "inviter_id")
    found = f"referrals.scope = :scope AND referrals.{begin} = walk.{end}"
    following = "referrals"
    if session.get_bind().dialect.name == "postgresql":
        following = f"LATERAL (SELECT * FROM referrals WHERE {found} OFFSET 0) AS referrals"  # noqa: S608
    return f"""
        WITH RECURSIVE walk(level, member_id, inviter_id, bound_at) AS (
            SELECT 1, member_id, inviter_id, bound_at FROM referrals WHERE scope = :scope AND {begin} = :start
            UNION ALL
            SELECT walk.level + 1, referrals.member_id, referrals.inviter_id, referrals.bound_at
            FROM walk CROSS JOIN {following} WHERE {found} AND walk.level < :depth
        ), seen AS (SELECT * FROM walk LIMIT :most)"""  # noqa: S608 - our own words


def steps_query(session: AsyncSession, direction: Direction) -> str:
    """A page of a walk, with names."""
    shown = "member_id" if direction == Direction.DOWN else "inviter_id"
    order = "level, bound_at, member_id"
    return f"""{walk_query(session, direction)}
        SELECT level, member_id, inviter_id, bound_at,
               (SELECT members.name FROM members WHERE members.id = page.{shown}) AS name
        FROM (SELECT * FROM seen ORDER BY {order} LIMIT :limit OFFSET :offset) AS page ORDER BY {order}"""  # noqa: S608


def levels_query(session: AsyncSession, direction: Direction) -> str:
    """How many referrals a walk meets on each level."""
    return f"""{walk_query(session, direction)}
        SELECT level, count(*) AS count FROM seen GROUP BY level ORDER BY level"""  # noqa: S608


async def read_steps(session: AsyncSession, walk: Walk, limit: int, offset: int = 0) -> list[Step]:
    """A part of a walk: `limit` referrals after the first `offset`, nearest first."""
    statement = text(steps_query(session, walk.direction)).columns(
        level=Integer,
        member_id=String,
        inviter_id=String,
        bound_at=Referral.__table__.c.bound_at.type,  # type: ignore[attr-defined]
        name=String,
    )
    rows = await (await session.connection()).execute(statement, walk.values | {"limit": limit, "offset": offset})
    return [Step(*row) for row in rows.all()]


async def read_levels(session: AsyncSession, walk: Walk) -> list[Level]:
    """How many referrals there are on each level."""
    rows = await (await session.connection()).execute(text(levels_query(session, walk.direction)), walk.values)
    return [Level(level=level, count=count) for level, count in rows.all()]


async def find_scope(session: AsyncSession, sale_id: str | None) -> str:
    """The scope of the referrals of a sale; without one, of those that last. Raises `SaleNotFound`."""
    if sale_id is None:
        return LASTING
    sale = await published_sale(session, sale_id)
    return AttributionRules(**sale.attribution).scope(sale.id)


async def get_branch(
    state: State, member_id: str, sale_id: str | None, *, depth: int, after: int, limit: int
) -> Branch:
    """Whom a member brought, and whom they brought in turn: names are masked, and only of those it brought itself
    it learns who they are. Raises `SaleNotFound`.
    """
    async with state.database.snapshot() as session:
        walk = Walk(await find_scope(session, sale_id), member_id, Direction.DOWN, depth)
        levels = await read_levels(session, walk)
        steps = await read_steps(session, walk, limit + 1, after)
    return Branch(
        scope=walk.scope,
        levels=levels,
        complete=_is_complete(levels),
        items=[
            BranchMember(
                level=step.level,
                name=mask_name(step.name),
                member_id=step.member_id if step.level == 1 else None,
                bound_at=step.bound_at,
            )
            for step in steps[:limit]
        ],
        next=after + limit if len(steps) > limit else None,
    )


async def get_inviters(state: State, member_id: str, sale_id: str | None, depth: int) -> Inviters:
    """Who brought a member, and who them: the names beyond the first are masked. Raises `SaleNotFound`."""
    async with state.database.snapshot() as session:
        walk = Walk(await find_scope(session, sale_id), member_id, Direction.UP, depth)
        steps = await read_steps(session, walk, depth)
    return Inviters(
        scope=walk.scope,
        items=[
            BranchMember(
                level=step.level,
                name=step.name if step.level == 1 else mask_name(step.name),
                member_id=step.inviter_id if step.level == 1 else None,
                bound_at=step.bound_at,
            )
            for step in steps
        ],
    )


async def inspect(
    state: State, member_id: str, direction: Direction, sale_id: str | None, *, depth: int, after: int, limit: int
) -> OperatorBranch:
    """A branch as operators see it. Raises `MemberNotFound`, `SaleNotFound`."""
    async with state.database.snapshot() as session:
        if await session.get(Member, member_id) is None:
            raise MemberNotFound
        walk = Walk(await find_scope(session, sale_id), member_id, direction, depth)
        levels = await read_levels(session, walk)
        steps = await read_steps(session, walk, limit + 1, after)
    return OperatorBranch(
        scope=walk.scope,
        levels=levels,
        complete=_is_complete(levels),
        items=[OperatorReferral.model_validate(step, from_attributes=True) for step in steps[:limit]],
        next=after + limit if len(steps) > limit else None,
    )


def _is_complete(levels: list[Level]) -> bool:
    return sum(level.count for level in levels) < MOST_SEEN
