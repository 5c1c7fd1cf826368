"""The tree of who brought whom: seen from a member, down its own branch and up to its root, and no further."""

import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlmodel import SQLModel

from app.domain.operators import Scope
from app.domain.segments import bucket_of
from app.models import Invite, Member, Referral, new_id
from app.services.branches import MOST_SEEN, Direction, Walk, levels_query, read_levels, read_steps, steps_query
from app.services.operators import create_key
from tests.databases import NewDatabase
from tests.promises.test_referrals import buy, conclude, invite, spread, tap
from tests.service import Member as Caller
from tests.service import Sale, Service, running_service

FOREST = 10_000


async def grow(service: Service, sale: Sale, members: Sequence[Caller], above: Sequence[int]) -> None:
    """Let every member but the first be brought by another, `above` them."""
    for number, inviter in enumerate(above, start=1):
        await tap(service, members[number], await invite(service, members[inviter], sale_id=sale.id))
        await buy(service, members[number], sale)
    await conclude(service)


async def test_a_member_sees_the_own_branch_and_no_other(service: Service) -> None:
    sale = await spread(service)
    members = [await service.member(name) for name in ("root", "left", "right", "leaf", "deep", "other")]
    root, left, _, leaf, deep, other = members
    await grow(service, sale, members, [0, 0, 1, 3])
    tree = (await root.get("/v1/members/me/referrals", params={"sale_id": sale.id, "depth": 3})).json()
    assert tree["scope"] == sale.id
    assert tree["levels"] == [{"level": 1, "count": 2}, {"level": 2, "count": 1}, {"level": 3, "count": 1}]
    assert [(item["level"], item["name"]) for item in tree["items"]] == [
        (1, "l**t"),
        (1, "r***t"),
        (2, "l**f"),
        (3, "d**p"),
    ]
    assert [item["member_id"] for item in tree["items"]] == [left.id, members[2].id, None, None]
    assert (tree["complete"], tree["next"]) == (True, None)
    page = (await root.get("/v1/members/me/referrals", params={"sale_id": sale.id, "depth": 3, "limit": 3})).json()
    query = {"sale_id": sale.id, "depth": 3, "limit": 3, "after": page["next"]}
    rest = (await root.get("/v1/members/me/referrals", params=query)).json()
    assert page["items"] + rest["items"] == tree["items"]

    up = (await deep.get("/v1/members/me/inviters", params={"sale_id": sale.id})).json()["items"]
    assert [(item["level"], item["name"], item["member_id"]) for item in up] == [
        (1, "leaf", leaf.id),
        (2, "l**t", None),
        (3, "r**t", None),
    ]
    for query in ({"sale_id": sale.id}, {}):
        assert (await other.get("/v1/members/me/referrals", params=query)).json()["items"] == []
        assert (await other.get("/v1/members/me/inviters", params=query)).json()["items"] == []
    shown = str([tree, up])
    assert not any(stranger.id in shown for stranger in (root, deep, other))


async def test_operators_see_both_ways(service: Service) -> None:
    sale = await spread(service)
    members = await service.members(3)
    await grow(service, sale, members, [0, 1])
    path = f"/v1/ops/referrals/{members[1].id}"
    key = {"x-api-key": await create_key(service.state, "growth", [Scope.GROWTH])}
    for direction, pair in (("down", (members[2], members[1])), ("up", (members[1], members[0]))):
        reply = await service.http.get(path, params={"sale_id": sale.id, "direction": direction}, headers=key)
        assert [(item["member_id"], item["inviter_id"]) for item in reply.json()["items"]] == [
            (pair[0].id, pair[1].id)
        ]
    reply = await service.http.get(f"/v1/ops/referrals/mem_{'0' * 32}", headers=key)
    assert (reply.status_code, reply.json()["code"]) == (404, "member_not_found")


