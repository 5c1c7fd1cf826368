"""What growth is made of, from the rows. The words and formulas are those of docs/metrics.md.

The rows of a slice are read once, by its indexes, and counted here: plans of one statement that joins them all
depend on what the database knows of its tables, and went wrong by a factor of fifty on tables it did not know.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.sqltypes import UTCDateTime

from app.domain import growth
from app.domain.errors import CommunityNotFound, InvalidTerms, SaleNotFound
from app.domain.growth import Branch, Brought, Buyer, Came, Made, Money, Rows
from app.domain.invites import InviteChannel
from app.models import Community, Member, Sale
from app.schemas.growth import BranchesPublic, BranchPublic, GrowthFigures, GrowthPublic, GrowthSlice
from app.state import State

FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
TO_SALES = "FROM invites i WHERE {sales}"
TO_GROUPS = "FROM groups g JOIN invites i ON i.group_id = g.id WHERE {sales}"
TO_COMMUNITIES = "FROM invites i WHERE i.community_id {community}"


@dataclass(frozen=True, slots=True)
class Slice:
    """What is asked about, and where to read it."""

    session: AsyncSession
    asked: GrowthSlice
    since: datetime
    until: datetime

    async def read(self) -> Rows:
        """All that its figures are made of."""
        rows = await self.read_forest()
        for code, member_id, channel, at, since in await self._made():
            rows.since[member_id] = since
            rows.made.append(Made(code, member_id, InviteChannel(channel), at))
        for code, member_id, visitor_id, at in await self._came():
            rows.came.append(Came(code, member_id or visitor_id, member_id is not None, at))
        return rows

    async def read_forest(self) -> Rows:
        """Who bought, who of them was brought, and their money."""
        rows = Rows()
        for member_id, first, last in await self._buyers():
            rows.buyers[member_id] = Buyer(first, last)
        for member_id, inviter_id, channel, invited_at, paid_at, since in await self._bound():
            rows.since[inviter_id] = since
            if paid_at == rows.buyers[member_id].first:
                rows.brought[member_id] = Brought(inviter_id, InviteChannel(channel), invited_at, paid_at)
        for member_id, captured, refunded in await self._money():
            rows.money[member_id] = Money(int(captured), int(refunded))
        return rows

    async def _buyers(self) -> Sequence[Any]:
        return await self._fetch(
            f"""SELECT o.member_id, min(o.paid_at) AS first, max(o.paid_at) AS last FROM orders o
                WHERE {self._sales("o.sale_id")} AND o.paid_at < :until GROUP BY o.member_id""",
            *("first", "last"),
        )

    async def _bound(self) -> Sequence[Any]:
        """Those in one sale come after lasting ones, and are believed rather."""
        return await self._fetch(
            f"""SELECT r.member_id, r.inviter_id, r.channel, i.created_at AS invited_at, o.paid_at AS paid_at,
                       m.created_at AS since
                FROM referrals r
                JOIN orders o ON o.id = r.order_id
                JOIN invites i ON i.code = r.code
                JOIN members m ON m.id = r.inviter_id
                WHERE (r.scope = 'all' OR {self._sales("r.scope")})
                  AND {self._sales("o.sale_id")} AND o.paid_at < :until
                ORDER BY r.scope""",
            *("invited_at", "paid_at", "since"),
        )

    async def _made(self) -> Sequence[Any]:
        """Also those of before the period: one may come by them in it."""
        parts = [
            f"""SELECT made.code, made.member_id, made.channel, made.created_at AS at, m.created_at AS since
                FROM (SELECT i.* {target}) AS made JOIN members m ON m.id = made.member_id"""
            for target in self._targets()
        ]
        return await self._fetch(" UNION ALL ".join(parts), "at", "since")

    async def _came(self) -> Sequence[Any]:
        parts = [
            f"""SELECT t.code, t.member_id, t.visitor_id, t.first_at AS at
                FROM (SELECT i.code {target}) AS made JOIN touches t ON t.code = made.code
                WHERE t.first_at >= :since AND t.first_at < :until"""
            for target in self._targets()
        ]
        return await self._fetch(" UNION ALL ".join(parts), "at")

    async def _money(self) -> Sequence[Any]:
        """By the orders: `coalesce` keeps SQLite from looking at all captured payments for each of them."""
        return await self._fetch(
            f"""SELECT o.member_id, sum(p.captured_amount), sum(p.refunded_amount)
                FROM orders o JOIN payments p ON p.order_id = o.id
                WHERE {self._sales("o.sale_id")} AND o.paid_at >= :since AND o.paid_at < :until
                  AND coalesce(p.state, '') = 'captured' AND p.captured_currency = :currency
                GROUP BY o.member_id"""
        )

    def _targets(self) -> list[str]:
        """Where the invites of the slice are. One to a whole community is in none of its sales."""
        targets = [
            TO_SALES.format(sales=self._sales("i.sale_id")),
            TO_GROUPS.format(sales=self._sales("g.sale_id")),
        ]
        if self.asked.sale_id is None:
            named = "IS NOT NULL" if self.asked.community_id is None else "= :community_id"
            targets.append(TO_COMMUNITIES.format(community=named))
        return targets

    def _sales(self, column: str) -> str:
        """That a column names one of the slice's sales."""
        if self.asked.sale_id is not None:
            return f"{column} = :sale_id"
        if self.asked.community_id is not None:
            return f"{column} IN (SELECT id FROM sales WHERE community_id = :community_id)"
        return f"{column} IS NOT NULL"

    async def _fetch(self, sql: str, *moments: str) -> Sequence[Any]:
        typed = [bindparam(name, type_=UTCDateTime()) for name in ("since", "until") if f":{name}" in sql]
        statement = text(sql).bindparams(*typed).columns(**dict.fromkeys(moments, UTCDateTime()))
        binds = self.asked.model_dump() | {"since": self.since, "until": self.until}
        return (await (await self.session.connection()).execute(statement, binds)).all()


