"""Every route, called by everybody: it lets in whom the table says, and nobody else."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.jobs import JobState
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.models import Comment, Community, Job, Membership, Post
from tests.http.permissions import EVERYBODY, FOR_ONE, LETS_IN, WITHIN, Person
from tests.http.routes import ROUTES, Route
from tests.http.world import World
from tests.service import Member

STATES = {
    Person.APPLICANT: (MembershipState.APPLIED, Role.MEMBER),
    Person.BLOCKED: (MembershipState.BLOCKED, Role.MEMBER),
    **{person: (MembershipState.ACTIVE, Role(person)) for person in Person if person in WITHIN},
}
TARGETS = {
    "approve_member": MembershipState.APPLIED,
    "decline_member": MembershipState.APPLIED,
    "unblock_member": MembershipState.BLOCKED,
}
"""What somebody has to be to have this done to them."""
REFUSALS = {
    *("credentials_missing", "api_key_invalid", "scope_missing", "token_invalid"),
    *("not_allowed", "member_blocked", "community_not_found", "membership_not_found", "post_not_found"),
    "comment_not_found",
}
Cast = dict[Person, Member | None]
Places = dict[str, tuple[MembershipState, Role]]


on_one_database = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""Who may call what does not depend on it."""


def test_the_table_names_every_route_there_is() -> None:
    assert {route.name for route in ROUTES} == set(LETS_IN)


def test_routes_for_everybody_ask_for_no_credentials() -> None:
    for route in ROUTES:
        asks = "credentials_missing" in route.codes(401)
        assert asks == (Person.NOBODY not in LETS_IN[route.name]), str(route)


@pytest.fixture
async def cast(world: World) -> Cast:
    """Somebody of each kind, new for each route: one of them erases who calls."""
    people = [person for person in Person if person not in {Person.NOBODY, Person.OPERATOR}]
    members = await world.service.members(len(people))
    return {Person.NOBODY: None, Person.OPERATOR: None, **dict(zip(people, members, strict=True))}


async def take_places(world: World, cast: Cast, route: Route) -> None:
    """Put everybody into their place in the community that the route is about, whatever they did before; and the
    member it is about, whoever that is.
    """
    now, ids = world.service.clock(), world.ids | world.special.get(route.name, {})
    target = TARGETS.get(route.name, MembershipState.ACTIVE)
    places = {
        member.id: STATES[person] for person, member in cast.items() if member is not None and person in STATES
    }
    places[ids["member_id"]] = (target, Role.MEMBER)
    here = col(Membership.community_id) == ids["community_id"]
    async with world.service.state.database.transaction() as session:
        await session.exec(delete(Membership).where(here))
        for member_id, (state, role) in places.items():
            blocked = state == MembershipState.BLOCKED
            session.add(
                Membership(
                    community_id=ids["community_id"],
                    member_id=member_id,
                    state=state,
                    role=role,
                    joined_at=now,
                    left_at=now if blocked else None,
                    leave_reason=LeaveReason.BLOCKED if blocked else None,
                )
            )
        for model, name in ((Post, "post_id"), (Comment, "comment_id")):  # taken back by who was asked before
            there = update(model).where(col(model.id) == ids[name])
            await session.exec(there.values(removed_at=None, hidden_at=None))
        if route.name in FOR_ONE.split():
            await _give(session, places, ids)
        community = await session.get_one(Community, ids["community_id"])
        community.member_count = sum(state == MembershipState.ACTIVE for state, _ in places.values())
        session.add(community)


async def _give(session: AsyncSession, places: Places, ids: dict[str, str]) -> None:
    """Have the owner be who wrote the post and the comment, and who has the job."""
    owner = next(member_id for member_id, (_, role) in places.items() if role == Role.OWNER)
    await session.exec(update(Post).where(col(Post.id) == ids["post_id"]).values(author_id=owner))
    await session.exec(update(Comment).where(col(Comment.id) == ids["comment_id"]).values(author_id=owner))
    job = update(Job).where(col(Job.id) == ids["post_id"])
    await session.exec(job.values(state=JobState.TAKEN, holder_id=owner, ended_at=None))


def credentials(world: World, person: Person, cast: Cast) -> dict[str, Any]:
    """The headers of a person's call; those of the world are left out."""
    member = cast[person]
    headers: dict[str, Any] = {"cookie": None, "authorization": None, "x-api-key": None}
    if person == Person.OPERATOR:
        headers |= world.service.operator
    if member is not None:
        headers |= member.headers
    return headers | {"idempotency-key": uuid4().hex}


@on_one_database
@pytest.mark.parametrize("route", [route for route in ROUTES if LETS_IN[route.name] != EVERYBODY], ids=str)
async def test_a_route_lets_in_whom_the_table_says(world: World, cast: Cast, route: Route) -> None:
    is_changed = True
    for person in Person:
        if is_changed:  # by who was let in before
            await take_places(world, cast, route)
        body = {"json": world.filled(route.examples[0], route)} if route.examples else {}
        reply = await world.ask(route, headers=credentials(world, person, cast), **body)
        let_in = reply.is_success or reply.json()["code"] not in REFUSALS
        assert let_in == (person in LETS_IN[route.name]), f"{person}: {reply.status_code} {reply.text}"
        is_changed = reply.is_success and route.method != "GET"
