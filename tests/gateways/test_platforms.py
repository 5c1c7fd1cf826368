"""What holds for every chat platform: who is believed, what is understood, and what is said."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.demo.platforms.stand_in import StandIn
from app.domain.errors import SignatureInvalid
from app.gateways.chat.platform import (
    Button,
    Card,
    ChatRefused,
    ChatUnavailable,
    Credentials,
    Destination,
    HookRequest,
    Inbound,
)
from tests.gateways.kinds import CARD, KINDS, NOW, Kind, answering, entered, heard, reaching, refuses, with_header

GROUP, PRIVATE = "-1009", "77"
WHO, NAME = "88", "小满"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def said(
    stand_in: StandIn, text: str = "开团 1", message_id: str = "501", *, is_private: bool = False
) -> HookRequest:
    chat = PRIVATE if is_private else GROUP
    return stand_in.say(chat, WHO, NAME, text, message_id, NOW, is_private=is_private)


def flipped(text: str) -> Iterator[str]:
    for at, letter in enumerate(text):
        for bit in range(8):
            yield text[:at] + chr(ord(letter) ^ 1 << bit) + text[at + 1 :]


# Coming in


def test_an_address_that_is_tried_out_answers_as_the_platform_wants(kind: Kind) -> None:
    stand_in = kind.stand_in()
    inbound = heard(kind, stand_in, stand_in.handshake(NOW))
    assert stand_in.check_handshake(inbound.reply)
    assert inbound.messages == ()


@pytest.mark.parametrize("is_private", [False, True])
def test_what_is_said_is_understood(kind: Kind, *, is_private: bool) -> None:
    stand_in = kind.stand_in()
    for text in ("开团 1", "join 3 & <b>", "🍵 参团"):
        (message,) = heard(kind, stand_in, said(stand_in, text, is_private=is_private)).messages
        assert message.text == text
        assert message.sender_id == WHO
        assert message.sender_name in {NAME, None}
        assert message.chat_id.removeprefix("C").removeprefix("D") == (PRIVATE if is_private else GROUP)
        assert message.is_private is is_private
        assert abs(message.sent_at - NOW) < timedelta(seconds=1)


def test_a_pressed_button_says_its_command(kind: Kind) -> None:
    stand_in = kind.stand_in()
    pressed = stand_in.press(GROUP, WHO, NAME, "参团 3", "502", NOW)
    (message,) = heard(kind, stand_in, pressed).messages
    assert (message.text, message.sender_id) == ("参团 3", WHO)
    assert not message.is_private


def test_a_repetition_has_the_same_id_and_nothing_else_has(kind: Kind) -> None:
    stand_in = kind.stand_in()
    ids = [
        heard(kind, stand_in, request).messages[0].message_id
        for request in (
            said(stand_in),
            said(stand_in),
            said(stand_in, message_id="502"),
            stand_in.press(GROUP, WHO, NAME, "开团 1", "503", NOW),
        )
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_replay_is_told_from_another_webhook(kind: Kind) -> None:
    stand_in = kind.stand_in()
    request = said(stand_in)
    keys = [heard(kind, stand_in, one).replay_key for one in (request, request, said(stand_in, message_id="502"))]
    assert keys[0] == keys[1]
    if kind.signs_body:
        assert None not in keys
        assert keys[1] != keys[2]
    else:
        assert set(keys) == {None}


def test_a_bit_that_was_turned_is_seen(kind: Kind) -> None:
    stand_in = kind.stand_in()
    for request in (said(stand_in), stand_in.press(GROUP, WHO, NAME, "参团 3", "502", NOW)):
        credentials = entered(stand_in)
        assert not refuses(kind, credentials, request)
        for name in kind.proof:
            for value in flipped(request.headers[name]):
                assert refuses(kind, credentials, with_header(request, name, value)), (name, value)
            assert refuses(kind, credentials, with_header(request, name, ""))
            without = {key: value for key, value in request.headers.items() if key != name}
            assert refuses(kind, credentials, replace(request, headers=without))
        if not kind.signs_body:
            continue
        for at in range(len(request.body)):
            body = bytearray(request.body)
            body[at] ^= 1 << at % 8
            assert refuses(kind, credentials, replace(request, body=bytes(body))), at
        assert refuses(kind, credentials, replace(request, body=request.body + b" "))
        assert refuses(kind, credentials, replace(request, body=request.body[:-1]))


def test_a_webhook_is_good_for_five_minutes(kind: Kind) -> None:
    stand_in = kind.stand_in()
    request, credentials = said(stand_in), entered(stand_in)
    for seconds in (-301, 301, 86_400):
        late = NOW + timedelta(seconds=seconds)
        assert refuses(kind, credentials, request, late) is kind.signs_body
    for seconds in (-299, 299):
        assert not refuses(kind, credentials, request, NOW + timedelta(seconds=seconds))


def test_a_secret_that_is_rotated_is_believed_until_it_is_taken_away(kind: Kind) -> None:
    stand_in, other = kind.stand_in(), kind.stand_in()
    rotating = [entry.name for entry in kind.platform.credentials if entry.rotates]
    request = said(stand_in)
    old, new = entered(stand_in), entered(other)
    for name in set(rotating) & set(kind.secrets):
        both: Credentials = old | {name: (*new[name], *old[name])}
        assert not refuses(kind, both, request)
        assert refuses(kind, old | {name: new[name]}, request)


def test_without_its_secrets_nobody_is_believed(kind: Kind) -> None:
    stand_in = kind.stand_in()
    for request in (said(stand_in), stand_in.handshake(NOW)):
        assert refuses(kind, {}, request)
        for name in kind.secrets:
            assert refuses(kind, entered(stand_in) | {name: ()}, request)


def test_what_an_operator_enters_fits_what_is_asked_for(kind: Kind) -> None:
    entries = {entry.name: entry for entry in kind.platform.credentials}
    given_ = entered(kind.stand_in())
    assert {name for name, entry in entries.items() if entry.required} <= set(given_) <= set(entries)
    for name, values in given_.items():
        for value in values:
            assert re.fullmatch(entries[name].pattern, value), name


# Bytes that nobody vouches for


HEADERS = st.dictionaries(st.sampled_from([name for one in KINDS.values() for name in one.proof]), st.text())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def unharmed(kind: Kind, credentials: Credentials, request: HookRequest) -> None:
    """Refused or understood, and nothing else."""
    try:
        inbound = kind.platform.read(credentials, request, NOW)
    except SignatureInvalid:
        return
    assert isinstance(inbound, Inbound)
    for message in inbound.messages:
        assert "\0" not in message.text
        message.text.encode()


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_bytes_are_refused(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    stand_in = kind.stand_in()
    body = data.draw(
        st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode(errors="replace"))
    )
    query = data.draw(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2))
    request = HookRequest(data.draw(st.sampled_from(["GET", "POST"])), query, data.draw(HEADERS), body)
    assert refuses(kind, entered(stand_in), request)
    unharmed(kind, entered(stand_in), request)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    if path:
        yield path
    inner = (
        content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    )
    for name, value in inner:
        yield from places(value, (*path, name))


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_content_that_is_signed_is_understood_or_refused(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    stand_in = kind.stand_in()
    request = data.draw(
        st.sampled_from(
            [
                said(stand_in),
                said(stand_in, is_private=True),
                stand_in.handshake(NOW),
                *([] if name == "slack" else [stand_in.press(GROUP, WHO, NAME, "参团 3", "502", NOW)]),
            ]
        )
    )
    content = kind.opened(stand_in, request)
    *way, last = data.draw(st.sampled_from(list(places(content))))
    inside: Any = content
    for step in way:
        inside = inside[step]
    if data.draw(st.booleans()):
        inside[last] = data.draw(JSON)
    else:
        del inside[last]
    unharmed(kind, entered(stand_in), kind.sealed(stand_in, content))


# Going out


def group(kind: Kind, stand_in: StandIn) -> Destination:
    """Where somebody spoke to us."""
    (message,) = heard(kind, stand_in, said(stand_in)).messages
    return Destination(message.chat_id)


async def test_a_card_is_said_and_said_differently(kind: Kind) -> None:
    stand_in = kind.stand_in()
    to = group(kind, stand_in)
    async with reaching(stand_in) as (http, transport):
        sent = await kind.platform.send(http, entered(stand_in), to, CARD)
        assert sent is not None
        await kind.platform.edit(http, entered(stand_in), to, sent, replace(CARD, lines=("5 / 5 人",), buttons=()))
    first, second = stand_in.transcript
    assert first.text == "\n".join((CARD.title, *CARD.lines)), "no name is a link, a mention or bold"
    assert first.buttons == ("参团", "打开")
    assert (first.edited, first.only_to) == (False, None)
    assert (second.edited, second.message_id) == (True, first.message_id)
    assert second.text == "龙井 开团了\n5 / 5 人"
    assert {first.chat_id, second.chat_id} == {GROUP}
    assert set(transport.hosts) <= kind.platform.hosts


async def test_what_is_asked_is_answered(kind: Kind) -> None:
    stand_in = kind.stand_in()
    requests = [said(stand_in), said(stand_in, message_id="502", is_private=True)]
    requests.append(stand_in.press(GROUP, WHO, NAME, "参团 3", "503", NOW))
    async with reaching(stand_in) as (http, transport):
        for request in requests:
            (message,) = heard(kind, stand_in, request).messages
            for only_to in (None, message.sender_id):
                to = Destination(message.chat_id, message.reply_token, only_to)
                await kind.platform.send(http, entered(stand_in), to, CARD)
                assert stand_in.transcript[-1].text.startswith(CARD.title)
                if only_to is None and not message.is_private:
                    assert stand_in.transcript[-1].only_to is None
                    assert stand_in.transcript[-1].chat_id == GROUP
    assert set(transport.hosts) <= kind.platform.hosts


async def test_a_long_card_is_cut_where_the_platform_would_refuse_it(kind: Kind) -> None:
    stand_in = kind.stand_in()
    to = group(kind, stand_in)
    buttons = tuple(Button(f"按钮 {number} " * 20, command="参" * 20 * number) for number in range(1, 9))
    long = Card("🍵" * 1000, tuple(f"{number}. 小满🍵" * 5 for number in range(500)), buttons)
    async with reaching(stand_in) as (http, _):
        await kind.platform.send(http, entered(stand_in), to, long)
        await kind.platform.send(http, entered(stand_in), to, Card("龙井"))
    assert len(stand_in.transcript) == 2
    assert stand_in.transcript[1].text == "龙井"


async def test_whoever_asks_for_patience_gets_it(kind: Kind) -> None:
    stand_in = kind.stand_in()
    to = group(kind, stand_in)
    stand_in.busy = 1
    async with reaching(stand_in) as (http, _):
        with pytest.raises(ChatUnavailable):
            await kind.platform.send(http, entered(stand_in), to, CARD)
        assert await kind.platform.send(http, entered(stand_in), to, CARD)
    assert len(stand_in.transcript) == 1


@pytest.mark.parametrize(
    "answer",
    [
        *((500, {"text": "oops"}), (502, {"json": {"code": 0, "ok": True}})),
        *((429, {"headers": {"retry-after": "7"}}), (429, {"json": {"retry_after": 7}})),
        *((429, {"json": {"parameters": {"retry_after": 7}}}), (503, {"headers": {"retry-after": "7"}})),
        *(httpx.ConnectError("to secret"), httpx.ReadTimeout("secret"), httpx.RemoteProtocolError("secret")),
    ],
    ids=repr,
)
async def test_whoever_does_not_answer_is_asked_again(kind: Kind, answer: Any) -> None:
    stand_in = kind.stand_in()
    to = group(kind, stand_in)
    async with answering(answer) as http:
        with pytest.raises(ChatUnavailable) as told:
            await kind.platform.send(http, entered(stand_in), to, CARD)
    assert told.value.retry_after in {None, 7.0}
    assert (told.value.retry_after == 7.0) is ("7" in repr(answer))
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"retry_after": %s}' % ("9" * 400)],
    ids=["deeper than we read", "longer than it counts"],
)
async def test_whatever_a_platform_says_is_no_fault_of_ours(kind: Kind, text: str) -> None:
    stand_in = kind.stand_in()
    to = group(kind, stand_in)
    async with answering((429, {"text": text})) as http:
        with pytest.raises(ChatUnavailable):
            await kind.platform.send(http, entered(stand_in), to, CARD)


@pytest.mark.parametrize(
    "answer",
    [(200, {"text": "fine"}), (200, {"json": []}), (302, {"headers": {"location": "http://127.0.0.1"}})],
    ids=repr,
)
async def test_what_is_no_answer_is_no_success(kind: Kind, answer: Any) -> None:
    stand_in = kind.stand_in()
    to = group(kind, stand_in)
    async with answering(answer) as http:
        with pytest.raises((ChatRefused, ChatUnavailable)):
            await kind.platform.send(http, entered(stand_in), to, CARD)


async def test_a_wrong_secret_is_refused_and_not_told(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="app")
    stand_in, other = kind.stand_in(), kind.stand_in()
    to = group(kind, stand_in)
    secrets = {value for values in entered(other).values() for value in values}
    async with reaching(stand_in) as (http, _):
        with pytest.raises(ChatRefused) as told:
            await kind.platform.send(http, entered(other), to, CARD)
    assert not [secret for secret in secrets if secret in str(told.value) or secret in caplog.text]
    echo = {
        "json": {
            "ok": False,
            "code": 1,
            **dict.fromkeys(("error", "msg", "description", "message"), " ".join(secrets)),
        }
    }
    async with answering((400, echo)) as http:
        with pytest.raises(ChatRefused) as told:
            await kind.platform.send(http, entered(other), to, CARD)
    assert not [secret for secret in secrets if secret in str(told.value)]
    assert stand_in.transcript == []
