"""The pages behind an invite as HTML: what chats read of them, what their forms do, and what they refuse."""

import html
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlmodel import select
from starlette.types import Receive, Scope, Send

from app.config import Environment
from app.domain.errors import Busy, DatabaseUnavailable, SoldOut
from app.domain.segments import SegmentKind
from app.main import create_app
from app.models import Mark, Segment, Touch
from app.routers.pages import DEVICE, SESSION, VISITOR, WEB, PageRoute
from app.routers.problems import add_problem_handlers
from tests.http.refusals import check_refusal, unchanged
from tests.promises.test_rescues import fill, rescue_sale
from tests.service import BARGAIN, FLASH, Member, Sale, Service

PAGE = {"accept": "text/html", "sec-fetch-site": "none"}
ZH = {"accept-language": "zh-CN"}
BOT = {"user-agent": "TelegramBot (like TwitterBot)", "accept": "*/*"}
FOREIGN = "https://evil.example"


@dataclass(slots=True)
class Friend:
    """A browser of somebody's, without its looks."""

    http: httpx.AsyncClient
    code: str

    async def look(self, path: str = "", **headers: str) -> httpx.Response:
        return await self.http.get(f"/i/{self.code}{path}", headers=PAGE | headers)

    async def send(self, form: str, headers: Mapping[str, str] | None = None, /, **fields: str) -> httpx.Response:
        """Send a form of the page."""
        sent = {"accept": "text/html", "sec-fetch-site": "same-origin"} | dict(headers or {})
        return await self.http.post(f"/i/{self.code}/{form}", data=fields, headers=sent)

    async def log_in(self, name: str | None = None) -> httpx.Response:
        reply = await self.send("login", name=name or f"friend-{uuid4().hex[:8]}")
        assert reply.status_code == 303, reply.text
        return reply


@asynccontextmanager
async def friend(service: Service, code: str) -> AsyncIterator[Friend]:
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        yield Friend(http, code)


async def invite(member: Member, **target: str) -> str:
    reply = await member.post("/v1/invites", target)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["code"])


async def led(service: Service, **terms: Any) -> tuple[Sale, Member, str, str]:
    """A sale with a group: its leader, its id, and the code of an invite to it."""
    sale = await service.sale(**terms)
    leader = await service.member("林小满")
    group_id = (await leader.open(sale)).json()["group"]["id"]
    return sale, leader, group_id, await invite(leader, group_id=group_id)


def tags(page: str) -> dict[str, str]:
    """The meta tags of a page."""
    found = re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', page)
    return {name: html.unescape(content) for name, content in found}


def key_in(page: str) -> str:
    """The key of the form on a page."""
    found = re.search(r'name="key" value="(web_[0-9a-f]{32})"', page)
    assert found, page
    return found[1]


def text_of(page: str) -> str:
    """What is to be read on a page, without what is hidden."""
    shown = re.sub(r"<(\w+)[^>]* hidden>.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", shown).split()))


async def touches(service: Service, code: str) -> list[Touch]:
    async with service.state.database.snapshot() as session:
        return list((await session.exec(select(Touch).where(Touch.code == code))).all())


# Who asks


async def test_a_chat_gets_tags_and_does_not_tap(service: Service) -> None:
    _, _, _, code = await led(service, title="明前龙井")
    read: dict[str, dict[str, str]] = {}
    async with unchanged(service):
        for headers in (BOT, BOT | ZH, BOT | {"accept": "text/html"}, {"user-agent": "WhatsApp/2.23"}):
            async with httpx.AsyncClient(base_url=service.url) as http:
                reply = await http.get(f"/i/{code}", headers=headers)
            assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "set-cookie" not in reply.headers
            assert "<script" not in reply.text
            assert len(reply.text) < 4000
            read[headers.get("accept-language", "en")] = found = tags(reply.text)
            assert found["og:title"] == found["twitter:title"] == "明前龙井"
            assert found["og:url"] == f"{service.url}/i/{code}"
            tongue = "zh" if "zh" in headers.get("accept-language", "") else "en"
            picture = f"{service.url}/v1/invites/{code}/preview.png?lang={tongue}"
            assert found["og:image"] == found["twitter:image"] == picture
            drawn = await service.http.get(picture, follow_redirects=True)  # to the SVG, without a Chinese font
            assert (drawn.status_code, drawn.headers["content-type"].partition("/")[0]) == (200, "image")
            assert (found["og:image:width"], found["og:image:height"]) == ("1200", "630")
            assert found["twitter:card"] == "summary_large_image"
            assert found["og:description"] == found["twitter:description"] == found["description"]
    assert read["en"]["og:description"] == "CN¥49.00 · 1 of 3 in · 林*满 invites you to buy together"
    assert read["zh-CN"]["og:description"] == "¥49.00 · 还有 2 个名额 · 林*满 邀请你一起买"
    assert await touches(service, code) == []
    async with friend(service, code) as person:
        for tongue, headers in (("en", {}), ("zh-CN", ZH)):
            assert tags((await person.look(**headers)).text).items() >= read[tongue].items()
    assert len(await touches(service, code)) == 1


