"""Login providers: what Telegram signed, and what WeChat answers. Anything else is refused."""

import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.demo.platforms.telegram_login import sign_init_data
from app.demo.platforms.wechat_login import WeChatLoginStandIn
from app.domain.errors import LoginRefused, LoginUnavailable
from app.gateways.chat.transport import ChatHttp
from app.gateways.logins.provider import Confirmed
from app.gateways.logins.telegram import TelegramLogins
from app.gateways.logins.wechat import HOST, WeChatLogins
from tests.planted import plant

BOT = "42:TEST"
PUBLISHED = (
    "auth_date=1650385342&user=%7B%22id%22%3A42%2C%22first_name%22%3A%22Test%22%7D&query_id=test"
    "&hash=46d2ea5e32911ec8d30999b56247654460c0d20949b6277af519e76271182803"
)
"""By aiogram, tests/test_utils/test_web_app.py."""
SIGNED_AT = datetime.fromtimestamp(1650385342, UTC)
WINDOW = timedelta(minutes=5)
TELEGRAM = TelegramLogins(BOT, WINDOW)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


async def test_the_published_init_data_logs_in() -> None:
    assert await TELEGRAM.confirm(PUBLISHED, SIGNED_AT) == Confirmed("42", "Test ")


async def test_init_data_logs_in_while_it_is_fresh() -> None:
    for age in (-60, 0, 300):
        await TELEGRAM.confirm(PUBLISHED, SIGNED_AT + timedelta(seconds=age))
    for age in (-61, 301, 86_400 * 365):
        with pytest.raises(LoginRefused):
            await TELEGRAM.confirm(PUBLISHED, SIGNED_AT + timedelta(seconds=age))


async def test_no_byte_of_init_data_may_be_another() -> None:
    for place in range(len(PUBLISHED)):
        for bit in range(7):
            flipped = PUBLISHED[:place] + chr(ord(PUBLISHED[place]) ^ 1 << bit) + PUBLISHED[place + 1 :]
            if parse_qsl(flipped, keep_blank_values=True) == parse_qsl(PUBLISHED):
                continue  # another spelling of the same, such as %7b
            with pytest.raises(LoginRefused):
                await TELEGRAM.confirm(flipped, SIGNED_AT)
    with pytest.raises(LoginRefused):
        await TelegramLogins("42:TESS", WINDOW).confirm(PUBLISHED, SIGNED_AT)


USER = json.dumps({"id": 42, "first_name": "Ada"})


def signed(**fields: str) -> str:
    return sign_init_data(BOT, {"auth_date": str(int(NOW.timestamp())), "user": USER} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"auth_date": ""},
        {"auth_date": "-1"},
        {"auth_date": "1e9"},
        {"auth_date": "９" * 10},
        {"auth_date": "9" * 400},
        {"user": ""},
        {"user": "null"},
        {"user": "[]"},
        {"user": "{}"},
        {"user": '{"id": "42"}'},
        {"user": '{"id": 0}'},
        {"user": '{"id": 1e400}'},
        {"user": '{"id": 99999999999999999999}'},
        {"user": '{"id": 42, "is_bot": true}'},
        {"user": "[" * 4000},
        {"start_param": "x\nuser={}"},
        {"a=b": "c"},
    ],
    ids=str,
)
async def test_what_telegram_does_not_say_is_refused_though_it_is_signed(fields: dict[str, str]) -> None:
    with pytest.raises(LoginRefused):
        await TELEGRAM.confirm(signed(**fields), NOW)


async def test_all_fields_are_signed_and_none_comes_twice() -> None:
    good = signed(query_id="q", chat_type="private", signature="c2lnbmVk")
    assert (await TELEGRAM.confirm(good, NOW)).subject == "42"
    other = quote(json.dumps({"id": 43}))
    for bad in (f"{good}&user={other}", f"user={other}&{good}", f"{good}&chat_type=private", f"{good}&more=", ""):
        with pytest.raises(LoginRefused):
            await TELEGRAM.confirm(bad, NOW)
    with pytest.raises(LoginRefused):
        await TELEGRAM.confirm(good.partition("&hash=")[0], NOW)
    with pytest.raises(LoginRefused):
        await TELEGRAM.confirm("&".join(f"field{number}=" for number in range(21)), NOW)


async def test_a_field_is_not_taken_for_two() -> None:
    """What is signed is lines: one field with a line feed in it has the same lines as two fields."""
    good = dict(parse_qsl(signed(start_param="x")))
    joined = {"auth_date": f"{good['auth_date']}\nstart_param=x", "user": good["user"], "hash": good["hash"]}
    with pytest.raises(LoginRefused):
        await TELEGRAM.confirm(urlencode(joined), NOW)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=200), st.dictionaries(st.text(max_size=10), st.text(max_size=40)).map(urlencode)))
async def test_whatever_it_is_it_is_refused(text: str) -> None:
    with pytest.raises(LoginRefused):
        await TELEGRAM.confirm(text, NOW)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["user", "auth_date", "x", "y"]), st.text(max_size=60)))