async def measure(state: State, asked: GrowthSlice) -> GrowthPublic:
    """The figures of a slice: all, by channel, and by cohort. Raises `SaleNotFound`, `CommunityNotFound`,
    `InvalidTerms`.
    """
    async with state.database.snapshot() as session:
        part = await _slice(state, session, asked)
        rows = await part.read()
    async with state.forecasting:
        found = await asyncio.to_thread(growth.measure, rows, part.since, part.until, asked.channel, asked.cohort)
    return GrowthPublic(
        **asked.model_dump(exclude={"since", "until"}),
        since=part.since,
        until=part.until,
        total=_figures(found.total),
        channels={channel: _figures(figures) for channel, figures in found.channels.items()},
        cohorts={cohort: _figures(found.cohorts[cohort]) for cohort in sorted(found.cohorts)},
    )


async def rank_branches(state: State, asked: GrowthSlice, limit: int) -> BranchesPublic:
    """The branches of which the most money is kept. Raises as `measure`."""
    async with state.database.snapshot() as session:
        part = await _slice(state, session, asked)
        rows = await part.read_forest()
    async with state.forecasting:
        found = await asyncio.to_thread(growth.rank, rows, limit)
    async with state.database.snapshot() as session:
        seeds = col(Member.id).in_([branch.member_id for branch in found])
        name_of = dict((await session.exec(select(Member.id, Member.name).where(seeds))).all())
    return BranchesPublic(
        currency=asked.currency,
        since=part.since,
        until=part.until,
        items=[_branch(branch, name_of[branch.member_id]) for branch in found],
    )


async def _slice(state: State, session: AsyncSession, asked: GrowthSlice) -> Slice:
    if asked.sale_id is not None and await session.get(Sale, asked.sale_id) is None:
        raise SaleNotFound
    if asked.community_id is not None and await session.get(Community, asked.community_id) is None:
        raise CommunityNotFound
    since, until = asked.since or FIRST_MOMENT, asked.until or state.clock()
    if since >= until:
        raise InvalidTerms(field="to", reason="must be after from")
    return Slice(session, asked, since, until)


def _figures(figures: growth.Figures) -> GrowthFigures:
    return GrowthFigures.model_validate(figures, from_attributes=True)


def _branch(branch: Branch, name: str) -> BranchPublic:
    shown = {field: getattr(branch, field) for field in BranchPublic.model_fields if field != "name"}
    return BranchPublic(**shown, name=name)