@pytest.mark.parametrize("headers", [PAGE, BOT, {"accept": "application/json"}])
async def test_every_answer_says_what_it_depends_on(service: Service, headers: dict[str, str]) -> None:
    _, _, _, code = await led(service)
    async with httpx.AsyncClient(base_url=service.url) as http:
        reply = await http.get(f"/i/{code}", headers=headers)
    assert reply.headers["vary"] == "accept, user-agent, accept-language"
    assert reply.headers["cache-control"] == "no-store"


async def test_a_tap_is_counted_once_however_one_moves_about(service: Service) -> None:
    _, _, group_id, code = await led(service)
    async with friend(service, code) as person:
        await person.look()
        await person.log_in()
        for path in ("", f"/groups/{group_id}"):
            await person.look(path, **{"sec-fetch-site": "same-origin"})
        del_site = {"accept": "text/html", "referer": f"{service.url}/i/{code}"}
        await person.http.get(f"/i/{code}", headers=del_site)
        (touch,) = await touches(service, code)
        assert touch.taps == 1
        assert touch.member_id is not None, "what was tapped before the login was tapped by the member"
        await person.look(f"/groups/{group_id}")
        assert len(await touches(service, code)) == 2, "a link to a page below is a tap, too"


# Cookies


async def test_cookies_are_out_of_reach(service: Service) -> None:
    _, _, _, code = await led(service)
    settings = service.state.settings.model_copy(update={"public_url": "https://shop.example"})
    secure = create_app(settings, replace(service.state, settings=settings))
    secure.state.kaituan = None

    async def check(http: httpx.AsyncClient, flag: str | None) -> None:
        seen = set()
        looked = await http.get(f"/i/{code}", headers=PAGE)
        logged_in = await http.post(f"/i/{code}/login", data={"name": "secure"}, headers=PAGE)
        logged_out = await http.post(f"/i/{code}/logout", headers=PAGE)
        for reply in (looked, logged_in, logged_out):
            for cookie in reply.headers.get_list("set-cookie"):
                name, _, rest = cookie.partition("=")
                flags = {part.strip().lower() for part in rest.split(";")[1:]}
                assert {"path=/i", "samesite=lax"} <= flags, cookie
                assert reply is logged_out or "httponly" in flags, cookie
                assert reply is logged_out or ("secure" in flags) == (flag is not None), cookie
                seen.add(name)
        assert seen == {SESSION, VISITOR, DEVICE}

    async with httpx.AsyncClient(base_url=service.url) as http:
        await check(http, None)
    transport = httpx.ASGITransport(_WithState(secure, replace(service.state, settings=settings)))
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as http:
        await check(http, "secure")


class _WithState:
    """An application that is called without its lifespan, with a state of ours."""

    def __init__(self, app: Any, state: Any) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope | {"state": {"kaituan": self.state}}, receive, send)


@pytest.mark.parametrize("wrong", ["x", "a.b.c", "é", '"', "eyJhbGciOiJub25lIn0.e30."])
async def test_cookies_that_are_wrong_are_as_none(service: Service, wrong: str) -> None:
    _, _, _, code = await led(service)
    cookies = "; ".join(f"{name}={wrong}" for name in (SESSION, VISITOR, DEVICE)).encode("latin-1")
    sent = {b"accept": b"text/html", b"cookie": cookies}
    async with httpx.AsyncClient(base_url=service.url) as http:
        reply = await http.get(f"/i/{code}", headers=sent)
        assert reply.status_code == 200
        assert "Log in to join" in reply.text
        assert f"{VISITOR}=" in reply.headers["set-cookie"]
        reply = await http.post(f"/i/{code}/login", data={"name": "x"}, headers=sent)
        assert reply.status_code == 303
        assert re.search(rf"{DEVICE}=dev_[0-9a-f]{{32}};", ",".join(reply.headers.get_list("set-cookie")))


