"""What stories about life in communities are told with."""

from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import SQLModel, col

from app.domain.encounters import DAYS, PEOPLE
from app.domain.memberships import Role
from app.models import Encounter, Membership
from tests.service import Member, Service

SERVICE: dict[str, Any] = {"purpose": "service", "answer_minutes": 60}
GROWTH: dict[str, Any] = {"purpose": "growth"}
Community = dict[str, Any]


async def enrol(community: Community, *members: Member) -> None:
    """Have these members enrol."""
    for member in members:
        await member.enrol(community)


async def post(member: Member, community: Community, body: str = "你好", **more: Any) -> dict[str, Any]:
    """A new post of a member's."""
    reply = await member.post(f"/v1/communities/{community['id']}/posts", {"body": body} | more)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def say(member: Member, post_id: str, body: str = "好的", **more: Any) -> dict[str, Any]:
    """A new comment of a member's."""
    reply = await member.post(f"/v1/posts/{post_id}/comments", {"body": body} | more)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def see(member: Member, post_id: str) -> dict[str, Any]:
    """A post as a member sees it."""
    reply = await member.get(f"/v1/posts/{post_id}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def feed(member: Member, community: Community, **query: Any) -> dict[str, Any]:
    """The feed as a member sees it."""
    reply = await member.get(f"/v1/communities/{community['id']}/posts", params=query)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def react(member: Member, subject: dict[str, Any], kind: str = "like", *, on: bool = True) -> dict[str, Any]:
    """React to a post or a comment, or no more."""
    noun = "comments" if subject["id"].startswith("cmt_") else "posts"
    path = f"/v1/{noun}/{subject['id']}/reactions/{kind}"
    reply = await member.service.http.request("PUT" if on else "DELETE", path, headers=member.headers)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def delete(member: Member, path: str) -> int:
    """Take something back; the status of the answer."""
    return (await member.service.http.delete(path, headers=member.headers)).status_code


async def refused(reply: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that an answer is this refusal; returns the problem."""
    problem = (await reply).json()
    assert (problem.get("status"), problem.get("code")) == (status, code), problem
    return dict(problem)


async def appoint(service: Service, community: Community, member: Member, role: Role) -> None:
    """Give a member a role."""
    await change(service, Membership, *of(community, member), role=role)


def of(community: Community, member: Member) -> tuple[Any, Any]:
    """Which membership it is."""
    return col(Membership.community_id) == community["id"], col(Membership.member_id) == member.id


async def change(service: Service, model: type[SQLModel], *where: Any, **values: Any) -> None:
    """Set columns of rows, as another part of the service would."""
    async with service.state.database.transaction() as session:
        await session.exec(update(model).where(*where).values(**values))


async def raise_to(service: Service, community: Community, member: Member, level: int) -> None:
    """Have a member have given and received enough for a level, with members made for that."""
    others = await service.members(PEOPLE[level - 1])
    now = service.clock()
    days = [(now - timedelta(days=back)).date().isoformat() for back in range(DAYS[level - 1])]
    async with service.state.database.transaction() as session:
        for number, other in enumerate(others):
            for giver, receiver in ((member, other), (other, member)):
                session.add(
                    Encounter(
                        community_id=community["id"],
                        giver_id=giver.id,
                        receiver_id=receiver.id,
                        day=days[number % len(days)],
                    )
                )
