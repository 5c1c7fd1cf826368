"""Discord: its signatures, its interactions, and answers that only who asked may read."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.demo.platforms.discord import DiscordStandIn
from app.gateways.chat.discord import PLATFORM, SIGNATURE, TIME, _vouches
from app.gateways.chat.platform import Button, Card, ChatRefused, ChatUnavailable, Destination
from tests.gateways.kinds import CARD, KINDS, NOW, answering, entered, heard, reaching, refuses, with_header

DISCORD = KINDS["discord"]


def test_the_published_vector_is_believed() -> None:
    """RFC 8032, 7.1, test 2: Discord signs time and body so, and has published no vector of its own."""
    key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert _vouches(key, signature, b"\x72")
    for at in range(512):
        number = int(signature, 16) ^ 1 << at
        assert not _vouches(key, f"{number:0128x}", b"\x72")
    assert not _vouches(key, signature, b"\x73")
    assert not _vouches("00" * 31, signature, b"\x72")


def test_one_signature_is_written_in_one_way() -> None:
    """Otherwise a replay would not be known again."""
    stand_in = DiscordStandIn()
    request = stand_in.say("1", "2", "rose", "help", "501", NOW)
    signature = request.headers[SIGNATURE]
    for other in (signature.upper(), f" {signature}", f"{signature}\n", f"{signature[:2]} {signature[2:]}"):
        assert refuses(DISCORD, entered(stand_in), with_header(request, SIGNATURE, other))
    order = 2**252 + 27742317777372353535851937790883648493
    value = int.from_bytes(bytes.fromhex(signature)[32:], "little") + order
    if value < 2**256:
        other = signature[:64] + value.to_bytes(32, "little").hex()
        assert refuses(DISCORD, entered(stand_in), with_header(request, SIGNATURE, other))
    for time in (f"+{request.headers[TIME]}", f"0{request.headers[TIME]}", "１７"):
        assert refuses(DISCORD, entered(stand_in), with_header(request, TIME, time))


def test_a_ping_is_answered_in_either_way() -> None:
    stand_in = DiscordStandIn()
    app = {"version": 1, "application_id": stand_in.application_id}
    ping = heard(DISCORD, stand_in, stand_in.signed(app | {"type": 1, "id": "1", "token": "x"}, NOW)).reply
    assert (ping.status, ping.content_type, json.loads(ping.body)) == (200, "application/json", {"type": 1})
    for event in ({"type": 0}, {"type": 1, "event": {"type": "APPLICATION_AUTHORIZED", "data": {}}}):
        inbound = heard(DISCORD, stand_in, stand_in.signed(app | event, NOW))
        assert (inbound.reply.status, inbound.reply.body, inbound.messages) == (204, b"", ())


def test_another_application_is_not_ours() -> None:
    stand_in = DiscordStandIn()
    assert refuses(DISCORD, entered(stand_in), stand_in.signed({"type": 1, "application_id": "1"}, NOW))


def test_a_key_that_somebody_else_has_signs_nothing() -> None:
    stand_in = DiscordStandIn()
    credentials = entered(stand_in)
    stand_in.key = Ed25519PrivateKey.generate()
    assert refuses(DISCORD, credentials, stand_in.handshake(NOW))


@pytest.mark.parametrize(
    ("data", "understood"),
    [
        ({"name": "kaituan", "options": [{"name": "text", "type": 3, "value": "参团 3"}]}, "参团 3"),
        ({"name": "kaituan"}, "help"),
        ({"name": "参团", "options": [{"name": "number", "type": 4, "value": 3}]}, "参团 3"),
        ({"name": "进度"}, "进度"),
        (
            {
                "name": "kaituan",
                "options": [
                    {"name": "join", "type": 1, "options": [{"name": "number", "type": 4, "value": 3}]},
                ],
            },
            "join 3",
        ),
    ],
)
def test_a_command_is_said(data: dict[str, Any], understood: str) -> None:
    stand_in = DiscordStandIn()
    content = DISCORD.opened(stand_in, stand_in.say("1", "2", "rose", "help", "501", NOW))
    inbound = heard(DISCORD, stand_in, stand_in.signed(content | {"data": data}, NOW))
    assert [message.text for message in inbound.messages] == [understood]
    assert json.loads(inbound.reply.body) == {"type": 5, "data": {"flags": 64}}


def test_people_are_called_what_they_are_called_there() -> None:
    stand_in = DiscordStandIn()
    content = DISCORD.opened(stand_in, stand_in.say("1", "2", "rose", "help", "501", NOW))
    for person, name in (({"global_name": "Rose"}, "Rose"), ({"nick": "R."}, "R.")):
        content["member"] |= person
        content["member"]["user"] |= person
        assert heard(DISCORD, stand_in, stand_in.signed(content, NOW)).messages[0].sender_name == name


@pytest.mark.parametrize(
    "change", [{"type": 4}, {"type": 5}, {"data": None}, {"channel_id": None}, {"member": None}]
)
def test_other_interactions_are_acknowledged(change: dict[str, Any]) -> None:
    stand_in = DiscordStandIn()
    content = DISCORD.opened(stand_in, stand_in.say("1", "2", "rose", "help", "501", NOW))
    inbound = heard(DISCORD, stand_in, stand_in.signed(content | change, NOW))
    assert (json.loads(inbound.reply.body), inbound.messages) == ({"type": 6}, ())


async def test_only_who_asked_reads_what_is_for_them() -> None:
    stand_in = DiscordStandIn()
    asked = [
        stand_in.say("1", "2", "rose", "pay", "501", NOW),
        stand_in.press("1", "2", "rose", "pay", "502", NOW),
    ]
    async with reaching(stand_in) as (http, _):
        for request in asked:
            (message,) = heard(DISCORD, stand_in, request).messages
            to = Destination("1", message.reply_token, "2")
            assert await PLATFORM.send(http, entered(stand_in), to, CARD) is None
        await PLATFORM.send(http, entered(stand_in), Destination("1", None, "2"), CARD)
    assert {said.only_to for said in stand_in.transcript} == {"2"}


async def test_what_all_may_read_is_a_message_of_its_own_that_can_be_edited_later() -> None:
    stand_in = DiscordStandIn()
    (message,) = heard(DISCORD, stand_in, stand_in.say("1", "2", "rose", "open 1", "501", NOW)).messages
    to = Destination("1", message.reply_token)
    async with reaching(stand_in) as (http, _):
        sent = await PLATFORM.send(http, entered(stand_in), to, CARD)
        assert sent is not None
        await PLATFORM.edit(http, entered(stand_in), to, sent, CARD)
    assert [(said.text[:2], said.only_to) for said in stand_in.transcript] == [
        ("✓", "2"),
        ("龙井", None),
        ("龙井", None),
    ]


async def test_nothing_that_one_person_was_told_is_taken_back_by_what_all_may_read() -> None:
    stand_in = DiscordStandIn()
    (message,) = heard(DISCORD, stand_in, stand_in.say("1", "2", "rose", "join 1", "501", NOW)).messages
    async with reaching(stand_in) as (http, _):
        for only_to in ("2", None):
            await PLATFORM.send(http, entered(stand_in), Destination("1", message.reply_token, only_to), CARD)
    assert [(said.text[:2], said.only_to, said.edited) for said in stand_in.transcript] == [
        ("龙井", "2", False),
        ("✓", "2", False),
        ("龙井", None, False),
    ]


async def test_what_all_may_read_is_said_also_when_who_asked_waits_no_longer() -> None:
    stand_in = DiscordStandIn()
    async with reaching(stand_in) as (http, _):
        await PLATFORM.send(http, entered(stand_in), Destination("1", "command:sesame"), CARD)
    assert [said.only_to for said in stand_in.transcript] == [None]


async def test_a_token_of_nobody_is_refused_and_not_told() -> None:
    stand_in = DiscordStandIn()
    async with reaching(stand_in) as (http, _):
        with pytest.raises(ChatRefused, match="10015") as told:
            await PLATFORM.send(http, entered(stand_in), Destination("1", "command:sesame", "2"), CARD)
    assert "sesame" not in str(told.value)


async def test_buttons_with_one_command_are_two_and_many_stand_in_rows() -> None:
    stand_in = DiscordStandIn()
    buttons = (*[Button("参团", command="参团 3")] * 7, Button("长", command="参" * 99))
    async with reaching(stand_in) as (http, _):
        await PLATFORM.send(http, entered(stand_in), Destination("1"), Card("龙井", (), buttons))
    (said,) = stand_in.transcript
    assert said.buttons == ("参团",) * 7
    assert said.text == "龙井\n长: " + "参" * 99


async def test_a_wait_that_is_asked_for_is_told() -> None:
    stand_in = DiscordStandIn()
    stand_in.busy = 1
    async with reaching(stand_in) as (http, _):
        with pytest.raises(ChatUnavailable) as told:
            await PLATFORM.send(http, entered(stand_in), Destination("1"), CARD)
    assert told.value.retry_after == 0.5


async def test_a_missing_permission_is_told() -> None:
    async with answering((403, {"json": {"code": 50001, "message": "Missing Access"}})) as http:
        with pytest.raises(ChatRefused, match="403 50001 Missing Access"):
            await PLATFORM.send(http, entered(DiscordStandIn()), Destination("1"), CARD)
