"""Bindings of chats: made by operators, with secrets that are kept sealed and shown to nobody."""

import json
import re
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from app.domain.bindings import BINDING_TRANSITIONS, BindingState, PlatformName, sender_provider
from app.domain.commands import Verb
from app.domain.errors import BindingNotFound, ChatTaken, ChatUnknown, CommunityNotFound, InvalidTerms
from app.domain.identities import Login
from app.gateways.chat.platform import Button, Card, ChatError, ChatPlatform, Credentials, Destination
from app.gateways.chat.platforms import PLATFORMS
from app.gateways.sealing import seal, unseal
from app.models import Binding, Community, new_id
from app.schemas.bindings import BindingCreate, BindingPublic, BindingTest, BindingUpdate
from app.schemas.fields import Page
from app.services.locks import lock_binding
from app.services.pages import read_page
from app.services.tongues import Tongue
from app.services.transactions import Work, transaction
from app.state import State

PURPOSE = "chat credentials"
MAX_ACTIVE = 2
"""Secrets of one name that may be active at a time."""
MAX_RESULT = 200


async def create_binding(state: State, body: BindingCreate) -> BindingPublic:
    """Bind a chat to a community. Raises `CommunityNotFound`, `ChatTaken`, and `InvalidTerms` for credentials that
    are none of this platform's.
    """
    platform = PLATFORMS[body.platform]
    credentials = {name: (secret,) for name, secret in body.credentials.items()}
    check_credentials(platform, credentials)
    async with transaction(state, state.clock()) as work:
        if await work.session.get(Community, body.community_id) is None:
            raise CommunityNotFound
        id_ = new_id("bnd")
        row = Binding(
            id=id_,
            **body.model_dump(exclude={"credentials", "chat_id"}),
            credentials=_sealed(state, id_, credentials),
            state=BindingState.ACTIVE,
            created_at=work.now,
        )
        work.session.add(row)
        await work.session.flush()
        work.record("binding.created", row.id, states=(None, row.state), community_id=row.community_id)
        if body.chat_id is not None:
            await take_chat(work, row, body.chat_id)
        return _public(state, row)


async def list_bindings(
    state: State, community_id: str | None, after: str | None, limit: int
) -> Page[BindingPublic]:
    """Bindings that are active, newest first, of all communities or one."""
    statement = select(Binding).where(Binding.state == BindingState.ACTIVE)
    if community_id is not None:
        statement = statement.where(Binding.community_id == community_id)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Binding, statement, after, limit)
    return Page(items=[_public(state, row) for row in rows], next=following)


async def get_binding(state: State, binding_id: str) -> BindingPublic:
    """A binding. Raises `BindingNotFound`, also for one that was removed."""
    return _public(state, await find_active(state, binding_id))


async def update_binding(state: State, binding_id: str, body: BindingUpdate) -> BindingPublic:
    """Change where it speaks and how, and rotate its secrets. Raises `BindingNotFound`, `ChatTaken`,
    `InvalidTerms`.
    """
    async with transaction(state, state.clock()) as work:
        row = await _lock(work, binding_id)
        credentials = _rotated(PLATFORMS[row.platform], credentials_of(state, row), body)
        row.credentials = _sealed(state, row.id, credentials)
        row.language = body.language or row.language
        work.session.add(row)
        await work.session.flush()
        if body.chat_id is not None:
            await take_chat(work, row, body.chat_id)
        work.record("binding.changed", row.id, community_id=row.community_id)
        return _public(state, row)


async def remove_binding(state: State, binding_id: str) -> None:
    """Listen and speak no more, and forget the secrets. Raises `BindingNotFound`."""
    async with transaction(state, state.clock()) as work:
        row = await work.session.get(Binding, binding_id)
        if row is None:
            raise BindingNotFound
        before = row.state
        moved = await work.advance(
            BINDING_TRANSITIONS, row, BindingState.REMOVED, credentials="", removed_at=work.now
        )
        if moved is None:
            raise BindingNotFound
        work.record("binding.removed", row.id, states=(before, moved.state), community_id=row.community_id)


async def try_out(state: State, binding_id: str) -> BindingTest:
    """Say something in the chat, and keep what came of it. Raises `BindingNotFound`, `ChatUnknown`,
    `RateLimited`.
    """
    row = await find_active(state, binding_id)
    platform, credentials = PLATFORMS[row.platform], credentials_of(state, row)
    if row.chat_id is None:
        raise ChatUnknown
    state.binding_tests.count(binding_id)
    try:
        http = state.chat_http.to(platform.hosts)
        await platform.send(http, credentials, Destination(row.chat_id), _test_card(Tongue(row.language)))
        answer = BindingTest(sent=True, result="The platform has taken the test card 平台已接收测试卡片")
    except ChatError as error:
        answer = BindingTest(sent=False, result=f"{error}"[:MAX_RESULT])
    async with transaction(state, state.clock()) as work:
        row = await _lock(work, binding_id)
        row.tested_at, row.test_result = work.now, answer.result
        work.session.add(row)
    return answer