class Forest:
    """Ten thousand members, each brought by one before it or by nobody; and how one finds one's way without SQL."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.scope = new_id("sal")
        self.ids = [new_id("mem") for _ in range(FOREST)]
        self.above: dict[str, str] = {}
        for number in range(1, FOREST):
            if chance.random() < 0.9:
                # Some bring hundreds, most bring nobody, and chains grow long.
                near = chance.random() < 0.5
                before = (
                    chance.randrange(max(0, number - 5), number) if near else int(number * chance.random() ** 3)
                )
                self.above[self.ids[number]] = self.ids[before]

    def down(self, member_id: str, depth: int) -> list[list[str]]:
        """Level by level, looking through everybody each time."""
        levels: list[list[str]] = []
        seen = {member_id}
        for _ in range(depth):
            seen = {member for member, inviter in self.above.items() if inviter in seen}
            if seen:
                levels.append(sorted(seen))
        return levels

    def up(self, member_id: str, depth: int) -> list[str]:
        way: list[str] = []
        while len(way) < depth and member_id in self.above:
            member_id = self.above[member_id]
            way.append(member_id)
        return way

    async def plant(self, service: Service) -> None:
        """Write all of it, past every rule."""
        now = service.clock()
        rows: dict[type[SQLModel], list[dict[str, Any]]] = {Member: [], Invite: [], Referral: []}
        for number, id_ in enumerate(self.ids):
            named = {"id": id_, "bucket": bucket_of(id_)}
            rows[Member].append(named | {"name": f"member {number}", "created_at": now})
            code = f"{id_[-19:]}"
            rows[Invite].append(
                {
                    "code": code,
                    "member_id": id_,
                    "channel": "link",
                    "created_at": now,
                    "expires_at": now + timedelta(days=1),
                }
            )
            if id_ in self.above:
                rows[Referral].append(
                    {
                        "scope": self.scope,
                        "member_id": id_,
                        "inviter_id": self.above[id_],
                        "code": self.above[id_][-19:],
                        "channel": "link",
                        "kind": "link",
                        "order_id": new_id("ord"),
                        "touched_at": now,
                        "bound_at": now + timedelta(seconds=number),
                    }
                )
        async with service.state.database.transaction() as session:
            for model, values in rows.items():
                for begin in range(0, len(values), 1000):
                    await session.exec(insert(model).values(values[begin : begin + 1000]))
        if not service.state.database.is_sqlite:
            async with service.state.database.transaction() as session:
                await (await session.connection()).execute(text("ANALYZE referrals, members"))


@pytest.fixture(scope="module")
async def planted(
    new_database: NewDatabase, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Service, Forest]]:
    """A service with a database of its own, and in it a forest."""
    async with running_service(await new_database(), valkey, tmp_path_factory.mktemp("forest")) as service:
        forest = Forest(19)
        await forest.plant(service)
        yield service, forest


async def test_a_forest_is_walked_as_one_would_by_hand(planted: tuple[Service, Forest]) -> None:
    service, forest = planted
    sample = random.Random(7).sample(forest.ids, 40) + forest.ids[:3]
    depths = Counter[int]()
    async with service.state.database.snapshot() as session:
        for member_id in sample:
            for depth in (1, 3, 5, 20):
                down = Walk(forest.scope, member_id, Direction.DOWN, depth)
                expected = forest.down(member_id, depth)
                levels = await read_levels(session, down)
                steps = await read_steps(session, down, FOREST)
                left = MOST_SEEN
                for number, level in enumerate(expected, start=1):
                    there = {step.member_id for step in steps if step.level == number}
                    assert len(there) == min(len(level), left), "of a huge branch the nearest are seen"
                    assert there <= set(level)
                    left -= len(there)
                assert [level.count for level in levels] == list(Counter(step.level for step in steps).values())
                assert all(step.inviter_id == forest.above[step.member_id] for step in steps)
                some = await read_steps(session, down, 7, 5)
                assert some == steps[5:12]
                up = await read_steps(session, Walk(forest.scope, member_id, Direction.UP, depth), FOREST)
                assert [step.inviter_id for step in up] == forest.up(member_id, depth)
                depths[max(len(expected), len(up))] += 1
    assert max(depths) == 20, "the forest is deep enough to be cut off"
    assert await service.violations() == []


async def test_a_walk_visits_its_own_branch_only(planted: tuple[Service, Forest]) -> None:
    """Rows that a query touches, told by the database: as many as the branch has, in a forest of ten thousand."""
    service, forest = planted
    if service.state.database.is_sqlite:
        async with service.state.database.snapshot() as session:
            for direction in Direction:
                for query in (steps_query(session, direction), levels_query(session, direction)):
                    values = Walk(forest.scope, forest.ids[0], direction, 5).values | {"limit": 20, "offset": 0}
                    plan = await (await session.connection()).execute(text(f"EXPLAIN QUERY PLAN {query}"), values)
                    touched = [row[3] for row in plan.all() if re.search("referrals|members", row[3])]
                    assert touched
                    assert all(re.match("SEARCH .* USING .*INDEX", line) for line in touched), touched
        return
    for member_id in (*forest.ids[:3], *random.Random(3).sample(forest.ids, 10)):
        for direction, branch in (
            (Direction.DOWN, sum(map(len, forest.down(member_id, 5)))),
            (Direction.UP, len(forest.up(member_id, 5))),
        ):
            async with service.state.database.snapshot() as session:
                visited = await _rows_visited(session, Walk(forest.scope, member_id, direction, 5))
            # Each of the branch once, and the names of a page. What the database tells is a rounded mean of loops.
            assert visited <= 1.5 * branch + 20, (member_id, direction, visited, branch)


async def _rows_visited(session: Any, walk: Walk) -> int:
    """Rows that the scans of tables gave or threw away."""
    values = walk.values | {"limit": 20, "offset": 0}
    explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {steps_query(session, walk.direction)}")
    ((plan,),) = (await (await session.connection()).execute(explain, values)).all()
    visited, nodes = 0, [plan[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            visited += round(rows * node["Actual Loops"])
            assert node["Node Type"] != "Seq Scan", node
    return visited
