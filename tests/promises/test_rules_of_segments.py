"""A rule says the same of a member in code and in SQL, on both databases."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.domain.memberships import LeaveReason, MembershipState
from app.domain.segments import NUMBERS, DeviceKind, Fact, Known, Op, describe, evaluate, parse
from app.gateways.database import Database, open_database
from app.models import Community, Facts, Member, Membership, Tag, new_id
from app.schemas.communities import CommunityCreate
from app.services.segments import condition, read_known, with_facts
from tests.databases import create_database, create_sqlite

NOW = datetime(2026, 12, 12, 4, 5, 6, 789, tzinfo=UTC)
DAY = timedelta(days=1)
COMMUNITIES = [f"com_{digit * 32}" for digit in "ab"]
WORDS = ["夜跑", "night", "Night", "%", "_", "'; DROP TABLE members; --", '" OR 1=1', "a\\b", "ｎ", "é"]
moments = st.builds(
    lambda days, edge: NOW - days * DAY + edge,
    st.sampled_from([0, 1, 2, 7, 30, 365, 36_499]),
    st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1), timedelta(hours=11)]),
)
PHASES = [Phase.explicit, Phase.generate]
"""Each example is a transaction: what fails is shown as it was found."""
words = st.frozensets(st.sampled_from(WORDS), max_size=3)


@st.composite
def members(draw: st.DrawFn) -> tuple[Known, bool]:
    """A member, and whether there is a row for what is known of them."""
    told = draw(st.booleans())
    common = {"member_since": draw(moments), "tags": draw(words), "own_tags": draw(words)}
    common["communities"] = draw(st.frozensets(st.sampled_from(COMMUNITIES)))
    if not told:
        return Known(**common), False
    check_ins = draw(st.integers(0, 4))
    known = Known(
        **common,
        orders=draw(st.integers(0, 3)),
        spent=draw(st.sampled_from([0, 1, 99_999, 100_000, 10**12])),
        first_order_at=draw(st.none() | moments),
        last_order_at=draw(st.none() | moments),
        check_ins=check_ins,
        night_check_ins=draw(st.integers(0, check_ins)),
        device=draw(st.none() | st.sampled_from(DeviceKind)),
        city=draw(st.none() | st.sampled_from(WORDS)),
    )
    return known, True


def numbered(fact: Fact) -> st.SearchStrategy[Any]:
    near = st.sampled_from([0, 1, 2, 3, 7, 25, 33, 50, 66, 100]) | st.sampled_from([30, 365, 36_499])
    most = NUMBERS[fact]
    values = near.filter(lambda value: value <= most) | st.just(most)
    if fact == Fact.SPENT:
        values |= st.sampled_from([99_999, 100_000, 100_001])
    return st.fixed_dictionaries(
        {
            "fact": st.just(fact.value),
            "is": st.sampled_from([Op.AT_LEAST.value, Op.AT_MOST.value, Op.EXACTLY.value]),
            "value": values,
        }
    )


def worded(fact: Fact) -> st.SearchStrategy[Any]:
    choices: Any = {Fact.DEVICE: list(DeviceKind), Fact.COMMUNITY: [*COMMUNITIES, f"com_{'c' * 32}"]}.get(
        fact, WORDS
    )
    value = st.lists(st.sampled_from([str(choice) for choice in choices]), min_size=1, max_size=4)
    return st.fixed_dictionaries({"fact": st.just(fact.value), "is": st.just("one_of"), "value": value})


comparisons = st.sampled_from(Fact).flatmap(lambda fact: numbered(fact) if fact in NUMBERS else worded(fact))
rules = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)


class Undone(Exception):
    """Nothing of it is kept."""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def database(
    runner: asyncio.Runner, backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A database with two communities."""
    if backend == "sqlite":
        url = runner.run(create_sqlite(tmp_path / "rules.sqlite3"))
    else:
        url = runner.run(create_database(request.getfixturevalue("postgresql")))
    opening = open_database(url, 2)
    database = runner.run(opening.__aenter__())
    runner.run(_prepare(database))
    yield database
    runner.run(opening.__aexit__(None, None, None))


async def _prepare(database: Database) -> None:
    values = CommunityCreate(name="跑团").model_dump(exclude={"plan", "quiet_from", "quiet_to"})
    async with database.transaction() as session:
        for id_ in COMMUNITIES:
            session.add(
                Community(**values | {"id": id_, "state": "draft", "created_at": NOW}, quiet_from=0, quiet_to=0)
            )


async def _add(session: Any, known: Known, *, told: bool) -> str:
    id_ = new_id("mem")
    session.add(Member(id=id_, name="n", created_at=known.member_since))
    await session.flush()
    if told:
        mine = asdict(known)
        facts = {name: mine[name] for name in Facts.model_fields if name in mine}
        session.add(Facts(member_id=id_, **facts))
    for own, tags in ((False, known.tags), (True, known.own_tags)):
        session.add_all(Tag(member_id=id_, tag=tag, own=own, created_at=NOW) for tag in tags)
    for community_id in COMMUNITIES:
        inside = community_id in known.communities
        left: dict[str, Any] = {} if inside else {"left_at": NOW, "leave_reason": LeaveReason.OTHER}
        state = MembershipState.ACTIVE if inside else MembershipState.LEFT
        session.add(Membership(community_id=community_id, member_id=id_, state=state, joined_at=NOW, **left))
    await session.flush()
    return id_


def test_code_and_sql_agree(runner: asyncio.Runner, database: Database) -> None:
    asked: set[bool] = set()

    @settings(
        max_examples=120, deadline=None, database=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(tree=rules, crowd=st.lists(members(), min_size=1, max_size=6))
    def agree(tree: dict[str, Any], crowd: list[tuple[Known, bool]]) -> None:
        rule = parse(tree)

        async def ask() -> None:
            async with database.transaction() as session:
                ids = {await _add(session, known, told=told): known for known, told in crowd}
                assert await read_known(session, ids) == ids
                wanted = {id_ for id_, known in ids.items() if evaluate(rule, known, NOW)}
                found = await session.exec(with_facts(Member.id).where(condition(rule, NOW)))
                assert set(found.scalars().all()) == wanted
                unfit = await session.exec(with_facts(Member.id).where(condition(parse({"not": tree}), NOW)))
                assert set(unfit.scalars().all()) == ids.keys() - wanted, "there is nothing between"
                asked.update(id_ in wanted for id_ in ids)
                raise Undone

        with pytest.raises(Undone):
            runner.run(ask())
        assert describe(rule).en
        assert describe(rule).zh

    agree()
    assert asked == {True, False}