async def test_two_accounts_of_one_browser_are_two_visitors_with_one_device(service: Service) -> None:
    _, _, _, code = await led(service)
    names = [f"twin-{number}-{uuid4().hex[:6]}" for number in range(2)]
    async with friend(service, code) as person:
        for name in names:
            await person.look()
            await person.log_in(name)
            await person.send("logout")
    replies = [await service.http.post("/v1/sessions", json={"provider": "dev", "code": name}) for name in names]
    first, second = (reply.json()["member"]["id"] for reply in replies)
    assert {touch.member_id for touch in await touches(service, code)} == {first, second}
    async with service.state.database.snapshot() as session:
        marks = {
            member: set((await session.exec(select(Mark.digest).where(Mark.member_id == member))).all())
            for member in (first, second)
        }
    assert len(marks[first] & marks[second]) == 1, "the device"
    assert len(marks[first] ^ marks[second]) == 2, "the visitors"


# Forms


async def test_the_whole_way_by_forms(service: Service) -> None:
    sale, _, group_id, code = await led(service, order_limit=2)
    async with friend(service, code) as person:
        page = (await person.look()).text
        assert "Log in to join" in page
        assert 'name="offer_id"' not in page
        reply = await person.log_in("韩梅梅 & Co.")
        assert reply.headers["location"] == f"/i/{code}#join"
        page = (await person.look()).text
        assert "Logged in as 韩梅梅 & Co." in text_of(page)
        fields = {"key": key_in(page), "offer_id": sale.offer, "group_id": group_id, "quantity": "2"}
        first, twin = await person.send("join", **fields), await person.send("join", **fields)
        assert first.status_code == 303, first.text
        assert first.headers["location"] == twin.headers["location"], "sent twice, it is one seat"
        assert (await service.group(group_id))["held"] == 2

        page = (await person.look()).text
        assert "Seat 2 is kept for you" in text_of(page)
        assert "Pay CN¥98.00" in page
        order_id = re.findall(r'name="order_id" value="(ord_\w+)"', page)[0]
        again = await person.send("pay", order_id=order_id, key=key_in(page))
        assert again.headers["location"] != first.headers["location"]

        cashier = httpx.URL(first.headers["location"])
        back = f"/i/{code}/orders/{order_id}"
        assert (
            str(cashier).partition("?")[0].startswith(f"{service.url}/sandbox/pay/"),
            cashier.params["back"],
        ) == (
            True,
            back,
        )
        assert f'href="{back}"' in (await person.http.get(cashier)).text
        refused = await person.http.post(cashier.copy_with(path=f"{cashier.path}/form"), data={"refuse": "true"})
        assert httpx.URL(refused.headers["location"]).params["back"] == back
        paid = await person.http.post(cashier.copy_with(path=f"{cashier.path}/form"))
        assert f'href="{back}"' in (await person.http.get(paid.headers["location"])).text

        returned = await person.http.get(back, headers=PAGE)
        assert (returned.status_code, returned.headers["location"]) == (303, f"/i/{code}")
        page = (await person.look(**{"accept-language": "zh-CN"})).text
        assert "你已参团：2 号位，已付款" in text_of(page), "without waiting for the notification"
        assert (await person.send("pay", order_id=order_id, key="web_" + "0" * 32)).status_code == 409
    await service.work()
    assert (await service.group(group_id))["paid"] == 1
    assert await service.violations() == []


async def test_a_group_of_ones_own_and_a_group_about_to_fill(service: Service) -> None:
    sale, leader, group_id, _ = await led(service)
    code = await invite(leader, sale_id=sale.id)
    async with friend(service, code) as person, friend(service, code) as other:
        await person.log_in()
        page = (await person.look()).text
        assert "About to fill" in page
        assert f'href="/i/{code}/groups/{group_id}"' in page
        reply = await person.send("join", key=key_in(page), offer_id=sale.offer, sale_id=sale.id)
        opened = httpx.URL(reply.headers["location"]).params["back"]
        returned = await person.http.get(opened, headers=PAGE)
        own = returned.headers["location"]
        assert re.fullmatch(rf"/i/{code}/groups/grp_[0-9a-f]{{32}}", own)
        assert "Seat 1 is kept for you" in text_of((await person.http.get(own, headers=PAGE)).text)
        assert "Seat 1 is kept for you" in text_of((await person.look()).text), "also where the invite leads"

        await other.log_in()
        page = (await other.look(f"/groups/{group_id}")).text
        reply = await other.send("join", key=key_in(page), offer_id=sale.offer, group_id=group_id)
        assert reply.status_code == 303
    assert (await service.group(group_id))["held"] == 2
    assert await service.violations() == []


