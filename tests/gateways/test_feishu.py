"""Feishu: its own vector, its trials of an address, what it sends, and what it refuses with HTTP 200."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.demo.platforms.feishu import FeishuStandIn
from app.domain.errors import SignatureInvalid
from app.gateways.chat.feishu import PLATFORM, decrypt
from app.gateways.chat.platform import Button, Card, ChatRefused, ChatUnavailable, Destination
from tests.gateways.kinds import CARD, KINDS, NOW, answering, entered, heard, reaching, refuses

FEISHU = KINDS["feishu"]


def test_the_published_vector_is_decrypted() -> None:
    """From open.feishu.cn, 事件订阅: 消息解密."""
    sealed = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="
    assert decrypt("test key", sealed) == b"hello world"
    for wrong in (sealed[:-4], sealed[:20], "", "P37w", "?" * 44, f" {sealed}", "团"):
        with pytest.raises(SignatureInvalid):
            decrypt("test key", wrong)
    with pytest.raises(SignatureInvalid):
        decrypt("another key", sealed)


def trial(stand_in: FeishuStandIn, **other: Any) -> dict[str, Any]:
    content = {"challenge": "1b6aef1a-401f", "token": stand_in.verification_token, "type": "url_verification"}
    return content | other


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize("is_signed", [False, True])
def test_an_address_is_tried_out_plain_or_encrypted(*, is_encrypted: bool, is_signed: bool) -> None:
    stand_in = FeishuStandIn()
    content = trial(stand_in)
    body = stand_in.encrypted(content) if is_encrypted else json.dumps(content).encode()
    request = stand_in.signed(body, NOW)
    if not is_signed:
        request = replace(request, headers={})
    inbound = heard(FEISHU, stand_in, request)
    assert json.loads(inbound.reply.body) == {"challenge": "1b6aef1a-401f"}
    assert (inbound.messages, inbound.replay_key) == ((), None)


@pytest.mark.parametrize(
    "other", [{"token": "x"}, {"token": None}, {"challenge": None}, {"challenge": 'a"b'}, {"challenge": "x" * 201}]
)
def test_a_trial_tells_nothing_to_who_does_not_know_the_token(other: dict[str, Any]) -> None:
    stand_in = FeishuStandIn()
    content = trial(stand_in, **other)
    for body in (json.dumps(content).encode(), stand_in.encrypted(content)):
        request = replace(stand_in.signed(body, NOW), headers={})
        assert refuses(FEISHU, entered(stand_in), request)


def test_what_is_not_signed_is_no_event_however_well_it_is_encrypted() -> None:
    stand_in = FeishuStandIn()
    request = stand_in.say("oc_1", "ou_1", "小满", "开团 1", "om_1", NOW)
    assert refuses(FEISHU, entered(stand_in), replace(request, headers={}))


def test_another_app_is_not_ours() -> None:
    stand_in = FeishuStandIn()
    content = FEISHU.opened(stand_in, stand_in.say("oc_1", "ou_1", "小满", "开团 1", "om_1", NOW))
    content["header"]["token"] = "another"
    assert refuses(FEISHU, entered(stand_in), FEISHU.sealed(stand_in, content))


@pytest.mark.parametrize(
    ("text", "mentions", "understood"),
    [
        ("@_user_1 参团 3", [("@_user_1", "开团", None)], "参团 3"),
        ("  @_user_1  参团 3", [("@_user_1", "开团", None)], "参团 3"),
        ("@_user_1 参团 3", [("@_user_1", "小满", "user-7")], "@小满 参团 3"),
        ("参团 @_user_1", [("@_user_1", "开团", None)], "参团 @开团"),
        ("@_user_1 看 @_user_10", [("@_user_1", "开团", None), ("@_user_10", r"小\1满", "7")], r"看 @小\1满"),
    ],
)
def test_a_mention_of_us_is_no_part_of_what_was_said(
    text: str, mentions: list[tuple[str, str, str | None]], understood: str
) -> None:
    stand_in = FeishuStandIn()
    content = FEISHU.opened(stand_in, stand_in.say("oc_1", "ou_1", "小满", "开团 1", "om_1", NOW))
    content["event"]["message"] |= {
        "content": json.dumps({"text": text}),
        "mentions": [{"key": key, "name": name, "id": {"user_id": user}} for key, name, user in mentions],
    }
    (message,) = heard(FEISHU, stand_in, FEISHU.sealed(stand_in, content)).messages
    assert message.text == understood


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["event"]["sender"].update(sender_type="app"),
        lambda content: content["event"]["message"].update(message_type="image", content='{"image_key":"i"}'),
        lambda content: content["header"].update(event_type="im.chat.updated_v1"),
        lambda content: content.pop("header") and content.update(token=content["event"].pop("token", None)),
    ],
)
def test_what_nobody_said_to_us_is_acknowledged(change: Any) -> None:
    stand_in = FeishuStandIn()
    content = FEISHU.opened(stand_in, stand_in.say("oc_1", "ou_1", "小满", "开团 1", "om_1", NOW))
    content["event"]["token"] = stand_in.verification_token
    change(content)
    inbound = heard(FEISHU, stand_in, FEISHU.sealed(stand_in, content))
    assert inbound.messages == ()
    assert inbound.reply.status == 200


async def test_an_answer_quotes_what_it_answers_and_a_private_one_reaches_one() -> None:
    stand_in = FeishuStandIn()
    (message,) = heard(FEISHU, stand_in, stand_in.say("oc_1", "ou_1", "小满", "开团 1", "om_1", NOW)).messages
    async with reaching(stand_in) as (http, _):
        await PLATFORM.send(http, entered(stand_in), Destination("oc_1", message.reply_token), CARD)
        await PLATFORM.send(http, entered(stand_in), Destination("oc_1", message.reply_token, "ou_1"), CARD)
        with pytest.raises(ChatRefused, match="230011"):
            await PLATFORM.send(http, entered(stand_in), Destination("oc_1", "om_2"), CARD)
        with pytest.raises(ChatRefused, match="230011"):
            await PLATFORM.edit(http, entered(stand_in), Destination("oc_1"), "om_2", CARD)
    assert [(said.chat_id, said.only_to) for said in stand_in.transcript] == [("oc_1", None), ("ou_1", "ou_1")]


async def test_a_custom_robot_signs_and_has_commands_as_lines() -> None:
    stand_in = FeishuStandIn()
    credentials = {name: tuple(active) for name, active in stand_in.robot_credentials().items()}
    card = Card("龙井", (), (Button("参团", command="参团 3"), Button("打开", url="https://kaituan.example")))
    async with reaching(stand_in) as (http, _):
        assert await PLATFORM.send(http, credentials, Destination("any"), card) is None
        stand_in.busy = 1
        with pytest.raises(ChatUnavailable):
            await PLATFORM.send(http, credentials, Destination("any"), card)
        for name in credentials:
            with pytest.raises(ChatRefused):
                await PLATFORM.send(http, credentials | {name: ("wrong",)}, Destination("any"), card)
            with pytest.raises(ChatRefused):
                await PLATFORM.send(http, credentials | {name: ()}, Destination("any"), card)
    (said,) = stand_in.transcript
    assert said.text == "龙井\n参团: 参团 3"
    assert said.buttons == ("打开",)


@pytest.mark.parametrize("code", [9499, 11232, 230020, 230049, 99991400])
async def test_too_much_at_once_is_told_by_a_code(code: int) -> None:
    for status in (200, 400):
        async with answering((status, {"json": {"code": code, "msg": "later"}})) as http:
            with pytest.raises(ChatUnavailable):
                await PLATFORM.send(http, entered(FeishuStandIn()), Destination("oc_1"), CARD)


async def test_http_200_with_a_code_is_a_refusal() -> None:
    async with answering((200, {"json": {"code": 230002, "msg": "Bot is not\nin the chat"}})) as http:
        with pytest.raises(ChatRefused, match="230002 Bot is not in the chat"):
            await PLATFORM.send(http, entered(FeishuStandIn()), Destination("oc_1"), CARD)


async def test_lark_is_spoken_to_at_its_own_host() -> None:
    stand_in = FeishuStandIn()
    async with reaching(stand_in) as (http, transport):
        with pytest.raises(ChatRefused):  # the stand-in plays the one in China
            await PLATFORM.send(http, entered(stand_in) | {"host": ("open.larksuite.com",)}, Destination("o"), CARD)
    assert transport.hosts == ["open.larksuite.com"]


async def test_a_token_is_asked_for_once_and_anew_when_it_is_known_no_more() -> None:
    stand_in, to = FeishuStandIn(), Destination("oc_1")
    async with reaching(stand_in) as (http, transport):
        for _ in range(3):
            await PLATFORM.send(http, entered(stand_in), to, CARD)
        assert len(transport.hosts) == 1 + 3
        stand_in._token = "t-another"
        await PLATFORM.send(http, entered(stand_in), to, CARD)
        assert len(transport.hosts) == 4 + 3, "refused, a new token, said"
    assert len(stand_in.transcript) == 4
