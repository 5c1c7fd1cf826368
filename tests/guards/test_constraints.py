"""Every guard of the database refuses something, and is the only one to do so: without it, the same is accepted."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.guards.constraints import CHANGES, COPIES, Rule, find_rules
from tests.guards.world import World
from tests.tally import GUARD, NOTICED, UNDECIDED

RULES = list(find_rules())


@pytest.fixture(scope="session")
async def connection(world: World) -> AsyncIterator[Any]:
    """A connection to a database in which every table has rows."""
    connection = await asyncpg.connect(world.database_url)
    yield connection
    await connection.close()


async def refusal(connection: Any, rule: Rule) -> str | None:
    """What refuses the rule's offence; None when it is accepted. Either way nothing is kept."""
    attempt = connection.transaction()
    await attempt.start()
    try:
        status = await connection.execute(rule.offends)
    except asyncpg.IntegrityConstraintViolationError as error:
        return str(error.constraint_name or f"{rule.table}.{error.column_name} NOT NULL")
    finally:
        await attempt.rollback()
    assert status.endswith(" 1"), f"{rule.offends}: {status}"
    return None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_constraint(connection: Any, rule: Rule, record_property: Any) -> None:
    record_property(GUARD, UNDECIDED)
    assert await refusal(connection, rule) == rule.name
    removal = connection.transaction()
    await removal.start()
    try:
        await connection.execute(rule.removal)
        assert await refusal(connection, rule) is None
    finally:
        await removal.rollback()
    record_property(GUARD, NOTICED)


def test_every_offence_belongs_to_a_constraint() -> None:
    assert (CHANGES.keys() | COPIES.keys()) - {rule.name for rule in RULES} == set()