async def test_who_is_in_invites_by_a_link_of_their_own(service: Service) -> None:
    sale, _, group_id, code = await led(service)
    async with friend(service, code) as person:
        assert (await person.send("share", group_id=group_id)).headers["location"] == f"/i/{code}#join"
        await person.log_in("王一诺")
        page = (await person.look()).text
        assert "Make a link of my own" not in page
        await person.send("join", key=key_in(page), offer_id=sale.offer, group_id=group_id)
        assert "Make a link of my own" in (await person.look()).text
        made = await person.send("share", group_id=group_id)
        own = made.headers["location"]
        assert own != f"/i/{code}"
        page = (await person.http.get(own, headers=PAGE | {"sec-fetch-site": "same-origin"})).text
        assert "You invite your friends" in page
        assert f'value="{service.url}{own}"' in page
        assert await touches(service, own.removeprefix("/i/")) == [], "looking at one's own link is no tap"
        async with friend(service, own.removeprefix("/i/")) as other:
            assert "王*诺 invites you" in (await other.look()).text
        refused = await person.send("share", group_id="grp_" + "0" * 32)
        assert refused.status_code == 404


async def test_nobody_joins_who_is_not_logged_in(service: Service) -> None:
    sale, _, group_id, code = await led(service)
    key = "web_" + "1" * 32
    async with friend(service, code) as person, unchanged(service):
        reply = await person.send("join", key=key, offer_id=sale.offer, group_id=group_id)
        assert (reply.status_code, reply.headers["location"]) == (303, f"/i/{code}/groups/{group_id}#join")
        reply = await person.send("pay", key=key, order_id="ord_" + "0" * 32)
        assert (reply.status_code, reply.headers["location"]) == (303, f"/i/{code}#join")
        reply = await person.http.get(f"/i/{code}/orders/ord_{'0' * 32}")
        assert (reply.status_code, reply.headers["location"]) == (303, f"/i/{code}#join")
    async with friend(service, code) as person:
        await person.log_in()
        service.clock.advance(86_401)
        async with unchanged(service):
            reply = await person.send("join", key=key, offer_id=sale.offer, group_id=group_id)
            assert reply.headers["location"].endswith("#join"), "the login is too old"


# Refusals


async def test_a_form_from_another_site_is_refused(service: Service) -> None:
    sale, _, group_id, code = await led(service)
    async with friend(service, code) as person:
        await person.log_in()
        fields = {"key": "web_" + "2" * 32, "offer_id": sale.offer, "group_id": group_id}
        forms = {"join": fields, "login": {"name": "eve"}, "logout": {}, "pay": {"order_id": "ord_" + "0" * 32}}
        async with unchanged(service):
            for form, filled in forms.items():
                for site in ("cross-site", "same-site"):
                    reply = await person.send(form, {"sec-fetch-site": site}, **filled)
                    assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)
                    assert "This form was sent from another site" in reply.text
                for origin in (FOREIGN, "null", f"{service.url}.evil.example", "http://["):
                    headers = {"accept": "*/*", "origin": origin}
                    reply = await person.http.post(f"/i/{code}/{form}", data=filled, headers=headers)
                    check_refusal(reply, "cross_site")
        own = {"accept": "*/*", "origin": service.url}
        assert (await person.http.post(f"/i/{code}/join", data=fields, headers=own)).status_code == 303


