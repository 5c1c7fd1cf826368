"""How far the events are settled: up to which id nobody adds one any more.

Ids are dealt when a row is inserted and seen when its transaction commits, and that is another order. Whoever reads
by cursor must not pass an id whose transaction is still on its way.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy import text

from app.gateways.database import Database

NEWEST = text("SELECT coalesce(max(id), 0) FROM events")
DEALT = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_id_seq")
NUMBER = text("SELECT pg_current_xact_id()::text::bigint")
OLDEST = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
"""The oldest transaction with a number that is under way, or the number that is given next."""

PAUSES = (0.002, 0.01)
"""Most transactions are over by then; for others the next reader looks again."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Ids up to `dealt` went to transactions with numbers below `number`."""

    dealt: int
    number: int


class Horizon:
    """Up to which id the events are settled, as far as this process has seen.

    On PostgreSQL whoever is dealt an id has a transaction number before it (the default of the column sees to
    that). So: look how many ids are dealt, then take a number of one's own. All who were dealt those ids have
    lower numbers, and have committed or not once no lower number is under way. Nobody waits but the reader.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = asyncio.Lock()
        self._settled = 0
        self._mark: Mark | None = None

    async def read(self) -> int:
        """The id up to which all events are there to be seen by whoever looks after this."""
        if self._database.is_sqlite:  # one writer at a time: in the order of commits
            async with self._database.engine.connect() as connection:
                return int((await connection.execute(NEWEST)).scalar_one())
        async with self._reading:
            return await self._look()

    async def _look(self) -> int:
        # READ COMMITTED, so that each statement has a snapshot of its own.
        async with self._database.engine.connect() as connection:

            async def ask(statement: object) -> int:
                return int((await connection.execute(statement)).scalar_one())  # type: ignore[call-overload]

            dealt = await ask(DEALT)
            if dealt < self._settled:  # another database than before: it was restored, or a standby took over
                self._settled, self._mark = 0, None
            if self._mark is not None:
                self._settle(await ask(OLDEST))
            if self._mark is None and dealt > self._settled:
                self._mark = Mark(dealt, await ask(NUMBER))
                self._settle(await ask(OLDEST))
            for pause in PAUSES:
                if self._mark is None:
                    break
                await asyncio.sleep(pause)
                self._settle(await ask(OLDEST))
            return self._settled

    def _settle(self, oldest: int) -> None:
        if self._mark is not None and self._mark.number <= oldest:
            self._settled, self._mark = self._mark.dealt, None
