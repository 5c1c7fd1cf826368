"""Members who were erased a while ago, and sessions that ended, as every process knows them.

Access tokens are read without asking anybody, and live for an hour. So each process keeps the few members who were
erased since, and the sessions that were ended: where it happens they are known at once, elsewhere by a look into
the rows every second. What an erased member still slips in during that second is swept when the last token has
expired (`services/erasure.py`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, update
from sqlmodel import col, select

from app.domain.privacy import SWEEP_MARGIN
from app.gateways.database import is_outage
from app.models import Member, Session
from app.services.transactions import Work
from app.state import State

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
LATE = timedelta(minutes=1)
"""How much later than its own time the end of a session may be seen: clocks differ, commits take a while."""


def token_life(state: State) -> timedelta:
    """How long a token may still be shown that was made when its member was erased."""
    return timedelta(seconds=state.settings.access_token_seconds) + SWEEP_MARGIN


async def end_sessions(work: Work, member_id: str, *conditions: ColumnElement[bool]) -> list[str]:
    """End those sessions of a member that have not ended. Returns their ids, for `know_ended` after the commit."""
    ended = await work.session.exec(
        update(Session)
        .where(col(Session.member_id) == member_id, col(Session.revoked_at).is_(None), *conditions)
        .values(revoked_at=work.now)
        .returning(col(Session.id)),
    )
    return [session_id for (session_id,) in ended.all()]


def know_ended(state: State, session_ids: Iterable[str]) -> None:
    """Believe no access token of these sessions any more."""
    state.ended |= dict.fromkeys(session_ids, state.clock())


async def learn(state: State) -> None:
    """See in the rows who was erased and what has ended, and forget that of which no token can be left."""
    now = state.clock()
    since = now - token_life(state)
    await _learn_ended(state, now, since)
    async with state.database.snapshot() as session:
        found = await session.exec(select(Member.id, Member.erased_at).where(col(Member.erased_at) > since))
        rows = {member_id: erased_at for member_id, erased_at in found.all() if erased_at is not None}
    news = rows.keys() - state.erased.keys()
    # Who was heard of meanwhile is not in these rows, and stays.
    state.erased = {id_: erased_at for id_, erased_at in (state.erased | rows).items() if erased_at > since}
    if news:
        state.live.changed(news)


async def _learn_ended(state: State, now: datetime, since: datetime) -> None:
    """There may be many: only what is new is looked for."""
    looked = since if state.looked_at is None else max(since, min(state.looked_at, now) - LATE)
    async with state.database.snapshot() as session:
        found = await session.exec(select(Session.id, Session.revoked_at).where(col(Session.revoked_at) > looked))
        rows = {session_id: revoked_at for session_id, revoked_at in found.all() if revoked_at is not None}
    state.ended = {id_: ended_at for id_, ended_at in (state.ended | rows).items() if ended_at > since}
    state.looked_at = now


@asynccontextmanager
async def learning(state: State) -> AsyncIterator[None]:
    """Know who was erased, for the time of the context."""
    task = asyncio.create_task(_go_on_learning(state), name="erased members")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _go_on_learning(state: State) -> None:
    while True:
        try:
            await learn(state)
        except Exception as error:
            # While the database is away nothing is written either.
            if not is_outage(error):
                log.exception("erased members")
        await asyncio.sleep(LOOK_SECONDS)
