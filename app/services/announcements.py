"""What chats are told of groups without having asked: noticed in the feed of events, told as they are then."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, func, or_, update
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.bindings import BindingState
from app.domain.groups import FINAL_GROUP_STATES, GroupState
from app.domain.pushes import is_quiet
from app.domain.robots import (
    GAP,
    JOINED,
    LISTED_GROUPS,
    MATTERS,
    NEWS,
    PACE,
    SEATS,
    SINGLE_NEWS,
    joined_line,
    may_edit,
    news_due,
)
from app.gateways.chat.platform import Card
from app.models import Announcement, Binding, Community, Cursor, Event, Group, Robot, Sale, SaleCommunity
from app.services.chains import show_group
from app.services.events import read_events, read_horizon
from app.services.tongues import Tongue
from app.services.transactions import Work, transaction
from app.state import State

FEED = "announcements"
BATCH = 1000
MOST_ROWS = 2000
"""Groups that become one message."""
IS_BOUND = and_(col(Binding.state) == BindingState.ACTIVE, col(Binding.chat_id).is_not(None))


@dataclass(slots=True)
class _Noticed:
    """What happened to a group, as one chat has to hear it."""

    since: datetime
    joined: int = 0
    matters: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What a chat is told in one message: of one group, or of several."""

    rows: Sequence[Announcement]
    is_digest: bool
    edits: str | None
    """The message that is changed."""


async def follow(state: State, now: datetime) -> int:
    """Notice what happened in the groups that chats hear of. Returns how many events were looked at."""
    async with state.database.snapshot() as session:
        row = await session.get(Cursor, FEED)
        bound = (await session.exec(select(Binding.id).where(IS_BOUND).limit(1))).first()
    after = 0 if row is None else row.event_id
    events: Sequence[Event] = ()
    if bound is None:  # nobody listens
        following = max(after, await read_horizon(state))
    else:
        events, following = await read_events(state, after, types=NEWS, limit=BATCH)
    if following == after:
        return 0
    async with transaction(state, now) as work:
        await work.session.exec(state.database.insert_unless_there(Cursor, ["name"]).values(name=FEED, event_id=0))
        moved = await work.session.exec(
            update(Cursor)
            .where(col(Cursor.name) == FEED, col(Cursor.event_id) == after)
            .values(event_id=following)
            .returning(col(Cursor.name)),
        )
        if moved.first() is None:
            return 0
        await _note(work, events)
    return len(events)


async def news_since(session: AsyncSession, robot: Robot) -> datetime | None:
    """Since when a chat's news is due; None: there is none. Later than now, if it has just been told some."""
    due_at = (
        await session.exec(
            select(func.min(col(Announcement.due_at))).where(Announcement.binding_id == robot.binding_id)
        )
    ).one()
    if due_at is None:
        return None
    return due_at if robot.announced_at is None else max(due_at, robot.announced_at + GAP)


async def choose(session: AsyncSession, binding: Binding, community: Community, now: datetime) -> News:
    """What to tell a chat, of what is due: the group that matters most; all that there is to tell, if it is of many
    groups or has waited through the quiet hours.
    """
    here = select(Announcement).where(Announcement.binding_id == binding.id)
    urgency = (col(Announcement.matters).desc(), col(Announcement.due_at), col(Announcement.group_id))
    due = here.where(col(Announcement.due_at) <= now).order_by(*urgency)
    first = (await session.exec(due.limit(SINGLE_NEWS + 1))).all()
    zone = ZoneInfo(community.timezone)
    waited = any(
        row.since is not None and is_quiet(row.since, community.quiet_from, community.quiet_to, zone)
        for row in first
    )
    if len(first) > (1 if waited else SINGLE_NEWS):
        unheard = here.where(col(Announcement.due_at).is_not(None)).order_by(*urgency)
        return News((await session.exec(unheard.limit(MOST_ROWS))).all(), is_digest=True, edits=None)
    row = first[0]
    edits = row.message_id if may_edit(row.posted_at, now, matters=row.matters) else None
    return News([row], is_digest=False, edits=edits)


async def render(state: State, binding: Binding, news: News) -> Card:
    """News as a card, with groups as they are now. Raises as `show_group`."""
    tongue, now = Tongue(binding.language), state.clock()
    joined = sum(row.joined for row in news.rows)
    since = min((row.since for row in news.rows if row.since is not None), default=now)
    line = joined_line(joined, since, now, zh=tongue.zh)
    lines = () if line is None else (line,)
    if not news.is_digest:
        card = await show_group(state, binding.community_id, news.rows[0].group_id, binding.language)
        return replace(card, lines=(*lines, *card.lines))
    cards = [
        await show_group(state, binding.community_id, row.group_id, binding.language, names=False)
        for row in news.rows[:LISTED_GROUPS]
    ]
    left = len(news.rows) - len(cards)
    return Card(
        title=tongue.say(f"{len(news.rows)} 个团有新进展", f"News of {len(news.rows)} groups"),
        lines=(
            *lines,
            *(f"{card.title}: {card.lines[0]}" for card in cards),
            *([f"+{left}"] if left else []),
        ),
        buttons=tuple(card.buttons[0] for card in cards if card.buttons)[:SINGLE_NEWS],
    )


