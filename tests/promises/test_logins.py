"""One member, however they come: logging in, being known by several names, logging out; and phone numbers."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from sqlmodel import select

from app.config import Environment, Settings
from app.demo.platforms.telegram_login import open_mini_app
from app.demo.platforms.wechat_login import WeChatLoginStandIn
from app.domain.errors import TokenInvalid
from app.domain.members import NEW_NAME
from app.gateways.chat.transport import ChatHttp
from app.gateways.logins.telegram import TelegramLogins
from app.gateways.logins.wechat import HOST, WeChatLogins
from app.models import Event, Identity, Mark, Phone, Session
from app.services import identities
from app.services.erased import learn
from app.services.members import get_me
from app.services.sessions import GRACE, read_access_token
from app.services.transactions import transaction
from app.state import _open_logins, open_state
from tests.leaks import find_leaks
from tests.planted import plant
from tests.service import Member, Service

BOT = "4242:AAbb-cc_dd"
IDENTITIES, PHONE, SESSIONS = (f"/v1/members/me/{name}" for name in ("identities", "phone", "sessions"))
NUMBER = "+8613912345678"


@pytest.fixture
def wechat(service: Service) -> Iterator[WeChatLoginStandIn]:
    """A WeChat and a Telegram to log in with."""
    stand_in, state = WeChatLoginStandIn(), service.state
    plant(stand_in.app_secret, stand_in.session_key, BOT)
    http = ChatHttp("http://stand-in", httpx.ASGITransport(stand_in.app())).to({HOST})
    logins = WeChatLogins(stand_in.app_id, stand_in.app_secret, http)
    state.logins |= {"wechat": logins, "telegram": TelegramLogins(BOT, timedelta(minutes=5))}
    state.phones["wechat"] = logins
    yield stand_in
    del state.logins["wechat"], state.logins["telegram"], state.phones["wechat"]


async def log_in(service: Service, provider: str, code: str, **body: Any) -> dict[str, Any]:
    reply = await service.http.post("/v1/sessions", json={"provider": provider, "code": code} | body)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


def member_of(service: Service, session: dict[str, Any]) -> Member:
    return Member(service, session["member"]["id"], session["member"]["name"], session["access_token"])


async def rows(service: Service, model: type[Any], member_id: str) -> list[Any]:
    async with service.state.database.snapshot() as session:
        return list((await session.exec(select(model).where(model.member_id == member_id))).all())


async def ask(member: Member, method: str, path: str, body: Any = None) -> httpx.Response:
    return await member.service.http.request(method, path, json=body, headers=member.headers)


async def link(member: Member, provider: str, code: str) -> httpx.Response:
    return await ask(member, "POST", IDENTITIES, {"provider": provider, "code": code})


async def known_by(member: Member) -> dict[str, str]:
    """What a member is known by: provider and subject, with the id to unlink it by."""
    reply = await member.get(IDENTITIES)
    return {f"{item['provider']} {item['subject']}": item["id"] for item in reply.json()["items"]}


def code_of(reply: httpx.Response) -> str:
    return str(reply.json()["code"])


# Logging in


async def test_a_wechat_user_is_the_same_member_each_time(service: Service, wechat: WeChatLoginStandIn) -> None:
    first = await log_in(service, "wechat", wechat.log_in("oX-1"), name="小满")
    again = await log_in(service, "wechat", wechat.log_in("oX-1"), name="另一个")
    other = await log_in(service, "wechat", wechat.log_in("oX-2"))
    assert first["member"] == again["member"]
    assert first["member"]["name"] == "小满"
    assert other["member"]["name"] == NEW_NAME, "nobody is called by what a provider knows them as"
    assert await find_leaks(service, {wechat.session_key, wechat.app_secret}) == set()


async def test_a_code_that_wechat_does_not_confirm_changes_nothing(
    service: Service, wechat: WeChatLoginStandIn
) -> None:
    code = wechat.log_in("oX-1")
    await log_in(service, "wechat", code)
    for refused in (code, "0" * 32):
        reply = await service.http.post("/v1/sessions", json={"provider": "wechat", "code": refused})
        assert (reply.status_code, code_of(reply)) == (401, "login_refused")
    wechat.fails = [-1]
    fresh = wechat.log_in("oX-9")
    reply = await service.http.post("/v1/sessions", json={"provider": "wechat", "code": fresh})
    assert (reply.status_code, code_of(reply)) == (503, "login_unavailable")
    bad_visitor = {"provider": "wechat", "code": fresh, "visitor_token": "forged"}
    assert code_of(await service.http.post("/v1/sessions", json=bad_visitor)) == "visitor_invalid"
    async with service.state.database.snapshot() as session:
        assert [row.subject for row in (await session.exec(select(Identity))).all()] == ["oX-1"]
    await log_in(service, "wechat", fresh)  # and the code was not used up for nothing


@pytest.mark.usefixtures("wechat")
async def test_a_telegram_user_logs_in_while_the_init_data_is_fresh(service: Service) -> None:
    init_data = open_mini_app(BOT, 4711, "Ada", service.clock())
    first, again = await log_in(service, "telegram", init_data), await log_in(service, "telegram", init_data)
    assert first["member"] == again["member"]
    assert first["member"]["name"] == "Ada"
    assert await known_by(member_of(service, first)) == {"telegram 4711": ANY}
    service.clock.advance(301)
    forged = open_mini_app("1:other", 4711, "Ada", service.clock())
    for refused in (init_data, forged):
        reply = await service.http.post("/v1/sessions", json={"provider": "telegram", "code": refused})
        assert (reply.status_code, code_of(reply)) == (401, "login_refused")


async def test_one_person_in_two_apps_of_ours_is_one_member(service: Service, wechat: WeChatLoginStandIn) -> None:
    first = await log_in(service, "wechat", wechat.log_in("oX-1"))
    await log_in(service, "wechat", wechat.log_in("oX-1", "uX-1"))
    second = await log_in(service, "wechat", wechat.log_in("oY-1", "uX-1"))
    assert first["member"]["id"] == second["member"]["id"]
    assert set(await known_by(member_of(service, second))) == {"wechat oX-1", "wechat oY-1"}
    stranger = await log_in(service, "wechat", wechat.log_in("oZ-1"))
    still = await log_in(service, "wechat", wechat.log_in("oZ-1", "uX-1"))
    assert stranger["member"]["id"] == still["member"]["id"] != first["member"]["id"]


async def test_many_first_logins_at_once_are_one_member(service: Service, wechat: WeChatLoginStandIn) -> None:
    codes = [wechat.log_in("oX-1", "uX-1") for _ in range(8)]
    found = await asyncio.gather(*(log_in(service, "wechat", code) for code in codes))
    assert len({session["member"]["id"] for session in found}) == 1


async def test_what_is_not_set_up_is_disabled(service: Service) -> None:
    for provider, code in (("wechat", "a" * 32), ("telegram", "hash=0")):
        reply = await service.http.post("/v1/sessions", json={"provider": provider, "code": code})
        assert (reply.status_code, code_of(reply)) == (403, "provider_disabled")
    reply = await service.http.post("/v1/sessions", json={"provider": "carrier_pigeon", "code": "coo"})
    assert (reply.status_code, code_of(reply)) == (404, "provider_not_found")


def test_production_logs_in_with_what_is_set_up_and_nothing_else() -> None:
    production: dict[str, Any] = {
        "environment": Environment.PRODUCTION,
        "secret_key": "x" * 32,
        "database_url": "postgresql://db/kaituan",
        "redis_url": "redis://redis",
        "public_url": "https://kaituan.example",
    }
    http = httpx.AsyncClient()
    assert _open_logins(Settings(**production), http) == ({}, {})
    logins, phones = _open_logins(
        Settings(**production, wechat_app_id="wx0123456789abcdef", wechat_app_secret="s", telegram_bot_token=BOT),
        http,
    )
    assert set(logins) == {"wechat", "telegram"}
    assert set(phones) == {"wechat"}


# Being known by several names


async def test_a_member_comes_from_several_providers(service: Service, wechat: WeChatLoginStandIn) -> None:
    me = await service.member()
    assert (await link(me, "wechat", wechat.log_in("oX-1", "uX-1"))).status_code == 201
    init_data = open_mini_app(BOT, 4711, "Ada", service.clock())
    linked = await link(me, "telegram", init_data)
    assert linked.json() | {"linked_at": None} == {
        "id": ANY,
        "provider": "telegram",
        "subject": "4711",
        "linked_at": None,
    }
    assert (await link(me, "telegram", init_data)).json() == linked.json()
    assert len(await known_by(me)) == 3
    for provider, code in (("wechat", wechat.log_in("oX-1")), ("telegram", init_data)):
        assert (await log_in(service, provider, code))["member"]["id"] == me.id
    assert (await log_in(service, "wechat", wechat.log_in("oY-1", "uX-1")))["member"]["id"] == me.id
    types = [event.type for event in await rows(service, Event, me.id)]
    assert types.count("identity.linked") == 2, "what was linked before is not linked again"


async def test_what_is_anothers_stays_theirs(service: Service, wechat: WeChatLoginStandIn) -> None:
    theirs = await log_in(service, "wechat", wechat.log_in("oX-1", "uX-1"))
    me = await service.member()
    for code in (wechat.log_in("oX-1"), wechat.log_in("oY-1", "uX-1")):
        reply = await link(me, "wechat", code)
        assert (reply.status_code, code_of(reply)) == (409, "identity_taken")
    assert len(await known_by(me)) == 1, "neither is the name that came with it"
    assert (await log_in(service, "wechat", wechat.log_in("oX-1")))["member"] == theirs["member"]


async def test_two_who_link_the_same_at_once_do_not_both_have_it(
    service: Service, wechat: WeChatLoginStandIn
) -> None:
    members = await service.members(6)
    replies = await asyncio.gather(*(link(one, "wechat", wechat.log_in("oX-1")) for one in members))
    assert sorted(reply.status_code for reply in replies) == [201, *[409] * 5]


async def test_as_many_names_as_we_keep(service: Service) -> None:
    me = await service.member()
    replies = [await link(me, "dev", f"name-{number}") for number in range(20)]
    assert [reply.status_code for reply in replies] == [*[201] * 19, 409]
    assert code_of(replies[-1]) == "identity_limit"
    assert len(await known_by(me)) == 20


async def test_who_unlinks_is_somebody_else_there_and_can_still_log_in(
    service: Service, wechat: WeChatLoginStandIn
) -> None:
    there = await log_in(service, "wechat", wechat.log_in("oX-1", "uX-1"))
    me = member_of(service, there)
    ids = await known_by(me)
    reply = await ask(me, "DELETE", f"{IDENTITIES}/{ids['wechat oX-1']}")
    assert (reply.status_code, code_of(reply)) == (409, "identity_last")
    assert (await link(me, "dev", "my-name")).status_code == 201
    here = member_of(service, await log_in(service, "dev", "my-name"))
    assert (await ask(here, "DELETE", f"{IDENTITIES}/{ids['wechat oX-1']}")).status_code == 204
    assert code_of(await ask(here, "DELETE", f"{IDENTITIES}/{ids['wechat oX-1']}")) == "identity_not_found"
    assert code_of(await me.get(IDENTITIES)) == "token_invalid", "what WeChat had begun has ended"
    assert set(await known_by(here)) == {"dev my-name"}
    again = await log_in(service, "wechat", wechat.log_in("oX-1", "uX-1"))
    assert again["member"]["id"] != me.id, "also by the name in all apps of ours"


async def test_a_name_that_nobody_can_log_in_with_here_is_not_enough_to_be_left_with(service: Service) -> None:
    me = await service.member()
    async with transaction(service.state, service.clock()) as work:  # said in a chat, and there are no such logins
        await identities.link(work, me.id, "telegram", "4711")
    ids = await known_by(me)
    (mine,) = (id_ for name, id_ in ids.items() if name.startswith("dev "))
    assert code_of(await ask(me, "DELETE", f"{IDENTITIES}/{mine}")) == "identity_last"
    assert (await ask(me, "DELETE", f"{IDENTITIES}/{ids['telegram 4711']}")).status_code == 204


async def test_what_another_is_known_by_is_not_mine_to_unlink(service: Service) -> None:
    me, other = await service.members(2)
    await link(me, "dev", "more")
    (theirs,) = (await known_by(other)).values()
    assert code_of(await ask(me, "DELETE", f"{IDENTITIES}/{theirs}")) == "identity_not_found"


# Staying logged in, and logging out


async def refresh(service: Service, session: dict[str, Any]) -> httpx.Response:
    return await service.http.post("/v1/sessions/refresh", json={"refresh_token": session["refresh_token"]})


async def test_a_lost_answer_is_given_again(service: Service) -> None:
    session = await log_in(service, "dev", "alice")
    answers = await asyncio.gather(*(refresh(service, session) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    (token,) = {answer.json()["refresh_token"] for answer in answers}
    assert token != session["refresh_token"]
    service.clock.advance(GRACE.total_seconds() - 5)
    assert (await refresh(service, session)).json()["refresh_token"] == token
    assert (await refresh(service, {"refresh_token": token})).status_code == 200


@pytest.mark.parametrize("late", [False, True])
async def test_a_copied_token_ends_the_session_for_everybody(service: Service, *, late: bool) -> None:
    session = await log_in(service, "dev", "alice")
    next_ = (await refresh(service, session)).json()
    if late:
        service.clock.advance(GRACE.total_seconds() + 1)
    else:
        next_ = (await refresh(service, next_)).json()
    assert code_of(await refresh(service, session)) == "token_invalid"
    assert code_of(await refresh(service, next_)) == "token_invalid"
    me = member_of(service, next_)
    assert code_of(await me.get("/v1/members/me")) == "token_invalid"
    assert [event.type for event in await rows(service, Event, me.id)].count("session.copied") == 1


async def test_logging_out_ends_one_session_or_all(service: Service) -> None:
    first, second, third = [member_of(service, await log_in(service, "dev", "alice")) for _ in range(3)]
    stranger = member_of(service, await log_in(service, "dev", "bob"))
    shown = (await second.get(SESSIONS)).json()["items"]
    assert [item["is_current"] for item in shown] == [False, True, False]
    assert {item["provider"] for item in shown} == {"dev"}
    (other,) = (await stranger.get(SESSIONS)).json()["items"]
    assert code_of(await ask(second, "DELETE", f"{SESSIONS}/{other['id']}")) == "session_not_found"
    assert (await ask(second, "DELETE", f"{SESSIONS}/{shown[2]['id']}")).status_code == 204
    assert code_of(await first.get("/v1/members/me")) == "token_invalid"
    assert (await ask(second, "DELETE", f"{SESSIONS}/current")).status_code == 204
    assert code_of(await second.get(SESSIONS)) == "token_invalid"
    assert len((await third.get(SESSIONS)).json()["items"]) == 1
    assert (await ask(third, "DELETE", SESSIONS)).status_code == 204
    assert code_of(await third.get(SESSIONS)) == "token_invalid"
    assert (await stranger.get(SESSIONS)).status_code == 200


async def test_a_session_that_ended_ends_in_every_process(service: Service) -> None:
    session = await log_in(service, "dev", "alice")
    me = member_of(service, session)
    async with open_state(service.state.settings, service.clock, share=True) as elsewhere:
        await learn(elsewhere)
        assert read_access_token(elsewhere, me.token) == me.id
        assert (await ask(me, "DELETE", f"{SESSIONS}/current")).status_code == 204
        await learn(elsewhere)
        with pytest.raises(TokenInvalid):
            read_access_token(elsewhere, me.token)
        service.clock.advance(service.state.settings.access_token_seconds + 301)
        await learn(elsewhere)
        assert elsewhere.ended == {}, "no token of it can be left"
    assert code_of(await refresh(service, session)) == "token_invalid"


async def test_a_session_that_expired_is_not_shown(service: Service) -> None:
    old = await log_in(service, "dev", "alice")
    service.clock.advance(service.state.settings.refresh_token_seconds + 1)
    me = member_of(service, await log_in(service, "dev", "alice"))
    assert len((await me.get(SESSIONS)).json()["items"]) == 1
    assert code_of(await refresh(service, old)) == "token_expired"


# Phone numbers


async def set_phone(member: Member, provider: str, code: str) -> httpx.Response:
    return await ask(member, "PUT", PHONE, {"provider": provider, "code": code})


async def whose(service: Service, number: str) -> list[str]:
    reply = await service.ops("POST", "members/search", {"phone": number})
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


async def test_a_number_is_sealed_shown_masked_and_found_whole(
    service: Service, wechat: WeChatLoginStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    me, other = await service.members(2)
    with caplog.at_level(logging.DEBUG):
        reply = await set_phone(me, "wechat", wechat.tell_phone(NUMBER[3:]))
        assert reply.json() == {"number": "+86139****5678"}
        assert (await me.get("/v1/members/me")).json()["phone"] == "+86139****5678"
        assert (await other.get("/v1/members/me")).json()["phone"] is None
        assert await whose(service, "139 1234 5678") == [me.id]
        assert await whose(service, NUMBER[:-1] + "9") == []
    assert NUMBER[3:] not in caplog.text
    assert await find_leaks(service, {NUMBER, NUMBER[3:]}) == set()
    exported = (await me.get("/v1/members/me/export")).json()["sections"]["phones"]
    assert [row["number"] for row in exported] == [NUMBER]


async def test_one_number_each_that_several_may_share(service: Service) -> None:
    me, twin = await service.members(2)
    for member in (me, twin):
        assert (await set_phone(member, "dev", NUMBER)).status_code == 200
    assert await whose(service, NUMBER) == sorted([me.id, twin.id])
    assert (await set_phone(me, "dev", "+442079460958")).json() == {"number": "+44******0958"}
    assert await whose(service, NUMBER) == [twin.id]
    assert (await ask(twin, "DELETE", PHONE)).status_code == 204
    assert (await ask(twin, "DELETE", PHONE)).status_code == 204
    assert await whose(service, NUMBER) == []
    marks = [await rows(service, Mark, member.id) for member in (me, twin)]
    assert len({mark.digest for kept in marks for mark in kept}) == 2, "that they shared it is not forgotten"


async def test_a_number_that_nobody_confirms_is_not_kept(service: Service, wechat: WeChatLoginStandIn) -> None:
    me = await service.member()
    used = wechat.tell_phone(NUMBER[3:])
    await set_phone(me, "wechat", used)
    await ask(me, "DELETE", PHONE)
    for provider, code in (("wechat", used), ("wechat", "0" * 32), ("dev", "12")):
        reply = await set_phone(me, provider, code)
        assert (reply.status_code, code_of(reply)) == (401, "login_refused")
    assert (await set_phone(me, "telegram", "1")).status_code == 422
    body = {"provider": "wechat", "code": wechat.log_in("oX-1"), "phone": NUMBER}
    assert (await service.http.post("/v1/sessions", json=body)).status_code == 422
    assert await rows(service, Phone, me.id) == []


async def test_a_number_that_was_told_at_login_is_kept_as_well(service: Service) -> None:
    session = await log_in(service, "dev", "alice", phone="13912345678")
    assert await whose(service, NUMBER) == [session["member"]["id"]]


async def test_who_is_erased_has_no_number_and_no_session(service: Service) -> None:
    session = await log_in(service, "dev", "alice", phone=NUMBER)
    me = member_of(service, session)
    assert (await ask(me, "DELETE", "/v1/members/me", {"confirm": "erase"})).status_code == 200
    assert await whose(service, NUMBER) == []
    for model in (Phone, Identity, Session, Mark):
        assert await rows(service, model, me.id) == []
    again = await log_in(service, "dev", "alice")
    assert again["member"]["id"] != me.id


async def test_a_number_under_another_secret_is_gone(service: Service) -> None:
    me = member_of(service, await log_in(service, "dev", "alice", phone=NUMBER))
    settings = service.state.settings.model_copy(update={"secret_key": "x" * 32})
    assert (await get_me(replace(service.state, settings=settings), me.id)).phone is None
