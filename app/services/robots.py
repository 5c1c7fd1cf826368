"""What is said in chats: queued in the transaction that has something to say, sent from the rows.

A robot says one thing at a time, when its turn has come: an answer to somebody, news of groups, a broadcast. Taking
the turn is a compare-and-set of the robot's row; whoever dies after it leaves a lease that runs out, and then the
message is sent once more: an answer may come twice, and never not at all.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, and_, or_, update
from sqlmodel import col, func, select
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.bindings import BindingState
from app.domain.commands import Verb
from app.domain.communities import CommunityState
from app.domain.errors import ChatTaken
from app.domain.pushes import next_allowed
from app.domain.robots import (
    ANSWER_LIFE,
    BURST,
    GAP,
    LEASE,
    MERGED_ANSWERS,
    MERGED_BUTTONS,
    OUTGOING_TRANSITIONS,
    PUSH_LIFE,
    REASON_LENGTH,
    UNREACHABLE_AFTER,
    Kind,
    OutgoingState,
    earned_at,
    may_speak_at,
    next_kind,
    pause,
)
from app.gateways.chat.platform import (
    Button,
    Card,
    ChatError,
    ChatMoved,
    ChatRefused,
    ChatUnavailable,
    Credentials,
    Destination,
)
from app.gateways.chat.platforms import PLATFORMS
from app.gateways.sealing import seal, unseal
from app.models import Announcement, Binding, Community, Outgoing, Push, Robot, new_id
from app.services import announcements
from app.services.announcements import IS_BOUND, News
from app.services.bindings import credentials_of, take_chat
from app.services.tongues import Tongue
from app.services.transactions import Work, transaction
from app.state import State

log = logging.getLogger(__name__)
PURPOSE = "outgoing messages"
TOO_LATE = "too late"
WITHDRAWN = "withdrawn"
REMOVED = "the binding was removed"
BATCH = 200


@dataclass(frozen=True, slots=True)
class _Said:
    to: Destination
    card: Card


_SAID = TypeAdapter(_Said)
_NO_CREDENTIALS: Credentials = {}


@dataclass(slots=True)
class _Turn:
    """What a robot says now."""

    binding: Binding
    until: datetime
    """The lease that was taken for it."""
    messages: Sequence[Outgoing] = ()
    news: News | None = None
    used: list[Outgoing] = field(default_factory=list)
    """Those of the messages that became the one that is sent."""


def answer(state: State, work: Work, binding_id: str, to: Destination, card: Card) -> None:
    """Queue an answer to somebody, in this transaction. It goes before what nobody asked for, also in quiet hours;
    several answers that everybody in a chat sees may become one message.
    """
    id_ = new_id("out")
    work.session.add(
        Outgoing(
            id=id_,
            binding_id=binding_id,
            state=OutgoingState.QUEUED,
            content=_sealed(state, id_, _Said(to, card)),
            due_at=work.now,
            expires_at=work.now + ANSWER_LIFE,
            created_at=work.now,
        )
    )


async def tell_chats(state: State, work: Work, push: Push, community: Community) -> None:
    """Queue a broadcast that begins now for every chat of its community, once for each."""
    bound = await work.session.exec(select(Binding).where(IS_BOUND, Binding.community_id == community.id))
    for binding in bound.all():
        id_, command = new_id("out"), Tongue(binding.language).command(Verb.SALES)
        buttons = () if push.sale_id is None else (Button(command, command=command),)
        card = Card(community.name, tuple(push.text.splitlines()), buttons)
        await work.session.exec(
            work.database.insert_unless_there(Outgoing).values(
                id=id_,
                binding_id=binding.id,
                push_id=push.id,
                state=OutgoingState.QUEUED,
                content=_sealed(state, id_, _Said(Destination(binding.chat_id or ""), card)),
                due_at=work.now,
                expires_at=work.now + PUSH_LIFE,
                created_at=work.now,
            ),
        )


async def withdraw(work: Work, push_id: str) -> None:
    """Tell a broadcast to no more chats."""
    found = await work.session.exec(
        select(Outgoing).where(Outgoing.push_id == push_id, Outgoing.state == OutgoingState.QUEUED)
    )
    for row in found.all():
        await _drop(work, row, WITHDRAWN)


def with_something_to_say(now: datetime) -> SelectOfScalar[str]:
    """The bindings that may have something to say and whose turn has come; first those that have been silent
    longest, so that all get theirs.
    """
    queued = select(Outgoing.id).where(
        Outgoing.binding_id == Binding.id, Outgoing.state == OutgoingState.QUEUED, Outgoing.due_at <= now
    )
    is_heard = or_(col(Robot.announced_at).is_(None), col(Robot.announced_at) <= now - GAP)
    unheard = select(Announcement.group_id).where(
        Announcement.binding_id == Binding.id, col(Announcement.due_at) <= now, is_heard
    )
    is_free = or_(col(Robot.busy_until).is_(None), col(Robot.busy_until) <= now)
    return (
        select(Binding.id)
        .join(Robot, col(Robot.binding_id) == Binding.id, isouter=True)
        .where(or_(col(Robot.binding_id).is_(None), and_(col(Robot.next_at) <= now, is_free)))
        .where(or_(queued.exists(), unheard.exists()))
        .order_by(col(Robot.next_at).nulls_first(), col(Binding.id))
    )


async def speak(state: State, binding_id: str, _now: datetime) -> bool:
    """Say what a binding has to say next, if its turn has come. True when something was said, or given up."""
    turn = await _take_turn(state, binding_id)
    if turn is None:
        return False
    message_id: str | None = None
    error: ChatError | None = None
    try:
        message_id = await _say(state, turn)
    except ChatError as caught:
        error = caught
    except Exception as caught:  # noqa: BLE001
        # Whatever it was, the next message gets its turn. What it says of itself may be a secret.
        error = ChatRefused(f"it could not be said ({type(caught).__name__})")
        log.error("robot %s: %s", binding_id, error)  # noqa: TRY400
    async with transaction(state, state.clock()) as work:
        if error is None:
            await _keep_said(work, turn, message_id)
        elif isinstance(error, ChatUnavailable):
            await _wait(work, turn, str(error), error.retry_after)
        else:
            await _keep_refusal(state, work, turn, error)
    return True


async def _take_turn(state: State, binding_id: str) -> _Turn | None:
    """What a binding says now, with its robot taken; None: nothing, or not yet."""
    async with transaction(state, state.clock()) as work:
        binding = await work.session.get_one(Binding, binding_id)
        await _give_up(work, binding)
        if binding.state != BindingState.ACTIVE:
            return None
        community = await work.session.get_one(Community, binding.community_id)
        await _keep_quiet(work, binding, community)
        per_minute = PLATFORMS[binding.platform].per_minute
        await work.session.exec(
            state.database.insert_unless_there(Robot, ["binding_id"]).values(
                binding_id=binding_id, earned_at=work.now, next_at=work.now, failures=0
            ),
        )
        robot = await work.session.get_one(Robot, binding_id)
        due = await _find_due(work, robot)
        if not due:
            return None
        until, earned = work.now + LEASE, earned_at(robot.earned_at, work.now, per_minute)
        taken = await work.session.exec(
            update(Robot)
            .where(
                col(Robot.binding_id) == binding_id,
                col(Robot.earned_at) == robot.earned_at,
                col(Robot.next_at) <= work.now,
                or_(col(Robot.busy_until).is_(None), col(Robot.busy_until) <= work.now),
            )
            .values(earned_at=earned, next_at=may_speak_at(earned, per_minute), busy_until=until)
            .returning(col(Robot.binding_id))
            .execution_options(synchronize_session=False),
        )
        if taken.first() is None:
            return None
        kind = next_kind(due, work.now)
        if kind == Kind.NEWS:
            news = await announcements.choose(work.session, binding, community, work.now)
            return _Turn(binding, until, news=news)
        found = await work.session.exec(
            select(Outgoing)
            .where(*_queued(binding_id, work.now, kind))
            .order_by(col(Outgoing.due_at), col(Outgoing.id))
            .limit(MERGED_ANSWERS if kind == Kind.ANSWER else 1),
        )
        return _Turn(binding, until, messages=found.all())


async def _give_up(work: Work, binding: Binding) -> None:
    """Drop what came too late, and all of a binding that was removed."""
    late = select(Outgoing).where(Outgoing.binding_id == binding.id, Outgoing.state == OutgoingState.QUEUED)
    reason = REMOVED
    if binding.state == BindingState.ACTIVE:
        late, reason = late.where(Outgoing.expires_at <= work.now), TOO_LATE
    else:
        await announcements.forget_news(work, binding.id)
    for row in (await work.session.exec(late.limit(BATCH))).all():
        await _drop(work, row, reason)


async def _keep_quiet(work: Work, binding: Binding, community: Community) -> None:
    """Put off news and broadcasts in quiet hours; a community that dissolved has no news."""
    if community.state != CommunityState.OPEN:
        await announcements.forget_news(work, binding.id)
    until = next_allowed(work.now, community.quiet_from, community.quiet_to, ZoneInfo(community.timezone))
    if until > work.now:
        await announcements.put_off(work, binding.id, until)
        await work.session.exec(
            update(Outgoing)
            .where(
                col(Outgoing.binding_id) == binding.id,
                col(Outgoing.push_id).is_not(None),
                col(Outgoing.state) == OutgoingState.QUEUED,
            )
            .values(due_at=until)
            .execution_options(synchronize_session=False),
        )


async def _find_due(work: Work, robot: Robot) -> dict[Kind, datetime]:
    """What a robot has to say, and since when."""
    due: dict[Kind, datetime | None] = {}
    for kind in (Kind.ANSWER, Kind.PUSH):
        oldest = await work.session.exec(
            select(func.min(Outgoing.due_at)).where(*_queued(robot.binding_id, work.now, kind))
        )
        due[kind] = oldest.one()
    due[Kind.NEWS] = await announcements.news_since(work.session, robot)
    return {kind: since for kind, since in due.items() if since is not None and since <= work.now}


async def _say(state: State, turn: _Turn) -> str | None:
    """Call the platform; returns the id to change the message by, if that is possible. Raises `ChatError`."""
    platform, credentials = PLATFORMS[turn.binding.platform], credentials_of(state, turn.binding)
    to, card = await _prepare(state, turn)
    http = state.chat_http.to(platform.hosts)
    if turn.news is not None and turn.news.edits is not None:
        await platform.edit(http, credentials, to, turn.news.edits, card)
        return turn.news.edits
    message_id = await platform.send(http, credentials, to, card)
    return message_id if platform.can_edit else None


async def _prepare(state: State, turn: _Turn) -> tuple[Destination, Card]:
    """Where and what to say. Where many wait for answers that everybody in the chat sees, they get one together."""
    here = turn.binding.chat_id
    if turn.news is not None:
        return Destination(here or ""), await announcements.render(state, turn.binding, turn.news)
    turn.used = list(turn.messages[:1])
    first, *others = [_unsealed(state, row) for row in turn.messages]
    together = [turn.messages[0]], [first]
    for row, said in zip(turn.messages[1:], others, strict=True):
        if said.to.chat_id == here and said.to.only_to is None:
            together[0].append(row)
            together[1].append(said)
    if len(together[0]) <= BURST or first.to.chat_id != here or first.to.only_to is not None:
        return first.to, first.card
    turn.used = together[0]
    return together[1][-1].to, _merged([said.card for said in together[1]], Tongue(turn.binding.language))


def _merged(cards: Sequence[Card], tongue: Tongue) -> Card:
    buttons = dict.fromkeys(button for card in cards for button in card.buttons)
    return Card(
        title=tongue.say(f"{len(cards)} 条回复", f"{len(cards)} answers"),
        lines=tuple(": ".join((card.title, *card.lines[:1])) for card in cards),
        buttons=tuple(buttons)[:MERGED_BUTTONS],
    )


async def _keep_said(work: Work, turn: _Turn, message_id: str | None) -> None:
    for row in turn.used:
        await work.advance(OUTGOING_TRANSITIONS, row, OutgoingState.SENT, content="", ended_at=work.now)
    if turn.news is None:
        await _release(work, turn)
    else:
        await _release(work, turn, announced_at=work.now)
        await announcements.mark_said(work, turn.binding.id, turn.news, message_id)
    if turn.binding.last_error is not None:
        await work.session.exec(
            update(Binding)
            .where(col(Binding.id) == turn.binding.id)
            .values(failed_at=None, last_error=None)
            .execution_options(synchronize_session=False),
        )


async def _keep_refusal(state: State, work: Work, turn: _Turn, error: ChatError) -> None:
    """Say it elsewhere, or in a new message, if that is all that was refused; otherwise not at all, and show its
    operators why.
    """
    await _release(work, turn)
    if isinstance(error, ChatMoved) and await _follow_chat(state, work, turn, error.chat_id):
        return
    if turn.news is not None and turn.news.edits is not None:
        await announcements.forget_message(work, turn.binding.id, turn.news)
        return
    reason = str(error)[:REASON_LENGTH]
    for row in turn.used:
        await _drop(work, row, reason)
    if turn.news is not None:
        await announcements.mark_said(work, turn.binding.id, turn.news, None)
    await _show_failure(work, turn.binding, reason)


async def _wait(work: Work, turn: _Turn, reason: str, retry_after: float | None) -> None:
    """Leave the platform alone for a while; what was to be said is said then, unless it is too late."""
    robot = await work.session.get_one(Robot, turn.binding.id)
    failures = robot.failures + 1
    resumes_at = max(robot.next_at, work.now + pause(failures, retry_after))
    await _release(work, turn, failures=failures, next_at=resumes_at)
    if failures >= UNREACHABLE_AFTER:
        await _show_failure(work, turn.binding, reason[:REASON_LENGTH])


async def _release(work: Work, turn: _Turn, *, failures: int = 0, **values: Any) -> None:
    """Give the robot back, unless its lease ran out and somebody else has it."""
    await work.session.exec(
        update(Robot)
        .where(col(Robot.binding_id) == turn.binding.id, col(Robot.busy_until) == turn.until)
        .values(busy_until=None, failures=failures, **values)
        .execution_options(synchronize_session=False),
    )


async def _show_failure(work: Work, binding: Binding, reason: str) -> None:
    """Show operators why nothing can be said; an event tells them when that begins."""
    failure = {"failed_at": work.now, "last_error": reason}
    begun = await work.session.exec(
        update(Binding)
        .where(col(Binding.id) == binding.id, col(Binding.last_error).is_(None))
        .values(failure)
        .returning(col(Binding.id))
        .execution_options(synchronize_session=False),
    )
    if begun.first() is not None:
        work.record("binding.failing", binding.id, community_id=binding.community_id, reason=reason)
        return
    await work.session.exec(
        update(Binding)
        .where(col(Binding.id) == binding.id)
        .values(failure)
        .execution_options(synchronize_session=False)
    )


async def _follow_chat(state: State, work: Work, turn: _Turn, chat_id: str) -> bool:
    """Speak where the chat goes on, what was to be said first; False when another binding speaks there."""
    binding = await work.session.get_one(Binding, turn.binding.id)
    try:
        await take_chat(work, binding, chat_id)
    except ChatTaken:
        return False
    for row in turn.used:
        said = _unsealed(state, row)
        content = _sealed(state, row.id, _Said(replace(said.to, chat_id=chat_id), said.card))
        await work.session.exec(
            update(Outgoing)
            .where(col(Outgoing.id) == row.id, col(Outgoing.state) == OutgoingState.QUEUED)
            .values(content=content)
            .execution_options(synchronize_session=False),
        )
    return True


async def _drop(work: Work, row: Outgoing, reason: str) -> None:
    await work.advance(
        OUTGOING_TRANSITIONS, row, OutgoingState.DROPPED, content="", ended_at=work.now, reason=reason
    )


def _queued(binding_id: str, now: datetime, kind: Kind) -> list[ColumnElement[bool]]:
    """Which messages of a kind are due."""
    of_kind = col(Outgoing.push_id).is_(None) if kind == Kind.ANSWER else col(Outgoing.push_id).is_not(None)
    return [
        col(Outgoing.binding_id) == binding_id,
        col(Outgoing.state) == OutgoingState.QUEUED,
        col(Outgoing.due_at) <= now,
        of_kind,
    ]


def _sealed(state: State, id_: str, said: _Said) -> str:
    return seal(state.settings.key_for(PURPOSE), _SAID.dump_json(said).decode(), f"outgoing {id_}")


def _unsealed(state: State, row: Outgoing) -> _Said:
    return _SAID.validate_json(unseal(state.settings.key_for(PURPOSE), row.content, f"outgoing {row.id}"))