@pytest.mark.parametrize(
    ("terms", "before", "status", "said"),
    [
        ({"stocks": [1]}, 0, 409, ("Sold out", "已售罄")),
        ({"group_size": 2}, 1, 409, ("The group is full", "团已满")),
        ({"member_limit": 1}, 0, 409, ("limit", "上限")),
        ({}, 0, 422, ("offer", "报价")),
    ],
)
async def test_a_refusal_is_a_page(
    service: Service, terms: dict[str, Any], before: int, status: int, said: tuple[str, str]
) -> None:
    sale, _, group_id, code = await led(service, **terms)
    for member in await service.members(before):
        await member.join(sale, group_id)
    offer = sale.offer
    async with friend(service, code) as person:
        await person.log_in()
        if "member_limit" in terms:
            reply = await person.send("join", key="web_" + uuid4().hex, offer_id=offer, sale_id=sale.id)
            assert reply.status_code == 303
        if not terms:
            other = await service.sale()
            offer, status = other.offer, 404
        async with unchanged(service):
            for number, tongue in enumerate(({}, ZH)):
                reply = await person.send(
                    "join", tongue, key="web_" + uuid4().hex, offer_id=offer, group_id=group_id
                )
                assert (reply.status_code, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
                assert said[number].lower() in text_of(reply.text).lower()
                assert ("没有占用名额" if tongue else "No place was taken") in reply.text
                assert f'href="/i/{code}"' in reply.text
                assert "content-security-policy" in reply.headers


async def test_what_we_cannot_tell_is_said_as_that(service: Service) -> None:
    app, router = FastAPI(), APIRouter(route_class=PageRoute)

    @router.post("/i/{code}/join")
    async def fail(code: str) -> None:
        raise {"away": DatabaseUnavailable(), "busy": Busy()}.get(code, SoldOut(left=0))

    add_problem_handlers(app)
    app.include_router(router)

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"kaituan": service.state}}, receive, send)

    transport = httpx.ASGITransport(opened, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        for code in ("away", "busy"):
            reply = await http.post(f"/i/{code}/join", headers=PAGE)
            assert (reply.status_code, "We cannot tell what came of it" in reply.text) == (503, True)
            assert "No place was taken" not in reply.text
        assert "No place was taken" in (await http.post("/i/gone/join", headers=PAGE)).text
        reply = await http.post("/i/away/join")
        assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")


async def test_a_form_that_is_too_large_is_refused_as_a_page(service: Service) -> None:
    _, _, _, code = await led(service)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"name=" + b"x" * 1024 + b"&"

    async with friend(service, code) as person, unchanged(service):
        headers = {"accept": "text/html", "content-type": "application/x-www-form-urlencoded"}
        reply = await person.http.post(f"/i/{code}/login", content=pieces(), headers=headers)
        assert (reply.status_code, reply.headers["content-type"]) == (413, "text/html; charset=utf-8")


async def test_an_invite_that_is_over_or_never_was_is_a_page(service: Service) -> None:
    _, _, _, code = await led(service)
    async with friend(service, "NothingHere") as person:
        reply = await person.look(**ZH)
        assert (reply.status_code, "邀请不存在" in reply.text) == (404, True)
        assert (await person.look("/groups/x")).status_code == 422
        person.code = "§"
        assert (await person.look()).status_code == 422
        service.clock.advance(31 * 86_400)
        person.code = code
        reply = await person.look()
        assert (reply.status_code, reply.headers["content-language"]) == (410, "en")
        assert reply.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"key": "x"},
        {"quantity": "0"},
        {"quantity": "many"},
        {"sale_id": "sal_" + "0" * 32},
        {"group_id": "x"},
        {"unknown": "1"},
    ],
)
async def test_forms_that_are_wrong(service: Service, fields: dict[str, str]) -> None:
    sale, _, group_id, code = await led(service)
    good = {"key": "web_" + "3" * 32, "offer_id": sale.offer, "group_id": group_id}
    async with friend(service, code) as person:
        await person.log_in()
        async with unchanged(service):
            reply = await person.send("join", **(good | fields if fields else {}))
            assert (reply.status_code, reply.headers["content-type"]) == (422, "text/html; charset=utf-8")
            broken = {"content-type": "multipart/form-data", "accept": "text/html"}
            reply = await person.http.post(f"/i/{code}/join", content=b"--y\r\nbroken", headers=broken)
            assert reply.status_code == 400


async def test_somebody_elses_order_is_not_shown(service: Service) -> None:
    _, leader, _, code = await led(service)
    order_id = (await leader.get("/v1/orders")).json()["items"][0]["id"]
    async with friend(service, code) as person:
        await person.log_in()
        async with unchanged(service):
            for wanted in (order_id, "ord_" + "0" * 32):
                assert (await person.look(f"/orders/{wanted}")).status_code == 404
                reply = await person.send("pay", order_id=wanted, key="web_" + "4" * 32)
                assert reply.status_code == 404
        assert "kept for you" not in text_of((await person.look()).text)


