"""Conversations: the messages of a chat worked on, and answered.

In the order they came; joins and cuts that follow each other, all at once. The answer is queued in the transaction
that moves the message on, so that there is one.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select

from app.domain.bindings import BindingState
from app.domain.commands import Command, Verb
from app.domain.errors import ChatTaken, KaituanError, UnavailableError
from app.domain.messages import MAX_ATTEMPTS, MESSAGE_TRANSITIONS, MessageState
from app.gateways.chat.platform import Card, Destination
from app.models import Binding, Member, Message
from app.services import links, robots
from app.services.bindings import provider_of, take_chat
from app.services.commands import Asking, Instead, do, refused
from app.services.messages import read_reply_token
from app.services.transactions import transaction
from app.state import State

log = logging.getLogger(__name__)
BATCH = 50
AT_ONCE = 20
"""Joins or cuts of one chat that are under way at the same time."""
TOGETHER = {Verb.JOIN, Verb.CUT}


async def work_on(state: State, binding_id: str, _now: datetime) -> bool:
    """Work on the oldest messages of a binding. True when any was answered."""
    async with state.database.snapshot() as session:
        binding = await session.get_one(Binding, binding_id)
        found = await session.exec(
            select(Message)
            .where(Message.binding_id == binding_id, Message.state == MessageState.RECEIVED)
            .order_by(col(Message.id))
            .limit(BATCH),
        )
        messages = found.all()
    if binding.chat_id is None:
        binding = await _find_chat(state, binding, messages)
    gate, answered = asyncio.Semaphore(AT_ONCE), 0

    async def run(message: Message) -> bool:
        async with gate:
            return await _work_on(state, binding, message)

    for some in _in_turn(messages):
        answered += sum(await asyncio.gather(*map(run, some)))
    return answered > 0


def _in_turn(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Messages in their order; together, joins or cuts of different senders that follow each other."""
    some: list[Message] = []
    for message in messages:
        verb = None if message.command is None else message.command["verb"]
        alike = bool(some) and some[0].command is not None and some[0].command["verb"] == verb
        if some and not (alike and verb in TOGETHER and message.sender_id not in {one.sender_id for one in some}):
            yield some
            some = []
        some.append(message)
    if some:
        yield some


async def _find_chat(state: State, binding: Binding, messages: Sequence[Message]) -> Binding:
    """The binding, in the chat of the first command that was said in one; as it was, when another has that chat."""
    said = next((message for message in messages if not message.is_private), None)
    if said is None or binding.state != BindingState.ACTIVE:
        return binding
    with suppress(ChatTaken):
        async with transaction(state, state.clock()) as work:
            row = await work.session.get_one(Binding, binding.id)
            if row.chat_id is None:
                await take_chat(work, row, said.chat_id)
                work.record("binding.found_chat", row.id, community_id=row.community_id)
            return row
    return binding


async def _work_on(state: State, binding: Binding, message: Message) -> bool:
    """Do what a message says, and answer it. True when this call did."""
    here = message.is_private or message.chat_id == binding.chat_id
    if binding.state != BindingState.ACTIVE or not here:
        return await _answer(state, binding, message, None, None)
    provider = provider_of(state, binding)
    member = await links.find_linked(state, provider, message.sender_id)
    asking = Asking(state, binding, message, provider, _read(message, member))
    try:
        card = await do(asking, member)
        if asking.command.verb == Verb.LINK:
            member = await links.find_linked(state, provider, message.sender_id)
    except Instead as instead:
        card = instead.card
    except Exception as error:
        foreseen = isinstance(error, KaituanError)
        if not foreseen:
            log.exception("message %s", message.id)
        may_pass = not foreseen or isinstance(error, UnavailableError)
        if may_pass and await _try_again(state, message):
            return False
        if not isinstance(error, KaituanError):
            return await _answer(state, binding, message, member, None, MessageState.GIVEN_UP)
        card = refused(asking.tongue, error)
    return await _answer(state, binding, message, member, card)


def _read(message: Message, member: Member | None) -> Command:
    """What was said; of what we did not understand, what is most likely to be of use."""
    if message.command is None:
        return Command(Verb.LINK if member is None else Verb.HELP)
    return Command(**message.command | {"verb": Verb(message.command["verb"])})


async def _answer(
    state: State,
    binding: Binding,
    message: Message,
    member: Member | None,
    card: Card | None,
    target: MessageState = MessageState.ANSWERED,
) -> bool:
    """Move a message on, and queue its answer. False when another worker did."""
    # What is said in private must not be read by others, whatever way the platform takes.
    alone = message.sender_id if message.is_private else None
    to = Destination(message.chat_id, reply_token=read_reply_token(state, message), only_to=alone)
    forgotten = {"reply_token": None, "sender_id": "", "chat_id": ""}
    async with transaction(state, state.clock()) as work:
        member_id = None if member is None else member.id
        moved = await work.advance(MESSAGE_TRANSITIONS, message, target, member_id=member_id, **forgotten)
        if moved is None:
            return False
        if card is not None:
            robots.answer(state, work, binding.id, to, card)
    return True


async def _try_again(state: State, message: Message) -> bool:
    """Count an attempt. False when there were enough."""
    async with transaction(state, state.clock()) as work:
        counted = await work.session.exec(
            update(Message)
            .where(col(Message.id) == message.id, col(Message.attempts) < MAX_ATTEMPTS)
            .values(attempts=col(Message.attempts) + 1)
            .returning(col(Message.attempts)),
        )
        return counted.first() is not None
