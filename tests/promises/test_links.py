"""Who speaks in a chat: one identity is one member's, by a secret that is good once."""

from collections.abc import AsyncIterator

import pytest
from sqlmodel import select

from app.demo.platforms.stand_in import StandIn
from app.demo.platforms.telegram import TelegramStandIn
from app.demo.platforms.wechat import WeChatStandIn
from app.demo.platforms.wecom import WeComStandIn
from app.domain.bindings import PlatformName, shown_provider
from app.models import Binding, Identity, LinkCode
from app.services import links
from app.services.bindings import provider_of
from tests.promises.chat import Chat, bind, playing
from tests.service import Member, Service

ANA, BEN, EVE = "101", "102", "666"
CODES, IDENTITIES = "/v1/members/me/link-codes", "/v1/members/me/identities"


@pytest.fixture
async def chat(service: Service) -> AsyncIterator[Chat]:
    stand_in = TelegramStandIn()
    async with playing(service, stand_in):
        yield Chat(service, stand_in, await bind(service, stand_in, (await service.community())["id"]))


async def code_of(member: Member) -> str:
    made = await member.post(CODES)
    assert made.status_code == 201, made.text
    return str(made.json()["code"])


async def linked(service: Service) -> dict[str, str]:
    """Whom the platform knows."""
    async with service.state.database.snapshot() as session:
        found = await session.exec(select(Identity).where(Identity.provider == "telegram"))
        return {row.subject: row.member_id for row in found.all()}


async def token_for(service: Service, who: str) -> str:
    return (await links.create_link(service.state, PlatformName.TELEGRAM, who)).rsplit("/", 1)[-1]


async def test_a_code_is_good_once(service: Service, chat: Chat) -> None:
    member = await service.member("安娜小姐")
    code = await code_of(member)
    assert "你是 安**姐" in await chat.ask(ANA, f"绑定 {code}")
    assert "无效" in await chat.ask(BEN, f"绑定 {code}")
    assert "你是 安**姐" in await chat.ask(ANA, f"link {code.lower()}")
    assert await linked(service) == {ANA: member.id}
    listed = (await member.get(IDENTITIES)).json()["items"]
    assert [one["provider"] for one in listed] == ["dev", "telegram"]


async def test_a_code_says_nothing_of_who_was_unlinked(service: Service, chat: Chat) -> None:
    member = await service.member("安娜小姐")
    code = await code_of(member)
    assert "你是 安**姐" in await chat.ask(ANA, f"绑定 {code}")
    (known,) = [one for one in (await member.get(IDENTITIES)).json()["items"] if one["provider"] == "telegram"]
    gone = await service.http.delete(f"{IDENTITIES}/{known['id']}", headers=member.headers)
    assert gone.status_code == 204
    assert "无效" in await chat.ask(ANA, f"绑定 {code}")
    assert await linked(service) == {}


async def test_a_code_is_good_for_ten_minutes(service: Service, chat: Chat) -> None:
    code = await code_of(await service.member())
    service.clock.advance(601)
    assert "无效" in await chat.ask(ANA, f"绑定 {code}")
    assert await linked(service) == {}


async def test_a_code_is_kept_as_its_digest(service: Service) -> None:
    code = await code_of(await service.member())
    async with service.state.database.snapshot() as session:
        (row,) = (await session.exec(select(LinkCode))).all()
    assert code not in repr(row)


async def test_who_is_somebody_stays_it(service: Service, chat: Chat) -> None:
    member, other = await service.members(2)
    await chat.link(member, ANA)
    assert "抱歉" in await chat.ask(ANA, f"绑定 {await code_of(other)}")
    assert (
        await other.post(IDENTITIES, {"provider": "chat", "code": await token_for(service, ANA)})
    ).status_code == 409
    assert await linked(service) == {ANA: member.id}


async def test_nobody_guesses_codes(service: Service, chat: Chat) -> None:
    for _ in range(5):
        assert "无效" in await chat.ask(EVE, "绑定 ABCD2345")
    code = await code_of(await service.member())
    assert "过于频繁" in await chat.ask(EVE, f"绑定 {code}")
    assert await linked(service) == {}
    assert "绑定成功" in await chat.ask(BEN, f"绑定 {code}")


async def test_codes_are_not_made_without_end(service: Service) -> None:
    member, limiter = await service.member(), service.state.member_links
    limiter.rate = 1 / 60
    try:
        replies = [await member.post(CODES) for _ in range(6)]
    finally:
        limiter.rate = 0
    assert [reply.status_code for reply in replies] == [201] * 5 + [429]


