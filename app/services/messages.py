"""What comes in from chats: checked, told from its repetitions, kept, and answered at once. The work is done later,
from the rows, by `services/commands.py`.
"""

import hashlib
import re
from contextlib import suppress
from dataclasses import asdict

from sqlmodel import col, select

from app.domain.bindings import BindingState
from app.domain.commands import Command, parse
from app.domain.errors import ChatTaken, SignatureInvalid
from app.domain.messages import MessageState
from app.gateways.chat.platform import ChatMessage, HookReply, HookRequest
from app.gateways.chat.platforms import PLATFORMS
from app.gateways.sealing import seal, unseal
from app.models import Binding, Message, Nonce, new_id
from app.services.bindings import credentials_of, take_chat
from app.services.links import PURPOSE as LINK_CODE
from app.services.locks import lock_binding
from app.services.transactions import Work, transaction
from app.state import State

PURPOSE = "reply token"
BINDING_ID = re.compile("bnd_[0-9a-f]{32}")
MAX_ID, MAX_SENDER, MAX_TOKEN = 200, 120, 2000
"""Characters of what platforms call chats; of senders; of what an answer is sent with."""


async def receive(state: State, platform_name: str, binding_id: str, request: HookRequest) -> HookReply:
    """Take in a webhook, once however often it comes; returns what the platform wants to hear.

    Raises `SignatureInvalid` for whatever is not in order, an unknown binding and a repeated nonce among it; then
    nothing has changed.
    """
    platform = PLATFORMS.get(platform_name)
    if platform is None:
        raise SignatureInvalid
    binding = await _find(state, platform_name, binding_id)
    if binding is None:
        raise SignatureInvalid
    now = state.clock()
    inbound = platform.read(credentials_of(state, binding), request, now)
    async with transaction(state, now) as work:
        if inbound.replay_key is not None and not await _is_new(work, binding.id, inbound.replay_key):
            raise SignatureInvalid
        if inbound.moved is not None:
            await _follow(work, binding, *inbound.moved)
        for message in inbound.messages:
            await _keep(state, work, binding, message)
    return inbound.reply


def read_reply_token(state: State, message: Message) -> str | None:
    """What an answer to a message must be sent with."""
    if message.reply_token is None:
        return None
    return unseal(state.settings.key_for(PURPOSE), message.reply_token, f"message {message.id}")


async def _find(state: State, platform_name: str, binding_id: str) -> Binding | None:
    if BINDING_ID.fullmatch(binding_id) is None:
        return None
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Binding).where(
                Binding.id == binding_id, Binding.platform == platform_name, Binding.state == BindingState.ACTIVE
            ),
        )
        return found.one_or_none()


async def _is_new(work: Work, binding_id: str, replay_key: str) -> bool:
    """Whether no webhook had this nonce, as far as we remember. The row is the proof: two at once are one."""
    added = await work.session.exec(
        work.database.insert_unless_there(Nonce)
        .values(binding_id=binding_id, digest=_digest(replay_key), seen_at=work.now)
        .returning(col(Nonce.digest)),
    )
    return added.first() is not None


async def _follow(work: Work, binding: Binding, before: str, after: str) -> None:
    """Go on where the chat of a binding goes on; not where another binding speaks already."""
    row = await lock_binding(work.session, binding.id)
    if row is not None and row.chat_id == before and _fits(after, MAX_ID):
        with suppress(ChatTaken):
            await take_chat(work, row, after)


async def _keep(state: State, work: Work, binding: Binding, message: ChatMessage) -> None:
    """Keep a message that is for us: a command in the chat of the binding, or anything in private."""
    command = parse(message.text, state.settings.key_for(LINK_CODE))
    if not is_for_us(binding, message, command):
        return
    allowance = state.chat_senders.ask(f"{binding.id} {message.sender_id}")
    if allowance is not None and allowance.retry_seconds:
        return
    id_ = new_id("msg")
    token = message.reply_token
    await work.session.exec(
        work.database.insert_unless_there(Message, ["binding_id", "message_id"]).values(
            id=id_,
            binding_id=binding.id,
            message_id=_digest(message.message_id),
            chat_id=message.chat_id,
            sender_id=message.sender_id,
            command=None if command is None else asdict(command),
            is_private=message.is_private,
            reply_token=None if token is None else seal(state.settings.key_for(PURPOSE), token, f"message {id_}"),
            state=MessageState.RECEIVED,
            attempts=0,
            created_at=work.now,
        ),
    )


def is_for_us(binding: Binding, message: ChatMessage, command: Command | None) -> bool:
    """Whether a message is said to us, and can be answered: what is no command is left alone where others talk."""
    if not (_fits(message.chat_id, MAX_ID) and _fits(message.sender_id, MAX_SENDER)):
        return False
    if message.reply_token is not None and not (
        _fits(message.reply_token, MAX_TOKEN) and message.reply_token.isascii()
    ):
        return False
    if message.is_private:
        return True
    return command is not None and binding.chat_id in {None, message.chat_id}


def _fits(name: str, length: int) -> bool:
    """Whether a platform's name for something can be kept as it is: what databases cannot keep is no name."""
    return 0 < len(name) <= length and name.isprintable()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
