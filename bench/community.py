"""What a large community costs beside a small one: a page of its feed, the preview of a segment, its health."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sqlalchemy import event

from app.config import Settings
from app.domain.health import COUNTS, SHARES
from app.domain.operators import Scope
from app.main import create_app
from app.schemas.communities import CommunityCreate
from app.schemas.segments import PreviewAsked
from app.services.communities import create_community, open_community
from app.services.health import show_health
from app.services.operators import create_key
from app.services.posts import Wanted, list_posts
from app.services.previews import preview
from app.state import State
from bench.claimants import JSON, always, mint, plain_get
from bench.load import Run, ask, saturate
from bench.rows import World, seeded, seeded_id
from bench.servers import Process, Valkey
from bench.stage import Stage

YEAR = 365
OTHERS = 100
"""Communities that have days, too."""
PAGE = 20
STATED: dict[str, Any] = dict.fromkeys(("audience", "need", "benefits", "sustained_by", "posting_rules"), "one")
ALL = ("server", "postgresql", "valkey")
TODAY = "now() AT TIME ZONE 'Asia/Shanghai'"
RULE = {"fact": "orders", "is": "at_least", "value": 3}


@dataclass(frozen=True, slots=True)
class Side:
    """A service with one community of so many members, in which so much has happened."""

    stage: Stage
    world: World
    valkey: Valkey
    service: Process
    community_id: str
    reader_id: str
    requests: Mapping[str, bytes]

    async def run(self, name: str) -> Run:
        """Ask the same again and again."""
        options = self.stage.options
        return await saturate(
            self.service.port,
            [always(self.requests[name])] * options.fewer_connections,
            expected=200,
            seconds=options.seconds,
            warm_up=options.warm_up,
            meters=self.stage.meters(self.service, self.valkey),
        )

    async def visited(self) -> dict[str, int]:
        """Rows that PostgreSQL looks at for a page, a preview and health: for whatever they ask it."""
        found = {}
        async with self.world.open() as state:
            asked: dict[str, Callable[[], Awaitable[Any]]] = {
                "feed": lambda: list_posts(state, self.reader_id, self.community_id, Wanted(), None, PAGE),
                "preview": lambda: preview(state, PreviewAsked(rule=RULE, community_id=self.community_id)),
                "health": lambda: show_health(state, self.community_id, None, None),
            }
            for name, ask_for in asked.items():
                found[name] = await count_visited(state, ask_for)
        return found


async def measure(stage: Stage) -> None:
    """Ask a large and a small community for the same, turn by turn."""
    options, report = stage.options, stage.report
    many, few = (options.community_members, options.community_events), (options.few_members, options.few_events)
    async with AsyncExitStack() as stack:
        report.say(f"Community: {many[0]:,} members and {many[1]:,} events beside {few[0]:,} and {few[1]:,}")
        large, small = [await stack.enter_async_context(_side(stage, *size)) for size in (many, few)]
        runs: dict[str, list[tuple[Run, Run]]] = {name: [] for name in large.requests}
        for _ in range(options.rounds):
            for name, pairs in runs.items():
                pairs.append((await large.run(name), await small.run(name)))
                for side, run in zip(("large", "small"), pairs[-1], strict=True):
                    report.say_run(f"{name}, {side}", run)
        visited = [await side.visited() for side in (large, small)]
    for name, pairs in runs.items():
        ratios = [of.cpu_us(*ALL) / to.cpu_us(*ALL) for of, to in pairs]
        goal = "" if name == "preview" else "≤ 1.2"
        report.add(
            f"community_{name}", ratios, goal=goal, note=f"CPU of all per {name}: {many[0]:,} ÷ {few[0]:,} members"
        )
        for side, number in (("large", 0), ("small", 1)):
            report.add(f"community_{name}_{side}_cpu_us", [pair[number].cpu_us(*ALL) for pair in pairs], "µs")
        report.add(f"community_{name}_per_second", [of.rate for of, _ in pairs], "/s", note="of the large one")
    for name, count in visited[0].items():
        note = f"rows PostgreSQL looks at; {visited[1][name]:,} in the small one"
        report.add(f"community_{name}_rows", [count], note=note)


@asynccontextmanager
async def _side(stage: Stage, members: int, events: int) -> AsyncIterator[Side]:
    """A database with a community, filled by SQL, and the service before it."""
    async with stage.world() as (world, valkey):
        begun = perf_counter()
        await world.add_members(members)
        async with world.open() as state:
            community_id = (await create_community(state, CommunityCreate(name="bench", **STATED))).id
            await open_community(state, community_id)
            key = await create_key(state, "bench", [Scope.COMMUNITIES])
        await fill(world, community_id, members, events)
        stage.report.say(f"  {members:,} members and {events:,} events in {perf_counter() - begun:.0f} s")
        with stage.service(world) as service:
            requests = _requests(community_id, key)
            for request in requests.values():
                await ask(service.port, request, expected=200)
            yield Side(stage, world, valkey, service, community_id, seeded_id("mem", 1), requests)


def _requests(community_id: str, key: str) -> dict[str, bytes]:
    """What is asked for, of those routes that there are."""
    paths = create_app(Settings()).openapi()["paths"]
    body = json.dumps({"rule": RULE, "community_id": community_id}).encode()
    operator = f"x-api-key: {key}"
    (token,) = mint(1, 2)
    feed = f"/v1/communities/{community_id}/posts"
    preview = f"POST /v1/ops/segment-previews HTTP/1.1\r\nhost: bench\r\n{operator}".encode()
    wanted = {
        "feed": ("/v1/communities/{community_id}/posts", plain_get(feed, token.decode().strip())),
        "preview": ("/v1/ops/segment-previews", b"%b%b%d\r\n\r\n%b" % (preview, JSON, len(body), body)),
        "health": (
            "/v1/ops/communities/{community_id}/health",
            plain_get(f"/v1/ops/communities/{community_id}/health", operator),
        ),
    }
    return {name: request for name, (path, request) in wanted.items() if path in paths}


async def fill(world: World, community_id: str, members: int, events: int) -> None:
    """Members, and over a year posts, comments, reactions and events of theirs: one, three, four and two of ten."""
    posts, comments, reactions, others = (events * part // 10 for part in (1, 3, 4, 2))
    community, who = f"'{community_id}'", seeded("mem", f"i * 31 % {members}")

    def at(count: int) -> str:
        """Evenly over the year, the last one now."""
        return f"now() - interval '{YEAR} days' * (({count} - 1 - i)::float / {count})"

    def said(prefix: str, count: int) -> dict[str, str]:
        return {
            "id": seeded(prefix, "i"),
            "community_id": community,
            "author_id": who,
            "body": "repeat('x', 60)",
            "reaction_count": "0",
            "created_at": at(count),
            "request_key": "'seeded-' || i",
        }

    await world.add(
        "memberships",
        {
            "community_id": community,
            "member_id": seeded("mem", "i"),
            "bucket": f"right({seeded('mem', 'i')}, 3)",
            "state": "'active'",
            "role": "'member'",
            "application": "''",
            "nickname": "''",
            "bio": "''",
            "shown": "'{}'",
            "push_wish": "'each'",
            "joined_at": "now() - interval '1 year'",
            "acted_at": "now() - interval '1 day' * (i % 120)",
            "seen_at": "now() - interval '1 day' * (i % 60)",
        },
        f"generate_series(0, {members - 1}) AS i",
    )
    await world.add(
        "facts",
        {
            "member_id": seeded("mem", "i"),
            "orders": "i % 7",
            "spent": "i % 7 * 4900",
            "check_ins": "0",
            "night_check_ins": "0",
        },
        f"generate_series(0, {members - 1}) AS i",
    )
    await world.add(
        "posts",
        said("pst", posts)
        | {"kind": "CASE WHEN i % 5 = 0 THEN 'question' ELSE 'text' END", "pictures": "'[]'", "exclusive": "false"}
        | {"night": "false", "comment_count": "3"},
        f"generate_series(0, {posts - 1}) AS i",
    )
    await world.add(
        "comments",
        said("cmt", comments) | {"post_id": seeded("pst", "i / 3"), "is_answer": "i % 15 = 0"},
        f"generate_series(0, {comments - 1}) AS i",
    )
    await world.add(
        "reactions",
        {
            "subject_id": seeded("pst", "i / 4"),
            "member_id": who,
            "kind": "'like'",
            "community_id": community,
            "created_at": at(reactions),
        },
        f"generate_series(0, {reactions - 1}) AS i",
    )
    await world.add(
        "events",
        {
            "type": "'post.created'",
            "subject": seeded("pst", f"i % {posts}"),
            "community_id": community,
            "member_id": who,
            "data": "'{}'",
            "created_at": at(others),
        },
        f"generate_series(0, {others - 1}) AS i",
    )
    figures = json.dumps(dict.fromkeys((*COUNTS, *SHARES), 7) | {"members": members})
    await world.add(
        "community_days",
        {
            "community_id": f"CASE WHEN i < {YEAR} THEN {community} ELSE {seeded('com', f'i / {YEAR}')} END",
            "day": f"to_char({TODAY} - interval '1 day' * (1 + i % {YEAR}), 'YYYY-MM-DD')",
            "version": "1",
            "counted": "1",
            "value": "50",
            "score": "50",
            "figures": f"'{figures}'",
        },
        f"generate_series(0, {YEAR * OTHERS - 1}) AS i",
    )
    await world.postgresql.execute(
        world.database_url, f"UPDATE communities SET member_count = {members} WHERE id = {community}"
    )
    await world.postgresql.execute(world.database_url, "VACUUM ANALYZE")


async def count_visited(state: State, use_case: Callable[[], Awaitable[Any]]) -> int:
    """Rows that PostgreSQL looks at for all that a use case reads."""
    read: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            read.append((statement, values))

    engine = state.database.engine
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    await use_case()
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    visited = 0
    async with engine.connect() as connection:
        for statement, values in read:
            plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
            told = plan.scalar_one()
            visited += rows_visited((json.loads(told) if isinstance(told, str) else told)[0]["Plan"])
    return visited


def rows_visited(plan: dict[str, Any]) -> int:
    """Rows that the scans of a plan read, with those they threw away."""
    own = 0
    if plan["Node Type"].endswith("Scan") and "Relation Name" in plan:
        own = round((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])
    return own + sum(rows_visited(below) for below in plan.get("Plans", ()))