async def mark_said(work: Work, binding_id: str, news: News, message_id: str | None) -> None:
    """The chat has heard it; what happened meanwhile it hears later. `message_id` is of a message that was posted,
    if it can be changed.
    """
    is_same, matters = col(Announcement.version) == bindparam("seen"), col(Announcement.matters)
    values = {
        "joined": Announcement.joined - bindparam("told"),
        "due_at": case((is_same, None), (matters, col(Announcement.due_at)), else_=work.now + PACE),
        "since": case((is_same, None), else_=work.now),
        "matters": case((is_same, False), else_=matters),
        "said_at": work.now,
    }
    if not news.is_digest and news.edits is None:
        values |= {"message_id": message_id, "posted_at": None if message_id is None else work.now}
    await _update(
        work,
        values,
        [
            _key(binding_id, row.group_id) | {"seen": row.version, "told": row.joined}
            for row in sorted(news.rows, key=lambda row: row.group_id)
        ],
    )


async def forget_message(work: Work, binding_id: str, news: News) -> None:
    """The message cannot be changed any more: the same is said in a new one."""
    keys = [_key(binding_id, row.group_id) for row in news.rows]
    await _update(work, {"message_id": None, "posted_at": None}, keys)


async def put_off(work: Work, binding_id: str, until: datetime) -> None:
    """Tell a chat no news before a moment."""
    await work.session.exec(
        update(Announcement)
        .where(col(Announcement.binding_id) == binding_id, col(Announcement.due_at) < until)
        .values(due_at=until)
        .execution_options(synchronize_session=False),
    )


async def forget_news(work: Work, binding_id: str) -> None:
    """Tell a chat nothing of what has happened so far."""
    await work.session.exec(delete(Announcement).where(col(Announcement.binding_id) == binding_id))


async def _note(work: Work, events: Sequence[Event]) -> None:
    """Write down what chats have to hear of these events."""
    noticed: dict[tuple[str, str], _Noticed] = {}
    listeners = await _listeners(work.session, {event.group_id for event in events if event.group_id})
    for event in events:
        for binding_id, bound_at, group_state in listeners.get(event.group_id or "", ()):
            ended = event.type in SEATS and group_state in FINAL_GROUP_STATES
            if ended or event.created_at < bound_at:
                continue
            seen = noticed.setdefault((binding_id, event.group_id or ""), _Noticed(event.created_at))
            seen.joined += event.type == JOINED
            seen.matters |= event.type in MATTERS
    if not noticed:
        return
    keys = sorted(noticed)
    await work.session.exec(
        work.database.insert_unless_there(Announcement, ["binding_id", "group_id"]),
        params=[{"binding_id": binding_id, "group_id": group_id} | _NEW for binding_id, group_id in keys],
    )
    found = await work.session.exec(
        select(Announcement.binding_id, Announcement.group_id, Announcement.said_at).where(
            col(Announcement.binding_id).in_({binding_id for binding_id, _ in keys}),
            col(Announcement.group_id).in_({group_id for _, group_id in keys}),
        ),
    )
    said = {(binding_id, group_id): said_at for binding_id, group_id, said_at in found.all()}
    due: ColumnElement[Any] = bindparam("due", type_=SQLModel.metadata.tables["announcements"].c.due_at.type)
    earlier = or_(col(Announcement.due_at).is_(None), col(Announcement.due_at) > due)
    values = {
        "version": Announcement.version + 1,
        "joined": Announcement.joined + bindparam("more"),
        "since": func.coalesce(col(Announcement.since), bindparam("happened", type_=due.type)),
        "due_at": case((earlier, due), else_=col(Announcement.due_at)),
        "matters": or_(col(Announcement.matters), bindparam("counts")),
    }
    await _update(
        work,
        values,
        [
            _key(*key)
            | {
                "more": noticed[key].joined,
                "happened": noticed[key].since,
                "counts": noticed[key].matters,
                "due": news_due(work.now, said.get(key), matters=noticed[key].matters),
            }
            for key in keys
        ],
    )


async def _listeners(
    session: AsyncSession, group_ids: set[str]
) -> dict[str, list[tuple[str, datetime, GroupState]]]:
    """The bindings that hear of groups, since when, and how each group stands; not of who buys alone."""
    belongs = or_(
        col(Binding.community_id) == Sale.community_id,
        select(SaleCommunity.sale_id)
        .where(SaleCommunity.sale_id == Sale.id, SaleCommunity.community_id == Binding.community_id)
        .exists(),
    )
    rows = await session.exec(
        select(Group.id, Group.state, Binding.id, Binding.created_at)
        .join(Sale, col(Sale.id) == Group.sale_id)
        .join(Binding, and_(IS_BOUND, belongs))
        .where(col(Group.id).in_(group_ids), Group.size > 1),
    )
    found: dict[str, list[tuple[str, datetime, GroupState]]] = {}
    for group_id, group_state, binding_id, bound_at in rows.all():
        found.setdefault(group_id, []).append((binding_id, bound_at, GroupState(group_state)))
    return found


async def _update(work: Work, values: dict[str, Any], params: list[dict[str, Any]]) -> None:
    """Change announcements one by one; those who name them in the order of their keys never wait for each other."""
    table = SQLModel.metadata.tables["announcements"]
    here = and_(table.c.binding_id == bindparam("of_binding"), table.c.group_id == bindparam("of_group"))
    connection = await work.session.connection()
    await connection.execute(table.update().where(here).values(values), params)


def _key(binding_id: str, group_id: str) -> dict[str, Any]:
    return {"of_binding": binding_id, "of_group": group_id}


_NEW = {"version": 0, "joined": 0, "matters": False}
