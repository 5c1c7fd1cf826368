"""Every route, called by everybody: it lets in whom the table says, and nobody else."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from websockets.exceptions import InvalidStatus

from app.domain.jobs import JobState
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.models import Comment, Community, Job, Membership, Post
from app.routers.pages import SESSION
from tests.http.permissions import FOR_ONE, LETS_IN, WITHIN, Person
from tests.http.routes import DOCUMENTED_ROUTES, EVERY_ROUTE, SOCKET, Route
from tests.http.watchers import talking
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
BESIDES = {"signature_invalid", "not_your_bargain", "ticket_mismatch"}
"""What is said with 401 or 403 whoever calls: here nobody signs, and the bargain and the ticket are another's."""
KEY = f"web_{'0' * 32}"
FORMS = {
    "log_in": {"name": "林小满"},
    "log_in_by_link": {"name": "林小满"},
    "join": {"sale_id": "", "offer_id": "", "key": KEY},
    "enrol": {"key": KEY},
    "pay_order": {"order_id": "", "key": KEY},
    "make_own_link": {"group_id": ""},
}
"""What the forms of pages send, with the ids of the world. Who is not logged in is sent to log in: let in."""
WHO = ("cookie", "authorization", "x-api-key")
"""The headers that say who calls."""
Cast = dict[Person, Member | None]
Places = dict[str, tuple[MembershipState, Role]]


on_one_database = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""Who may call what does not depend on it."""


def test_the_table_names_every_route_there_is() -> None:
    assert {route.name for route in EVERY_ROUTE} == set(LETS_IN)


def test_routes_for_everybody_ask_for_no_credentials() -> None:
    for route in DOCUMENTED_ROUTES:
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
        await session.exec(update(Post).where(col(Post.id) == ids["post_id"]).values(comment_count=1))
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
    headers: dict[str, Any] = dict.fromkeys(WHO)
    if person == Person.OPERATOR:
        headers |= world.service.operator
    if member is not None:
        headers |= member.headers | {"cookie": f"{SESSION}={member.token}"}
    return headers | {"idempotency-key": uuid4().hex}


async def answer(world: World, request: httpx.Request) -> httpx.Response:
    """What a call is answered; of a stream and of a WebSocket, the first message."""
    if request.method == SOCKET:
        sent = {name: request.headers[name] for name in WHO if name in request.headers}
        try:
            async with talking(world.service, request.url.raw_path.decode(), **sent) as socket:
                return httpx.Response(200, text=str(await socket.recv()))
        except InvalidStatus as refusal:
            refused = refusal.response
            return httpx.Response(refused.status_code, content=bytes(refused.body))
    reply = await world.service.http.send(request, stream=True)
    if reply.headers.get("content-type", "").startswith("text/event-stream"):
        reply._content = await anext(reply.aiter_bytes())
        await reply.aclose()
    else:
        await reply.aread()
    return reply


@on_one_database
@pytest.mark.parametrize("route", EVERY_ROUTE, ids=str)
async def test_a_route_lets_in_whom_the_table_says(world: World, cast: Cast, route: Route) -> None:
    is_changed = True
    for person in Person:
        if is_changed:  # by who was let in before
            await take_places(world, cast, route)
        filled = world.filled(FORMS.get(route.name) or next(iter(route.examples), None), route)
        body = {"data" if route.name in FORMS else "json": filled}
        reply = await answer(world, world.request(route, headers=credentials(world, person, cast), **body))
        code = reply.json()["code"] if reply.is_error else None
        assert reply.status_code < 500, f"{person}: {reply.status_code} {reply.text}"
        assert code != "invalid_request", f"{person}: {reply.text}"
        refused = code in REFUSALS or (reply.status_code in {401, 403} and code not in BESIDES)
        assert refused != (person in LETS_IN[route.name]), f"{person}: {reply.status_code} {reply.text}"
        is_changed = not reply.is_error and route.method not in {"GET", SOCKET}