async def test_nothing_leads_elsewhere(service: Service) -> None:
    _, leader, _, code = await led(service)
    order_id = (await leader.get("/v1/orders")).json()["items"][0]["id"]
    pay_url = await leader.start_payment(order_id)
    good = f"/i/{code}/orders/{order_id}"
    async with friend(service, code) as person:
        for wrong in (
            FOREIGN,
            f"//evil.example{good}",
            f"{FOREIGN}{good}",
            f"{good}\n",
            f"/\\evil{good}",
            f"{good}/..",
        ):
            for method, url in (("GET", pay_url), ("POST", f"{pay_url}/form")):
                reply = await person.http.request(method, url, params={"back": wrong})
                assert reply.status_code == 422, wrong
            reply = await person.send("login", name="x", place=wrong)
            assert reply.status_code == 422, wrong
            reply = await person.send("logout", place=wrong)
            assert reply.status_code == 422, wrong


# What is shown


async def test_names_and_titles_are_texts(service: Service) -> None:
    evil = "<script>alert(1)</script>\"'&{{7*7}}"
    sale = await service.sale(title=evil, description=evil)
    body = {"provider": "dev", "code": uuid4().hex, "name": "<b>\"'"}
    session = (await service.http.post("/v1/sessions", json=body)).json()
    leader = Member(service, session["member"]["id"], session["member"]["name"], session["access_token"])
    group_id = (await leader.open(sale)).json()["group"]["id"]
    codes = [
        await invite(leader, **target)
        for target in ({"group_id": group_id}, {"sale_id": sale.id}, {"community_id": sale.body["community_id"]})
    ]
    for code in codes:
        async with friend(service, code) as person:
            await person.log_in("<i>\"'>")
            for reply in (
                await person.look(),
                await person.look(**ZH),
                await person.http.get(f"/i/{code}", headers=BOT),
            ):
                assert reply.status_code == 200
                assert not re.search(r"<script>|<b>\"|<i>\"", reply.text)
                assert "{{7*7}}" in reply.text or code == codes[2]
                for name, content in tags(reply.text).items():
                    if name in {"og:title", "twitter:title"} and code != codes[2]:
                        assert content == evil


async def test_states_are_told_as_they_are(service: Service) -> None:
    sale, leader, group_id, code = await led(service, group_size=2)
    group = (await leader.get("/v1/orders")).json()["items"][0]
    async with friend(service, code) as person:
        assert "Only 1 to go" in text_of((await person.look()).text)
        member = await service.member()
        joined = (await member.join(sale, group_id)).json()["order"]
        page = text_of((await person.look()).text)
        assert "Full; waiting for payments" in page
        assert "Open your own group" in page
        await leader.pay(group["id"])
        await member.pay(joined["id"])
        assert "the group succeeded" in text_of((await person.look()).text)

    sale, leader, _, code = await led(service, group_size=2)
    order_id = (await leader.get("/v1/orders")).json()["items"][0]["id"]
    async with friend(service, code) as person:
        assert (await service.ops("POST", f"sales/{sale.id}/pause")).status_code == 200
        page = text_of((await person.look()).text)
        assert "The sale is paused" in page
        assert "Log in" not in page
        assert (await service.ops("POST", f"sales/{sale.id}/resume")).status_code == 200
        await leader.post(f"/v1/orders/{order_id}/cancel")
        assert "It did not fill" in text_of((await person.look()).text)
    assert await service.violations() == []


async def test_who_was_moved_or_refunded_is_told(service: Service) -> None:
    sale = await rescue_sale(service)
    first, early = await fill(service, sale, {"on_unfilled": "merge"}, {"on_unfilled": "merge"})
    service.clock.advance(60)
    second, _ = await fill(service, sale, {})
    third, alone = await fill(service, sale, {})
    codes = [await invite(early[0][0], group_id=group_id) for group_id in (first, third)]
    service.clock.advance(3541)
    await service.work()
    service.clock.advance(61)
    await service.work()
    async with httpx.AsyncClient(base_url=service.url, cookies={SESSION: early[1][0].token}) as http:
        page = (await Friend(http, codes[0]).look()).text
        assert "It went on as part of another group" in text_of(page)
        assert f'href="/i/{codes[0]}/groups/{second}"' in page
        assert "You are in: seat" in text_of((await Friend(http, codes[0]).look(f"/groups/{second}")).text)
    async with httpx.AsyncClient(base_url=service.url, cookies={SESSION: alone[0][0].token}) as http:
        page = text_of((await Friend(http, codes[1]).look()).text)
        assert "It did not fill; everybody gets their money back" in page
        assert "Your money is back" in page
    assert await service.violations() == []


