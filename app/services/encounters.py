"""Encounters: who gave whom something, day by day; and the trust that grows from it."""

from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.encounters import DAYS, LOOKED_BACK, PEOPLE, Given, Level, trust
from app.models import Community, Encounter
from app.services.days import local_day
from app.services.transactions import Work


async def meet(work: Work, community: Community, giver_id: str, receiver_id: str) -> None:
    """Note that one member gave another something today; once a day, and nothing for oneself."""
    if giver_id == receiver_id:
        return
    day = local_day(community, work.now)
    key = {"community_id": community.id, "giver_id": giver_id, "receiver_id": receiver_id, "day": day}
    await work.session.exec(work.database.insert_unless_there(Encounter, list(key)).values(key))


async def trust_level(session: AsyncSession, community_id: str, member_id: str, now: datetime) -> Level:
    """How far a member is trusted in a community, by what they gave and received in the last 180 days.

    What is counted is stepped through along an index and no further than the highest level needs: fifty people on
    either side and 45 days, however many encounters there are.
    """
    since = (now - LOOKED_BACK).date().isoformat()
    values = {"community": community_id, "member": member_id, "since": since}

    async def count(mine: str, counted: str, most: int) -> int:
        query = text(distinct_query(mine, counted))
        found = await (await session.connection()).execute(query, values | {"most": most})
        return int(found.scalar_one())

    return trust(
        Given(
            gave_to=await count("giver_id", "receiver_id", max(PEOPLE)),
            received_from=await count("receiver_id", "giver_id", max(PEOPLE)),
            days=await count("giver_id", "day", max(DAYS)),
        )
    )


def distinct_query(mine: str, counted: str) -> str:
    """How many distinct values a column has among the encounters of a member since a day, up to `:most`.

    Each value is found by going on from the one before, which no database does by itself for a DISTINCT. The member
    is compared together with the value: said as an equation, it lets PostgreSQL walk along the other columns,
    through what everybody else gave.
    """
    begin = ":since" if counted == "day" else "''"
    return f"""
        WITH RECURSIVE found(value, number) AS (
            SELECT CAST({begin} AS TEXT), 0
            UNION ALL
            SELECT CAST((
                SELECT {counted} FROM encounters
                WHERE community_id = :community AND ({mine}, {counted}) > (:member, found.value)
                  AND {mine} <= :member AND day >= :since
                ORDER BY {mine}, {counted} LIMIT 1) AS TEXT), number + 1
            FROM found WHERE value IS NOT NULL AND number < :most)
        SELECT count(value) - 1 FROM found"""  # noqa: S608 - names of ours