async def test_whatever_is_signed_it_is_read_or_refused(fields: dict[str, str]) -> None:
    with contextlib.suppress(LoginRefused):
        assert (await TELEGRAM.confirm(signed(**fields), NOW)).subject.isdigit()


@pytest.fixture
def stand_in() -> WeChatLoginStandIn:
    stand_in = WeChatLoginStandIn()
    plant(stand_in.app_secret, stand_in.session_key)
    return stand_in


def wechat(stand_in: WeChatLoginStandIn, secret: str | None = None) -> WeChatLogins:
    http = ChatHttp("http://stand-in", httpx.ASGITransport(stand_in.app())).to({HOST})
    return WeChatLogins(stand_in.app_id, secret or stand_in.app_secret, http)


async def test_wechat_says_who_brings_a_code_once(stand_in: WeChatLoginStandIn) -> None:
    logins = wechat(stand_in)
    assert await logins.confirm(stand_in.log_in("oX-1"), NOW) == Confirmed("oX-1")
    code = stand_in.log_in("oX-1", "uX-1")
    assert await logins.confirm(code, NOW) == Confirmed("oX-1", union="uX-1")
    for refused in (code, "0" * 32, stand_in.tell_phone("13800138000")):
        with pytest.raises(LoginRefused):
            await logins.confirm(refused, NOW)


@pytest.mark.parametrize("code", [40029, 40163, 40226, 41008])
async def test_a_code_that_wechat_refuses_is_refused(stand_in: WeChatLoginStandIn, code: int) -> None:
    stand_in.fails = [code]
    with pytest.raises(LoginRefused):
        await wechat(stand_in).confirm(stand_in.log_in("oX-1"), NOW)


@pytest.mark.parametrize("code", [-1, 40001, 40013, 42001, 45011, 500, 502, 503, 599])
async def test_a_wechat_that_is_busy_or_will_not_is_away(
    stand_in: WeChatLoginStandIn, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.fails = [code]
    login = stand_in.log_in("oX-1")
    with caplog.at_level(logging.DEBUG), pytest.raises(LoginUnavailable) as caught:
        await wechat(stand_in).confirm(login, NOW)
    assert caught.value.__cause__ is None
    assert stand_in.app_secret not in caplog.text
    assert login not in caplog.text
    assert (await wechat(stand_in).confirm(login, NOW)).subject == "oX-1"


async def test_a_wrong_secret_lets_nobody_in(stand_in: WeChatLoginStandIn) -> None:
    with pytest.raises(LoginUnavailable):
        await wechat(stand_in, "wrong").confirm(stand_in.log_in("oX-1"), NOW)
    with pytest.raises(LoginUnavailable):
        await wechat(stand_in, "wrong").confirm_phone(stand_in.tell_phone("13800138000"), NOW)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"null", b"[]", b"{}", b'{"openid": 7}', b'{"openid": ""}', b'{"openid": "a b"}', b"\xff\xfe"],
)
async def test_what_is_no_answer_of_wechats_is_none(content: bytes) -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=content)))
    with pytest.raises(LoginUnavailable):
        await WeChatLogins("wx", "secret", http).confirm("code", NOW)


async def test_a_wechat_that_does_not_answer_is_away() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("too slow", request=request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(fail))
    with pytest.raises(LoginUnavailable) as caught:
        await WeChatLogins("wx", "secret", http).confirm("code", NOW)
    assert caught.value.__suppress_context__


async def test_wechat_says_the_number_of_who_agreed(stand_in: WeChatLoginStandIn) -> None:
    logins = wechat(stand_in)
    assert await logins.confirm_phone(stand_in.tell_phone("13800138000"), NOW) == "+8613800138000"
    assert await logins.confirm_phone(stand_in.tell_phone("2079460958", "44"), NOW) == "+442079460958"
    assert stand_in.calls.count("/cgi-bin/stable_token") == 1, "the token is kept"
    await logins.confirm_phone(stand_in.tell_phone("13800138000"), NOW + timedelta(hours=2))
    assert stand_in.calls.count("/cgi-bin/stable_token") == 2
    other_app, nonsense = stand_in.tell_phone("13800138000", app_id="wx0"), stand_in.tell_phone("12")
    for refused in ("0" * 32, stand_in.log_in("oX-1"), other_app, nonsense):
        with pytest.raises(LoginRefused):
            await logins.confirm_phone(refused, NOW)


async def test_a_token_that_ended_is_replaced_once(stand_in: WeChatLoginStandIn) -> None:
    logins = wechat(stand_in)
    await logins.confirm_phone(stand_in.tell_phone("13800138000"), NOW)
    stand_in.end_tokens()
    assert await logins.confirm_phone(stand_in.tell_phone("13800138001"), NOW) == "+8613800138001"
    stand_in.calls.clear()
    stand_in.end_tokens()
    stand_in.fails = [42001, 0, 42001]
    code = stand_in.tell_phone("13800138002")
    with pytest.raises(LoginUnavailable):
        await logins.confirm_phone(code, NOW)
    assert len(stand_in.calls) == 3