async def test_each_kind_of_sale_says_how_to_go_on(service: Service) -> None:
    member = await service.member("王一诺")
    soon = (service.clock() + timedelta(hours=5)).isoformat()
    first = await service.sale(**FLASH, title="Flash")
    community = first.body["community_id"]
    bargain = await service.sale(**BARGAIN, title="Bargain", community_id=community)
    coming = await service.sale(opens_at=soon, title="Coming", community_id=community)
    over = await service.sale(title="Over", community_id=community)
    over_code = await invite(member, sale_id=over.id)
    await service.ops("POST", f"sales/{over.id}/end")
    code = await invite(member, community_id=community)
    async with friend(service, code) as person:
        page = text_of((await person.look()).text)
        assert all(title in page for title in ("Flash", "Bargain", "Coming", "opens in 5 hours"))
        assert "Over" not in page
        for sale, said in (
            (first, "A flash sale has a line at its door"),
            (bargain, "Start a bargain in the mini-program"),
            (coming, "Opens in 5 hours"),
            (over, "The sale is over"),
        ):
            reply = await person.look(f"/sales/{sale.id}")
            assert reply.status_code == 200
            assert said in text_of(reply.text)
            assert 'action="/i/' not in reply.text or sale is not over
        other = await service.sale()
        assert (await person.look(f"/sales/{other.id}")).status_code == 404
        person.code = over_code
        assert "The sale is over" in text_of((await person.look()).text)


async def test_what_was_bought_in_a_flash_sale_is_shown_without_a_group(service: Service) -> None:
    sale = await service.sale(**FLASH)
    buyer = await service.member()
    order = (await buyer.buy(sale)).json()["order"]
    code = await invite(await service.member(), sale_id=sale.id)
    async with httpx.AsyncClient(base_url=service.url, cookies={SESSION: buyer.token}) as http:
        person = Friend(http, code)
        page = (await person.look()).text
        assert "It is kept for you" in text_of(page)
        assert "data-group" not in page
        paying = await person.send("pay", order_id=order["id"], key=key_in(page))
        url = httpx.URL(paying.headers["location"])
        await http.post(url.copy_with(path=f"{url.path}/form"))
        returned = await http.get(url.params["back"], headers=PAGE)
        page = (await http.get(returned.headers["location"], headers=PAGE)).text
        assert "It is yours" in text_of(page)
        assert "data-group" not in page
    assert await service.violations() == []


async def test_the_mini_program_is_offered_where_there_is_one(service: Service) -> None:
    _, _, _, code = await led(service)

    async def page(**changes: Any) -> str:
        settings = service.state.settings.model_copy(update=changes)
        state = replace(service.state, settings=settings)
        transport = httpx.ASGITransport(_WithState(create_app(settings, state), state))
        async with httpx.AsyncClient(transport=transport, base_url=service.url) as http:
            return (await http.get(f"/i/{code}", headers=PAGE)).text

    link = "weixin://dl/business/?t={code}"
    there = f'href="weixin://dl/business/?t={code}"'
    assert there in await page(mini_program_url=link)
    assert "mini-program" not in await page()
    # In production one cannot log in on the page.
    shop = await page(mini_program_url=link, environment=Environment.PRODUCTION)
    assert (there in shop, "/login" in shop, 'id="join"' in shop) == (True, False, False)
    assert "Enter the code in our mini-program" in await page(environment=Environment.PRODUCTION)


