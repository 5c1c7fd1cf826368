"""What is read in a community costs as much as what is shown, not as much as the community has written."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text, update
from sqlmodel import col

from app.domain.memberships import MembershipState
from app.domain.posts import PostKind, ReactionKind
from app.models import Comment, Encounter, Membership, Mention, Post, Reaction, new_id
from app.models import Community as CommunityRow
from app.models import Member as MemberRow
from app.services import check_ins, comments, histories, posts
from app.services.encounters import trust_level
from app.services.posts import Wanted
from tests.promises.community import GROWTH
from tests.service import Service

POSTS, MEMBERS, PAGE = 10_000, 8_000, 20
LARGE = {"posts", "members", "memberships", "comments", "reactions", "mentions", "encounters"}
EVERY_TABLE_READ = 14
"""Tables that a page is put together from, some of them twice."""


@dataclass(slots=True)
class Crowd:
    """A community in which much was written, and whom it looks at."""

    community_id: str
    viewer_id: str
    oldest: str
    member_id: str


async def write_much(service: Service) -> Crowd:
    """Ten thousand posts of eight thousand members: every tenth hidden or gone, most questions answered."""
    owner = await service.member()
    community = await service.community(owner, **GROWTH)
    now = service.clock()
    ids = [owner.id, *(new_id("mem") for _ in range(MEMBERS))]
    here = {"community_id": community["id"]}
    day = now.astimezone().date().isoformat()
    today = (now + timedelta(hours=8)).date().isoformat()
    rows: dict[Any, list[dict[str, Any]]] = {model: [] for model in (MemberRow, Membership, Post, Comment)}
    rows |= {Reaction: [], Encounter: [], Mention: []}
    for member_id in ids[1:]:
        person: dict[str, Any] = {"name": "某人", "created_at": now}
        rows[MemberRow].append(MemberRow(id=member_id, **person).model_dump())
        member = Membership(**here, member_id=member_id, state=MembershipState.ACTIVE, joined_at=now)
        rows[Membership].append(member.model_dump())
        for giver, receiver in ((member_id, owner.id), (owner.id, member_id)):
            rows[Encounter].append(here | {"giver_id": giver, "receiver_id": receiver, "day": day})
    for number in range(POSTS):
        gone, answered = number % 20 == 0, number % 5 > 0
        kind = PostKind.QUESTION if number % 3 == 0 else PostKind.TEXT
        values: dict[str, Any] = {"body": "" if gone else "说", "created_at": now, "request_key": f"{number}"}
        if 0 < number < MEMBERS:
            kind = PostKind.CHECK_IN
            values |= {"day": today, "streak": 1}
        if kind == PostKind.QUESTION and answered:
            values["answered_at"] = now
        if gone:
            values["removed_at"] = now
        elif number % 10 == 0:
            values["hidden_at"] = now
        if number % 1000 == 1:
            values["pinned_at"] = now
        author_id = ids[number % MEMBERS] if kind != PostKind.TEXT else ids[number % 7]
        post = Post(**here, author_id=author_id, kind=kind, comment_count=1, reaction_count=1, **values)
        rows[Post].append(post.model_dump())
        said: dict[str, Any] = {"post_id": post.id, "author_id": ids[number % 7], "body": "说", "created_at": now}
        answers = kind == PostKind.QUESTION and answered
        rows[Comment].append(Comment(**here, **said, is_answer=answers, request_key=f"{number}").model_dump())
        if not gone:
            rows[Mention].append({"subject_id": post.id, "member_id": owner.id})
        liked = {"subject_id": post.id, "member_id": owner.id, "kind": ReactionKind.LIKE, "created_at": now}
        rows[Reaction].append(here | liked)
    async with service.state.database.transaction() as session:
        for model, values_of in rows.items():
            for begin in range(0, len(values_of), 500):
                await session.exec(insert(model).values(values_of[begin : begin + 500]))
        mine = col(CommunityRow.id) == community["id"]
        await session.exec(update(CommunityRow).where(mine).values(member_count=len(ids)))
    if not service.state.database.is_sqlite:
        async with service.state.database.transaction() as session:
            await (await session.connection()).execute(text(f"ANALYZE {', '.join(sorted(LARGE))}"))
    return Crowd(community["id"], owner.id, rows[Post][41]["id"], ids[41])


@pytest.fixture
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture(scope="module")
async def crowd(shared_service: Service) -> Crowd:
    """One for all looks."""
    return await write_much(shared_service)


def feed_page(wanted: Wanted, *, deep: bool = False) -> Callable[[Service, Crowd], Awaitable[Any]]:
    """A page of a list, the first or one far down."""
    return lambda service, crowd: posts.list_posts(
        service.state, crowd.viewer_id, crowd.community_id, wanted, crowd.oldest if deep else None, PAGE
    )


async def levels(service: Service, crowd: Crowd) -> Any:
    """The trust of who gave to and received from everybody."""
    async with service.state.database.snapshot() as session:
        return await trust_level(session, crowd.community_id, crowd.viewer_id, service.clock())


LOOKS: dict[str, Callable[[Service, Crowd], Awaitable[Any]]] = {
    "feed": feed_page(Wanted()),
    "feed far down": feed_page(Wanted(), deep=True),
    "questions": feed_page(Wanted(kind=PostKind.QUESTION)),
    "unanswered": feed_page(Wanted(unanswered=True)),
    "hidden": feed_page(Wanted(hidden=True)),
    "streaks": lambda service, crowd: check_ins.list_streaks(service.state, crowd.viewer_id, crowd.community_id),
    "comments": lambda service, crowd: comments.list_comments(
        service.state, crowd.viewer_id, crowd.oldest, None, PAGE
    ),
    "history": lambda service, crowd: histories.list_written(
        service.state, crowd.viewer_id, crowd.community_id, crowd.member_id, None, PAGE
    ),
    "trust": levels,
}


async def statements_of(service: Service, look: Awaitable[Any]) -> list[tuple[str, Any]]:
    """What a look asks the database."""
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked.append((statement, parameters))

    engine = service.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await look
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return asked


@pytest.mark.parametrize("name", LOOKS)
async def test_a_look_visits_what_it_shows(service: Service, crowd: Crowd, name: str) -> None:
    """Rows that all statements of a look touch, told by the database."""
    asked = await statements_of(service, LOOKS[name](service, crowd))
    assert asked
    async with service.state.database.engine.connect() as connection:
        if service.state.database.is_sqlite:
            for statement, parameters in asked:
                plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps = [str(row[-1]) for row in plan.all() if re.search(rf"\b({'|'.join(LARGE)})\b", str(row[-1]))]
                assert all(re.match("SEARCH .* USING .*INDEX", step) for step in steps), (statement, steps)
            return
        visited = 0
        for statement, parameters in asked:
            explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            visited += rows_visited(explained.scalar_one())
    assert visited <= EVERY_TABLE_READ * PAGE, name


async def test_the_crowd_is_as_one_would_be(service: Service, crowd: Crowd) -> None:
    assert crowd.oldest.startswith("pst_")
    assert await service.violations() == []


def rows_visited(plan: Any) -> int:
    """Rows that the scans of tables gave or threw away."""
    visited, nodes = 0, [plan[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node or "Index Name" in node:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            rows += node.get("Rows Removed by Index Recheck", 0)
            visited += round(rows * node["Actual Loops"])
            assert node["Node Type"] != "Seq Scan" or node["Relation Name"] not in LARGE, node
    return visited
