"""Guards of chats: who binds them, who is heard and who speaks, and that what is said is done once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from sqlmodel import select

from app.demo.platforms.slack import SlackStandIn
from app.demo.platforms.telegram import TelegramStandIn
from app.domain.bindings import Language, PlatformName
from app.domain.commands import MAX_TEXT, parse
from app.domain.errors import (
    BindingNotFound,
    Busy,
    ChatTaken,
    ChatUnknown,
    CommunityNotFound,
    InvalidTerms,
    LinkNotFound,
    OrderNotHeld,
    RateLimited,
    SignatureInvalid,
    TokenInvalid,
)
from app.domain.messages import MAX_ATTEMPTS, MessageState
from app.gateways.chat.platform import Card, ChatMessage
from app.limiting import Limiter
from app.models import Binding, Identity, Message
from app.schemas.bindings import BindingCreate, BindingUpdate
from app.services import bindings, chat_numbers, claims, commands, conversations, links, messages
from app.services.commands import Asking, Instead
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.promises.chat import Chat, bind, new_number, playing
from tests.service import BARGAIN, Member

BINDINGS, COMMANDS, TALK, LINKS, MESSAGES = (
    f"app.services.{name}" for name in ("bindings", "commands", "conversations", "links", "messages")
)
TELEGRAM = PlatformName.TELEGRAM
NOTHING = "0" * 32
KEY = b"k" * 32


def entered(platform: str = TELEGRAM, **changes: str) -> dict[str, str]:
    stand_in = TelegramStandIn() if platform == TELEGRAM else SlackStandIn()
    return {name: secrets[0] for name, secrets in stand_in.credentials().items()} | changes


async def bound(world: World, community_id: str | None = None, chat_id: str | None = None) -> Binding:
    """A new binding of a community, of the one that sells to us unless another is named."""
    body = BindingCreate(
        platform=TELEGRAM,
        community_id=community_id or str(world.sale.body["community_id"]),
        chat_id=chat_id,
        language=Language.ZH,
        credentials=entered(),
    )
    return await world.row(Binding, (await bindings.create_binding(world.state, body)).id)


@asynccontextmanager
async def talking(world: World, stand_in: TelegramStandIn | SlackStandIn | None = None) -> AsyncIterator[Chat]:
    """A chat of a community of its own."""
    stand_in = stand_in or TelegramStandIn()
    async with playing(world.service, stand_in):
        binding = await bind(world.service, stand_in, (await world.service.community())["id"])
        yield Chat(world.service, stand_in, binding, new_number())


@contextmanager
def limited(limiter: Limiter) -> Iterator[None]:
    """Let a limit count that tests do without."""
    limiter.rate = 1 / 3600
    try:
        yield
    finally:
        limiter.rate = 0


def spoken(world: World, row: Binding, *, is_private: bool = True) -> Message:
    """A message that was said."""
    return Message(
        binding_id=row.id,
        message_id=uuid4().hex,
        chat_id="1",
        sender_id="1",
        is_private=is_private,
        state=MessageState.RECEIVED,
        created_at=world.service.clock(),
    )


async def ask(world: World, row: Binding, text: str, member: Member | None = None, *, private: bool = True) -> Card:
    """What is said to a command, in the chat of a binding."""
    command = parse(text, world.state.settings.key_for(links.PURPOSE))
    assert command is not None
    asking = Asking(world.state, row, spoken(world, row, is_private=private), row.platform, command)
    found = await links.find_linked(world.state, row.platform, await speaks_as(world, member)) if member else None
    return await commands.do(asking, found)


async def speaks_as(world: World, member: Member) -> str:
    """What the platform calls a member."""
    async with world.work() as work:
        found = await work.session.exec(
            select(Identity.subject).where(Identity.member_id == member.id, Identity.provider == TELEGRAM)
        )
        if (known := found.first()) is not None:
            return str(known)
        work.session.add(
            Identity(provider=TELEGRAM, subject=new_number(), member_id=member.id, created_at=work.now)
        )
    return await speaks_as(world, member)


async def number(world: World, row: Binding, subject: str) -> int:
    return (await chat_numbers.number_all(world.state, row.community_id, [subject]))[subject]


async def heard(world: World, row: Binding) -> int:
    return await world.count("messages WHERE binding_id = :id", id=row.id)


@notices(
    *cuts(
        "app.domain.commands.parse",
        "len(text) > MAX_TEXT",
        "not 1 <= quantity <= MAX_QUANTITY",
        "any((found is not None and found > MAX_NUMBER for found in numbers))",
    )
)
async def a_command_is_short_and_its_numbers_are_small(_: World) -> None:
    for text in ("开团" + " " * MAX_TEXT, "开团 x0", "开团 x101", "参团 9999999999"):
        assert parse(text, KEY) is None


@notices(*cuts(f"{BINDINGS}.create_binding", "await work.session.get(Community, body.community_id) is None"))
async def a_binding_is_of_a_community(world: World) -> None:
    with pytest.raises(CommunityNotFound):
        await bound(world, f"com_{NOTHING}")


@notices(
    *cuts(
        f"{BINDINGS}.take_chat",
        "taken.first() is not None",
        down=(Cut(f"{BINDINGS}.take_chat", "raise ChatTaken from error", "raise"),),
    )
)
async def a_chat_has_one_robot_of_ours(world: World) -> None:
    chat_id = uuid4().hex
    await bound(world, chat_id=chat_id)
    with pytest.raises(ChatTaken):
        await bound(world, chat_id=chat_id)


@notices(
    Cut(
        f"{BINDINGS}.remove_binding",
        "work.advance(BINDING_TRANSITIONS",
        "work.advance(dict.fromkeys(BindingState, frozenset(BindingState))",
    ),
    *cuts(f"{BINDINGS}.find_active", "row.state != BindingState.ACTIVE"),
    *cuts(f"{BINDINGS}._lock", "row.state != BindingState.ACTIVE"),
)
async def what_was_removed_is_gone(world: World) -> None:
    row = await bound(world)
    await bindings.remove_binding(world.state, row.id)
    for attempt in (
        lambda: bindings.remove_binding(world.state, row.id),
        lambda: bindings.get_binding(world.state, row.id),
        lambda: bindings.update_binding(world.state, row.id, BindingUpdate(language=Language.EN)),
    ):
        with pytest.raises(BindingNotFound):
            await attempt()


@notices(
    *cuts(f"{BINDINGS}.try_out", "row.chat_id is None"),
    Cut(f"{BINDINGS}.try_out", "state.binding_tests.count(binding_id)", "None"),
)
async def a_test_needs_a_chat_and_some_patience(world: World) -> None:
    async with talking(world) as chat:
        id_ = chat.binding["id"]
        with pytest.raises(ChatUnknown):
            await bindings.try_out(world.state, id_)
        await bindings.update_binding(world.state, id_, BindingUpdate(chat_id=f"-{new_number()}"))
        with limited(world.state.binding_tests):
            for _ in range(3):
                await bindings.try_out(world.state, id_)
            with pytest.raises(RateLimited):
                await bindings.try_out(world.state, id_)


@notices(
    *cuts(
        f"{BINDINGS}.check_credentials",
        "name not in fields",
        "any((re.fullmatch(fields[name].pattern, secret) is None for secret in credentials[name]))",
        "one.required and name not in credentials",
    ),
    *cuts(f"{BINDINGS}._rotated", "name not in now"),
)
async def credentials_are_those_of_the_platform(world: World) -> None:
    row = await bound(world)
    without = {name: secret for name, secret in entered().items() if name != "bot_token"}
    for credentials in (entered(corp_id="ww1"), entered(bot_token="a secret"), without):
        body = BindingCreate(platform=TELEGRAM, community_id=row.community_id, credentials=credentials)
        with pytest.raises(InvalidTerms):
            await bindings.create_binding(world.state, body)
    with pytest.raises(InvalidTerms):
        await bindings.update_binding(world.state, row.id, BindingUpdate(retire=["nothing"]))


@notices(Cut("app.services.locks.lock_binding", "_locking(", "(lambda statement, **_: statement)("))
async def two_who_rotate_at_once_rotate_both(world: World) -> None:
    row = await bound(world)
    one, other = (
        bindings.update_binding(world.state, row.id, BindingUpdate(credentials={name: entered()[name]}))
        for name in ("secret_token", "bot_token")
    )
    before = bindings.credentials_of(world.state, row)
    async with world.meanwhile("flush", other):
        await one
    now = bindings.credentials_of(world.state, await world.row(Binding, row.id))
    assert all(now[name] != before[name] for name in ("secret_token", "bot_token"))


@notices(
    *cuts(f"{LINKS}.create_code", "await find_member(work.session, member_id) is None"),
    *cuts(f"{LINKS}.use_code", "row.member_id is None"),
    *cuts(f"{LINKS}.check_token", "row.provider is None"),
    *cuts(f"{LINKS}.use_token", "row.provider is None"),
)
async def a_code_is_no_link_and_a_link_no_code(world: World) -> None:
    with pytest.raises(TokenInvalid):
        await links.create_code(world.state, f"mem_{NOTHING}")
    code = (await links.create_code(world.state, world.me.id)).code
    token = (await links.create_link(world.state, TELEGRAM, new_number())).rsplit("/", 1)[-1]
    for attempt in (
        lambda: links.use_code(world.state, TELEGRAM, new_number(), links.digest_of(world.state, token)),
        lambda: links.check_token(world.state, code),
        lambda: links.use_token(world.state, world.me.id, code),
    ):
        with pytest.raises(LinkNotFound):
            await attempt()


@notices(
    Cut(f"{LINKS}._use", "col(LinkCode.digest) == digest", "True"),
    Cut(f"{LINKS}._use", "col(LinkCode.used_at).is_(None)", "True"),
    Cut(f"{LINKS}._use", "col(LinkCode.expires_at) > work.now", "True"),
    *cuts(f"{LINKS}._use", "used.first() is None"),
)
async def a_code_is_good_once_and_for_a_while(world: World) -> None:
    first, second, late = [await links.create_code(world.state, world.me.id) for _ in range(3)]

    async def use(code: str) -> None:
        await links.use_code(world.state, TELEGRAM, new_number(), links.digest_of(world.state, code))

    await use(first.code)
    with pytest.raises(LinkNotFound):
        await use(first.code)
    await use(second.code)
    world.service.clock.advance(601)
    with pytest.raises(LinkNotFound):
        await use(late.code)


@notices(
    Cut(f"{LINKS}.use_code", "known is not None", "True"),
    Cut(f"{LINKS}.use_code", "known.id == row.member_id", "True"),
)
async def a_code_said_again_is_good_for_who_is_linked_by_it(world: World) -> None:
    for other in (None, world.friend):
        digest = links.digest_of(world.state, (await links.create_code(world.state, world.me.id)).code)
        sender = new_number()
        await links.use_code(world.state, TELEGRAM, sender, digest)
        async with world.work() as work:
            known = await work.session.get_one(Identity, (TELEGRAM, sender))
            await work.session.delete(known)
        if other is not None:
            async with world.work() as work:
                work.session.add(
                    Identity(provider=TELEGRAM, subject=sender, member_id=other.id, created_at=work.now)
                )
        with pytest.raises(LinkNotFound):
            await links.use_code(world.state, TELEGRAM, sender, digest)


@notices(*cuts("app.limiting.Limiter.counting", "(seconds := self.wait(key))"))
async def nobody_guesses_codes(world: World) -> None:
    row = await bound(world)
    try:
        for _ in range(5):
            with pytest.raises(LinkNotFound):
                await ask(world, row, "绑定 ABCD2345")
        with pytest.raises(RateLimited):
            await ask(world, row, "绑定 ABCD2345")
    finally:
        world.state.link_misses._earned_at.clear()


@notices(
    *cuts(
        f"{MESSAGES}.receive",
        "inbound.replay_key is not None and (not await _is_new(work, binding.id, inbound.replay_key))",
    ),
    *cuts(f"{MESSAGES}._find", "BINDING_ID.fullmatch(binding_id) is None"),
)
async def a_webhook_is_taken_once_and_by_its_binding(world: World) -> None:
    async with talking(world, SlackStandIn()) as chat:
        said = chat.message(new_number(), "帮助", private=True)
        await messages.receive(world.state, "slack", chat.binding["id"], said)
        for id_ in (chat.binding["id"], "bnd_\x00"):
            with pytest.raises(SignatureInvalid):
                await messages.receive(world.state, "slack", id_, said)


@notices(
    *cuts(f"{MESSAGES}._keep", "not is_for_us(binding, message, command)"),
    *cuts(f"{MESSAGES}._keep", "allowance is not None and allowance.retry_seconds"),
)
async def what_is_said_to_others_is_not_kept_nor_what_never_ends(world: World) -> None:
    async with talking(world) as chat:
        row = await world.row(Binding, chat.binding["id"])
        await chat.say("7", "今天天气不错")
        assert await heard(world, row) == 0
        with limited(world.state.chat_senders):
            for _ in range(12):
                await chat.say("7", "帮助")
        assert await heard(world, row) == 10


@notices(
    *cuts(
        f"{MESSAGES}.is_for_us",
        "not (_fits(message.chat_id, MAX_ID) and _fits(message.sender_id, MAX_SENDER))",
        "message.reply_token is not None and"
        " (not (_fits(message.reply_token, MAX_TOKEN) and message.reply_token.isascii()))",
    ),
    *cuts(f"{MESSAGES}.read_reply_token", "message.reply_token is None"),
)
async def what_cannot_be_kept_is_no_name(world: World) -> None:
    row = await bound(world)
    command = parse("帮助", KEY)
    for fields in (
        {"chat_id": "\x00"},
        {"sender_id": "x" * 121},
        {"reply_token": "é"},
        {"reply_token": "x" * 2001},
    ):
        values = {"message_id": "1", "chat_id": "1", "sender_id": "1", "text": "帮助"} | fields
        said = ChatMessage(**values, sent_at=world.service.clock(), is_private=True)
        assert not messages.is_for_us(row, said, command)
    assert messages.read_reply_token(world.state, spoken(world, row)) is None


@notices(
    *cuts(f"{COMMANDS}._sales", "not offers"),
    *cuts(f"{COMMANDS}._list_groups", "not group_ids"),
)
async def where_nothing_is_on_that_is_said(world: World) -> None:
    row = await bound(world, (await world.service.community())["id"])
    for text in ("活动", "进度"):
        with pytest.raises(Instead):
            await ask(world, row, text)


@notices(
    *cuts(f"{COMMANDS}._show", "not subject.startswith('grp_')"),
    *cuts(f"{COMMANDS}._wanted_offer", "not subject.startswith('off_')"),
    *cuts(f"{COMMANDS}._wanted_group", "not subject.startswith('grp_')"),
    *cuts(f"{COMMANDS}._wanted_bargain", "not subject.startswith('bgn_')"),
    *cuts(f"{COMMANDS}._offer_in", "not subject.startswith('off_')"),
)
async def a_number_is_of_what_is_asked_for(world: World) -> None:
    row, held = await bound(world), await world.held()
    group, offer = await number(world, row, held.group_id), await number(world, row, world.sale.offer)
    for text in (f"进度 {offer}", f"开团 {group}", f"参团 {offer}", f"砍一刀 {group}", f"参团 {group} {group}"):
        with pytest.raises(Instead):
            await ask(world, row, text, world.friend)


@notices(
    *cuts(f"{COMMANDS}._wanted_offer", "len(offers) != 1"),
    *cuts(f"{COMMANDS}._wanted_group", "len(running) != 1"),
    *cuts(f"{COMMANDS}._wanted_bargain", "len(running) != 1"),
    *cuts(f"{COMMANDS}._leave", "asking.command.number is None"),
)
async def where_there_are_several_one_is_named(world: World) -> None:
    row = await bound(world)
    await world.held()
    await world.held()
    sale = await world.service.sale(**BARGAIN, community_id=row.community_id)
    for member in (world.me, world.friend):
        await member.bargain(sale)
    for text, member in (("开团", world.members[5]), ("参团", world.members[5]), ("砍一刀", world.members[6])):
        with pytest.raises(Instead):
            await ask(world, row, text, member)
    with pytest.raises(Instead):
        await ask(world, row, "退团", world.me)


@notices(*cuts(f"{COMMANDS}._leave", "refusal.state != OrderState.CANCELLED"))
async def who_has_paid_does_not_leave(world: World) -> None:
    row, held = await bound(world), await world.held()
    await world.pay(held)
    with pytest.raises(OrderNotHeld):
        await ask(world, row, f"退团 {await number(world, row, held.group_id)}", held.member)


@notices(
    Cut(f"{COMMANDS}._open", "asking.state.member_claims.count(member.id)", "None"),
    *cuts("app.limiting.Limiter.count", "allowance is not None and allowance.retry_seconds"),
)
async def a_member_claims_so_often(world: World) -> None:
    row, limiter = await bound(world), world.state.member_claims
    offer = await number(world, row, world.sale.offer)
    rate, burst = limiter.rate, limiter.burst
    limiter.rate, limiter.burst = 1 / 3600, 1
    try:
        await ask(world, row, f"开团 {offer}", world.friend)
        with pytest.raises(RateLimited):
            await ask(world, row, f"开团 {offer}", world.friend)
    finally:
        limiter.rate, limiter.burst = rate, burst
        limiter._earned_at.clear()


@notices(
    Cut(
        f"{TALK}._answer",
        "work.advance(MESSAGE_TRANSITIONS",
        "work.advance(dict.fromkeys(MessageState, frozenset(MessageState))",
    )
)
async def two_workers_answer_once(world: World) -> None:
    async with talking(world) as chat:
        id_ = chat.binding["id"]
        await chat.say("7", "帮助")
        now = world.service.clock()
        rival = conversations.work_on(world.state, id_, now)
        async with world.meanwhile("UPDATE messages", rival):
            await conversations.work_on(world.state, id_, now)
        assert await world.count("outgoing WHERE binding_id = :id", id=id_) == 1


@notices(*cuts(f"{TALK}._work_on", "may_pass and await _try_again(state, message)"))
async def what_may_pass_is_tried_again(world: World) -> None:
    async with talking(world) as chat:
        id_ = chat.binding["id"]
        await world.service.sale(community_id=chat.binding["community_id"])
        await chat.link(world.me, new_number())
        who = await speaks_as(world, world.me)
        await chat.say(who, "开团")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(claims, "open_group", AsyncMock(side_effect=Busy()))
            await conversations.work_on(world.state, id_, world.service.clock())
        assert await world.count("messages WHERE binding_id = :id AND state = 'received'", id=id_) == 1


@notices(Cut(f"{TALK}._try_again", "col(Message.attempts) < MAX_ATTEMPTS", "True"))
async def nothing_is_tried_for_ever(world: World) -> None:
    async with talking(world) as chat:
        await chat.say("7", "帮助")
        async with world.database.snapshot() as session:
            found = await session.exec(select(Message).where(Message.binding_id == chat.binding["id"]))
            message = found.one()
        tries = [await conversations._try_again(world.state, message) for _ in range(MAX_ATTEMPTS + 1)]
        assert tries == [True] * MAX_ATTEMPTS + [False]