async def test_pages_load_nothing_and_are_framed_by_nobody(service: Service) -> None:
    _, leader, _, code = await led(service)
    order_id = (await leader.get("/v1/orders")).json()["items"][0]["id"]
    pay_url = await leader.start_payment(order_id)
    async with friend(service, code) as person:
        for reply in (await person.look(), await person.look("/groups/x"), await person.http.get(pay_url)):
            policy = dict(
                part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["img-src"] == "'self'"
            assert policy["form-action"] in {"'self'", f"'self' {service.url}"}
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["referrer-policy"] == "same-origin"
            assert not re.search(r"<style| style=| on\w+=|<script(?! src=\"/static/)", reply.text)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_can_be_told_apart() -> None:
    """WCAG 2.2, 1.4.3: text and its ground, by day and by night."""
    themes = re.findall(r":root \{(.*?)\}", (WEB / "static" / "pages.css").read_text(), re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", theme))
        pairs = [(ink, ground) for ink in ("ink", "soft", "brand") for ground in ("ground", "paper", "tint")]
        for ink, ground in [*pairs, ("on-brand", "brand"), ("good", "good-tint"), ("ink", "good-tint")]:
            bright, dim = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, ground)


@pytest.mark.parametrize("name", ["½", "② ①", "张三 Z.", "e\u0301", "Ⅷ"])
async def test_whatever_name_one_has_one_is_let_in(service: Service, name: str) -> None:
    _, _, _, code = await led(service)
    async with friend(service, code) as person:
        await person.log_in(name)


async def test_a_name_that_turns_the_line_around_is_refused(service: Service) -> None:
    _, _, _, code = await led(service)
    async with friend(service, code) as person:
        assert (await person.send("login", name="ab\u202ecd")).status_code == 422


async def test_what_a_browser_asks_for_ahead_is_no_tap(service: Service) -> None:
    _, _, _, code = await led(service)
    async with friend(service, code) as person:
        assert (await person.look(**{"sec-purpose": "prefetch;prerender"})).status_code == 200
        assert await touches(service, code) == []
        await person.look()
    assert len(await touches(service, code)) == 1


async def test_the_page_of_a_community_says_what_it_is_for_and_lets_one_in(service: Service) -> None:
    owner = await service.member("林小满")
    community = await service.community(owner, name="西湖茶友", join_mode="invite")
    code = await invite(owner, community_id=community["id"])
    async with friend(service, code) as someone:
        page = (await someone.look(**ZH)).text
        for said in (
            "西湖茶友",
            "爱茶的人",
            "当季的好茶",
            "一起买更便宜",
            "每单的毛利",
            "只谈茶",
            "1 位成员",
            "登录后加入",
        ):
            assert said in page, said
        await someone.send("enrol", key=f"web_{uuid4().hex}")
        assert "1 位成员" in (await someone.look(**ZH)).text, "nobody is logged in"
        await someone.log_in()
        key = key_in((await someone.look()).text)
        for _ in range(2):
            assert (await someone.send("enrol", key=key)).headers["location"] == f"/i/{code}#join"
        page = (await someone.look(**ZH)).text
        assert "你已是成员" in page
        assert "2 位成员" in page
    await service.ops("POST", f"communities/{community['id']}/dissolve")
    async with friend(service, code) as late:
        await late.log_in()
        page = (await late.look(**ZH)).text
        assert "该社群已解散" in page
        assert "/enrol" not in page
        refusal = await late.send("enrol", key=key)
        assert refusal.status_code == 409


async def test_the_page_of_a_community_takes_applications(service: Service) -> None:
    owner = await service.member()
    community = await service.community(owner, join_mode="approve")
    code = await invite(owner, community_id=community["id"])
    async with friend(service, code) as someone:
        await someone.log_in()
        page = (await someone.look(**ZH)).text
        assert "申请加入" in page
        await someone.send("enrol", key=key_in(page), application="我也爱喝茶")
        assert "等待审核" in (await someone.look(**ZH)).text
    applicants = await owner.get(f"/v1/communities/{community['id']}/members", params={"state": "applied"})
    assert [item["application"] for item in applicants.json()["items"]] == ["我也爱喝茶"]


async def test_the_page_of_a_paid_community_leads_to_the_cashier_and_back(service: Service) -> None:
    owner = await service.member()
    terms = {"join_mode": "paid", "plan": {"price": 1990, "period_days": 30}}
    code = await invite(owner, community_id=(await service.community(owner, **terms))["id"])
    async with friend(service, code) as someone:
        await someone.log_in()
        page = (await someone.look(**ZH)).text
        assert "付 ¥19.90 加入 30 天" in page
        cashier, _, back = (await someone.send("enrol", key=key_in(page))).headers["location"].partition("?back=")
        assert (await service.http.post(cashier, json={})).status_code == 200
        assert (await someone.look(back.removeprefix(f"/i/{code}"))).headers["location"] == f"/i/{code}"
        assert "你已是成员" in (await someone.look(**ZH)).text
    elsewhere = await invite(owner, sale_id=(await service.sale()).id)
    async with friend(service, elsewhere) as someone:
        await someone.log_in()
        assert (await someone.send("enrol", key=f"web_{uuid4().hex}")).status_code == 404


async def test_a_community_that_one_may_not_see_has_no_page(service: Service) -> None:
    owner, stranger = await service.members(2)
    async with service.state.database.transaction() as session:
        segment = Segment(name="nobody", kind=SegmentKind.STATIC, rule={}, created_at=service.clock())
        session.add(segment)
    community = await service.community(owner, see_segment_id=segment.id)
    code = await invite(owner, community_id=community["id"])
    async with friend(service, code) as someone:
        assert (await someone.look()).status_code == 404
    assert (await stranger.get(f"/v1/communities/{community['id']}")).status_code == 404
