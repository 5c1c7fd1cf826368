"""Guards of Feishu, Telegram, Slack and Discord: who is believed, and what is no success."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.demo.platforms.discord import DiscordStandIn
from app.demo.platforms.feishu import FeishuStandIn
from app.demo.platforms.slack import SlackStandIn
from app.demo.platforms.telegram import TelegramStandIn
from app.domain.errors import SignatureInvalid
from app.gateways.chat.platform import ChatMoved, ChatRefused, ChatUnavailable, Destination
from app.gateways.chat.sending import call
from app.gateways.signatures import signed_at
from tests.gateways.kinds import CARD, KINDS, NOW, answering, entered, heard, reaching, refuses, with_header
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

CHAT = "app.gateways.chat"
FEISHU, TELEGRAM = f"{CHAT}.feishu.Feishu", f"{CHAT}.telegram.Telegram"
SLACK, DISCORD = f"{CHAT}.slack.Slack", f"{CHAT}.discord.Discord"


async def say(name: str, stand_in: Any, to: Destination, **other: tuple[str, ...]) -> str | None:
    async with reaching(stand_in) as (http, _):
        return await KINDS[name].platform.send(http, entered(stand_in) | other, to, CARD)


async def say_and_hear(name: str, stand_in: Any, status: int, content: Any) -> str | None:
    """Say something; this is the answer."""
    async with answering((status, {"json": content})) as http:
        return await KINDS[name].platform.send(http, entered(stand_in), Destination("1"), CARD)


@notices(
    *cuts(
        "app.gateways.signatures.signed_at",
        "not re.fullmatch('[0-9]{1,12}', time)",
        "abs(int(time) - now.timestamp()) > WINDOW_SECONDS",
    )
)
async def a_time_is_about_now(world: World) -> None:  # noqa: ARG001 - nothing is asked of the service
    seconds = str(int(NOW.timestamp()))
    assert signed_at(seconds, NOW) == NOW
    for time in (f" {seconds}", str(int((NOW + timedelta(seconds=301)).timestamp()))):
        with pytest.raises(SignatureInvalid):
            signed_at(time, NOW)


@notices(
    *cuts(
        f"{CHAT}.sending.call",
        "response.status_code == httpx.codes.TOO_MANY_REQUESTS",
        "response.is_server_error",
    )
)
async def who_cannot_answer_now_is_asked_again(world: World) -> None:  # noqa: ARG001
    for status in (429, 500):
        async with answering((status, {})) as http:
            with pytest.raises(ChatUnavailable):
                await call(http, "POST", "https://chat.example/")


@notices(
    *cuts(
        f"{FEISHU}.read",
        "not matches(token or '', credentials.get('verification_token', ()))",
        "not signing",
    )
)
async def feishu_is_believed_by_its_key_and_its_token(world: World) -> None:  # noqa: ARG001
    stand_in, kind = FeishuStandIn(), KINDS["feishu"]
    request = stand_in.say("oc_1", "ou_1", "小满", "开团 1", "om_1", NOW)
    assert heard(kind, stand_in, request).messages
    assert refuses(kind, entered(stand_in) | {"verification_token": ("another",)}, request)
    assert refuses(kind, entered(stand_in), with_header(request, "x-lark-signature", "0" * 64))


@notices(
    *cuts(f"{FEISHU}.send", "first(credentials, 'app_id') is None"),
    Cut(f"{FEISHU}.send", "if to.only_to is not None:\n            raise", "if False:\n            raise"),
)
async def feishu_speaks_by_a_robot_where_there_is_no_app(world: World) -> None:  # noqa: ARG001
    stand_in = FeishuStandIn()
    robot = {name: tuple(active) for name, active in stand_in.robot_credentials().items()}
    await say("feishu", stand_in, Destination("any"), app_id=(), **robot)
    with pytest.raises(ChatRefused):
        await say("feishu", stand_in, Destination("any", None, "ou_1"), app_id=(), **robot)
    assert len(stand_in.transcript) == 1


@notices(*cuts(f"{CHAT}.feishu._checked", "code in BUSY", "code != 0"))
async def feishu_says_no_by_a_code(world: World) -> None:  # noqa: ARG001
    with pytest.raises(ChatUnavailable):
        await say_and_hear("feishu", FeishuStandIn(), 200, {"code": 99991400})
    with pytest.raises(ChatRefused):
        await say_and_hear(
            "feishu", FeishuStandIn(), 200, {"code": 230002, "tenant_access_token": "t", "expire": 1}
        )


@notices(
    *cuts(f"{TELEGRAM}.read", "not matches(request.headers.get(SECRET, ''), credentials.get('secret_token', ()))")
)
async def telegram_is_believed_by_its_secret(world: World) -> None:  # noqa: ARG001
    stand_in, kind = TelegramStandIn(), KINDS["telegram"]
    request = stand_in.say("-1", "88", "小满", "开团 1", "501", NOW)
    assert heard(kind, stand_in, request).messages
    assert refuses(kind, entered(stand_in), replace(request, headers={}))


@notices(
    *cuts(f"{TELEGRAM}.edit", "'message is not modified' not in str(error)"),
    *cuts(f"{TELEGRAM}._ask", "isinstance(parameters, dict) and 'migrate_to_chat_id' in parameters"),
)
async def telegram_says_what_became_of_a_message_and_of_a_group(world: World) -> None:  # noqa: ARG001
    stand_in = TelegramStandIn()
    async with reaching(stand_in) as (http, _):
        with pytest.raises(ChatRefused):
            await KINDS["telegram"].platform.edit(http, entered(stand_in), Destination("-1"), "7", CARD)
    stand_in.moved["-1"] = "-1001"
    with pytest.raises(ChatMoved):
        await say("telegram", stand_in, Destination("-1"))


@notices(
    *cuts(f"{SLACK}.read", "not matches(signature, [signed(secret, time, request.body) for secret in secrets])")
)
async def slack_is_believed_by_its_signature(world: World) -> None:  # noqa: ARG001
    stand_in, kind = SlackStandIn(), KINDS["slack"]
    request = stand_in.say("1", "U1", "rose", "help", "501", NOW)
    assert heard(kind, stand_in, request).messages
    assert refuses(kind, entered(stand_in), replace(request, body=request.body + b" "))


@notices(
    *cuts(f"{SLACK}.send", "to.reply_token is not None and to.reply_token.startswith('https:')"),
    Cut(f"{SLACK}.send", "if alone:", "if False:"),
    *cuts(f"{SLACK}._respond", "not address.startswith(f'https://{RESPONSES}/')"),
)
async def slack_is_answered_where_and_for_whom_it_was_asked(world: World) -> None:  # noqa: ARG001
    stand_in = SlackStandIn()
    asked = stand_in.slash("1", "U1", "rose", "/kaituan", "help", "t1", NOW)
    (message,) = heard(KINDS["slack"], stand_in, asked).messages
    assert await say("slack", stand_in, Destination("C1", message.reply_token)) is None
    await say("slack", stand_in, Destination("C1", None, "U1"))
    assert [said.only_to for said in stand_in.transcript] == [None, "U1"]
    async with reaching(stand_in) as (http, transport):
        to = Destination("C1", "https://evil.example/x")
        with pytest.raises(ChatRefused):
            await KINDS["slack"].platform.send(http, entered(stand_in), to, CARD)
        assert transport.hosts == []


@notices(*cuts(f"{CHAT}.slack._judged", "error in BUSY", "not ok"))
async def slack_says_no_by_a_word(world: World) -> None:  # noqa: ARG001
    with pytest.raises(ChatUnavailable):
        await say_and_hear("slack", SlackStandIn(), 200, {"ok": False, "error": "ratelimited"})
    with pytest.raises(ChatRefused):
        await say_and_hear("slack", SlackStandIn(), 200, {"ok": False, "error": "not_in_channel"})


@notices(
    *cuts(
        f"{DISCORD}.read",
        "not any((_vouches(key, signature, signed) for key in credentials.get('public_key', ())))",
        "not matches(hook.application_id, credentials.get('application_id', ()))",
    ),
    *cuts(f"{CHAT}.discord._vouches", "not re.fullmatch('[0-9a-f]{128}', signature)"),
)
async def discord_is_believed_by_its_key(world: World) -> None:  # noqa: ARG001
    stand_in, kind = DiscordStandIn(), KINDS["discord"]
    request = stand_in.say("1", "2", "rose", "help", "501", NOW)
    assert heard(kind, stand_in, request).messages
    assert refuses(kind, entered(stand_in) | {"application_id": ("1",)}, request)
    assert refuses(kind, entered(stand_in), replace(request, body=request.body + b" "))
    signature = request.headers["x-signature-ed25519"]
    assert refuses(kind, entered(stand_in), with_header(request, "x-signature-ed25519", f"{signature} "))


@notices(
    *cuts(f"{DISCORD}.send", "to.only_to is not None"),
    *cuts(f"{DISCORD}._ask", "not answer.is_ok", "'id' not in answer.content"),
)
async def discord_tells_one_person_and_says_no_by_a_status(world: World) -> None:  # noqa: ARG001
    stand_in = DiscordStandIn()
    await say("discord", stand_in, Destination("1", None, "2"))
    assert [said.only_to for said in stand_in.transcript] == ["2"]
    for status, content in ((403, {"id": "1", "code": 50001}), (200, {})):
        with pytest.raises(ChatRefused):
            await say_and_hear("discord", stand_in, status, content)