async def take_chat(work: Work, row: Binding, chat_id: str) -> None:
    """Have a binding speak in a chat. Raises `ChatTaken` when another one does."""
    taken = await work.session.exec(
        select(Binding.id).where(
            Binding.platform == row.platform,
            Binding.chat_id == chat_id,
            Binding.state == BindingState.ACTIVE,
            Binding.id != row.id,
        ),
    )
    if taken.first() is not None:
        raise ChatTaken
    row.chat_id = chat_id
    work.session.add(row)
    try:
        await work.session.flush()
    except IntegrityError as error:  # at this very moment
        raise ChatTaken from error


async def find_active(state: State, binding_id: str) -> Binding:
    """A binding that listens and speaks. Raises `BindingNotFound`."""
    async with state.database.snapshot() as session:
        row = await session.get(Binding, binding_id)
    if row is None or row.state != BindingState.ACTIVE:
        raise BindingNotFound
    return row


def credentials_of(state: State, row: Binding) -> Credentials:
    """The secrets of an active binding, each newest first."""
    text = unseal(state.settings.key_for(PURPOSE), row.credentials, f"binding {row.id}")
    return {name: tuple(secrets) for name, secrets in json.loads(text).items()}


def provider_of(state: State, row: Binding) -> str:
    """The provider by which senders there are known. Where the credentials do not say whose users they are, they
    are this binding's alone; users of our own WeChat app are those who log in with it.
    """
    known_by = PLATFORMS[row.platform].users_of
    if not known_by:
        return sender_provider(row.platform, "")
    (whose, *_) = credentials_of(state, row).get(known_by, (row.id,))
    if row.platform == PlatformName.WECHAT and whose == state.settings.wechat_app_id:
        return Login.WECHAT
    return sender_provider(row.platform, whose)


def check_credentials(platform: ChatPlatform, credentials: Mapping[str, Sequence[str]]) -> None:
    """Refuse what a platform does not know, misses, or could not use. Raises `InvalidTerms`, which repeats no
    secret.
    """
    fields = {one.name: one for one in platform.credentials}
    for name in credentials:
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise InvalidTerms(field="credentials", reason=f"{name} is none of {platform.name}: {known}")
        if any(re.fullmatch(fields[name].pattern, secret) is None for secret in credentials[name]):
            raise InvalidTerms(field="credentials", reason=f"{name} does not look like {fields[name].meaning}")
    for name, one in fields.items():
        if one.required and name not in credentials:
            raise InvalidTerms(field="credentials", reason=f"{name} is missing: {one.meaning}")


def _rotated(platform: ChatPlatform, now: Credentials, body: BindingUpdate) -> Credentials:
    """The secrets as they are after a change."""
    rotate = {one.name for one in platform.credentials if one.rotates}
    changed = dict(now)
    for name, secret in (body.credentials or {}).items():
        before = tuple(old for old in now.get(name, ()) if old != secret)
        changed[name] = (secret, *(before if name in rotate else ()))[:MAX_ACTIVE]
    for name in body.retire:
        if name not in now:
            raise InvalidTerms(field="retire", reason=f"there is no {name} to retire")
        changed[name] = changed[name][:1]
    check_credentials(platform, changed)
    return changed


def _sealed(state: State, id_: str, credentials: Credentials) -> str:
    return seal(state.settings.key_for(PURPOSE), json.dumps(credentials), f"binding {id_}")


async def _lock(work: Work, binding_id: str) -> Binding:
    row = await lock_binding(work.session, binding_id)
    if row is None or row.state != BindingState.ACTIVE:
        raise BindingNotFound
    return row


def _test_card(tongue: Tongue) -> Card:
    command = tongue.command(Verb.HELP)
    return Card(
        title=tongue.say("开团测试", "A test of Kaituan"),
        lines=(tongue.say("看到这条消息，说明绑定成功。", "Who can read this knows that the binding works."),),
        buttons=(Button(command, command=command),),
    )


def _public(state: State, row: Binding) -> BindingPublic:
    return BindingPublic(
        **row.model_dump(exclude={"credentials", "state", "removed_at"}),
        hook_url=f"{state.settings.public_url.rstrip('/')}/hooks/chat/{row.platform}/{row.id}",
        secrets={name: len(secrets) for name, secrets in credentials_of(state, row).items()},
    )