async def test_a_link_is_good_once(service: Service) -> None:
    member, other = await service.members(2)
    token = await token_for(service, ANA)
    for _ in range(2):
        reply = await member.post(IDENTITIES, {"provider": "chat", "code": token})
        assert (reply.status_code, reply.json()["subject"]) == (201, ANA)
    assert (await other.post(IDENTITIES, {"provider": "chat", "code": token})).json()["code"] == "link_not_found"
    late = await token_for(service, BEN)
    service.clock.advance(601)
    assert (await other.post(IDENTITIES, {"provider": "chat", "code": late})).status_code == 404
    assert await linked(service) == {ANA: member.id}


async def test_a_code_is_no_link_and_a_link_no_code(service: Service, chat: Chat) -> None:
    member, other = await service.members(2)
    padded = (await code_of(member)).ljust(32, "-")
    for code in (padded, "a" * 32):
        reply = await other.post(IDENTITIES, {"provider": "chat", "code": code})
        assert reply.status_code == 404, reply.text
    assert (await other.post(IDENTITIES, {"provider": "chat", "code": "short"})).status_code == 422
    assert chat.said == []


async def test_the_page_behind_a_link_logs_in_and_links(service: Service) -> None:
    token = await token_for(service, ANA)
    page, form = f"/link/{token}", {"name": "安娜"}
    for _ in range(2):
        shown = await service.http.get(page, headers={"accept": "text/html", "accept-language": "zh-CN"})
        assert (shown.status_code, "登录并绑定" in shown.text) == (200, True)
    foreign = await service.http.post(page, data=form, headers={"sec-fetch-site": "cross-site"})
    assert foreign.json()["code"] == "cross_site"
    done = await service.http.post(page, data=form, headers={"accept-language": "zh-CN"})
    assert "你是 安娜" in done.text
    assert set(await linked(service)) == {ANA}
    other = await service.http.post(page, data={"name": "别人"}, headers={"accept": "text/html"})
    assert other.status_code == 404
    nobody = await service.http.post(f"/link/{'a' * 32}", data={"name": "新来的"})
    assert nobody.status_code == 404
    async with service.state.database.snapshot() as session:
        names = (await session.exec(select(Identity.subject).where(Identity.provider == "dev"))).all()
    assert "新来的" not in names


async def test_who_is_erased_is_nobody_in_the_chat(service: Service, chat: Chat) -> None:
    member = await service.member()
    await chat.link(member, ANA)
    reply = await service.http.request(
        "DELETE", "/v1/members/me", json={"confirm": "erase"}, headers=member.headers
    )
    assert reply.status_code == 200, reply.text
    assert "不知道你是谁" in await chat.ask(ANA, "开团")


async def provider_in(service: Service, stand_in: StandIn, **credentials: str | None) -> str:
    """By what those are known who speak in a new chat with these credentials."""
    known = {name: secrets[0] for name, secrets in stand_in.credentials().items()} | credentials
    given = {name: secret for name, secret in known.items() if secret is not None}
    made = await bind(service, stand_in, (await service.community())["id"], credentials=given)
    async with service.state.database.snapshot() as session:
        return provider_of(service.state, await session.get_one(Binding, made["id"]))


async def test_the_same_name_in_another_company_is_somebody_else(service: Service) -> None:
    stand_in, member = WeComStandIn(), await service.member()
    here, again, elsewhere = [await provider_in(service, stand_in, corp_id=id_) for id_ in ("ww1", "ww1", "ww2")]
    nowhere = [await provider_in(service, stand_in, corp_id=None) for _ in range(2)]
    assert here == again
    assert len({here, elsewhere, *nowhere}) == 4
    assert {shown_provider(one) for one in (here, elsewhere, *nowhere)} == {"wecom"}
    code = links.digest_of(service.state, await code_of(member))
    assert (await links.use_code(service.state, here, "zhangsan", code)).id == member.id
    found = [await links.find_linked(service.state, one, "zhangsan") for one in (again, elsewhere, *nowhere)]
    assert [who and who.id for who in found] == [member.id, None, None, None]


async def test_who_speaks_to_our_own_wechat_app_is_who_logs_in_with_it(service: Service) -> None:
    settings, stand_in = service.state.settings, WeChatStandIn()
    service.state.settings = settings.model_copy(update={"wechat_app_id": "wx1", "wechat_app_secret": "x"})
    try:
        own, other = [await provider_in(service, stand_in, app_id=id_) for id_ in ("wx1", "wx2")]
    finally:
        service.state.settings = settings
    assert own == "wechat"
    assert other.startswith("wechat:")
