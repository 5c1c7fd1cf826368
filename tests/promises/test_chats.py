"""Chats: what is said there acts once, is done as by everybody else, and is answered."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from sqlmodel import SQLModel, select

from app.demo.platforms.telegram import TelegramStandIn
from app.domain.bindings import Language
from app.domain.errors import Busy, KaituanError
from app.domain.messages import MAX_ATTEMPTS, MessageState
from app.domain.payments import MAX_OPEN_PAYMENTS
from app.models import ChatNumber, Message, Order, Payment
from app.routers.problems import STATUSES
from app.services import claims, conversations
from app.services.commands import refused
from app.services.tongues import Tongue
from tests.cashiers.wechatpay import Cashier
from tests.promises.chat import Chat, bind, playing
from tests.service import BARGAIN, FLASH, Member, Sale, Service

ANA, BEN, EVE = "101", "102", "666"


@pytest.fixture
async def sale(service: Service) -> Sale:
    return await service.sale()


@pytest.fixture
async def chat(service: Service, sale: Sale) -> AsyncIterator[Chat]:
    """A chat in which a sale of groups of three is on."""
    stand_in = TelegramStandIn()
    async with playing(service, stand_in):
        yield Chat(service, stand_in, await bind(service, stand_in, sale.body["community_id"]))


@pytest.fixture
async def ana(service: Service, chat: Chat) -> Member:
    member = await service.member("安娜小姐")
    await chat.link(member, ANA)
    return member


@pytest.fixture
async def ben(service: Service, chat: Chat) -> Member:
    member = await service.member("本杰明")
    await chat.link(member, BEN)
    return member


async def rows(service: Service, model: type[SQLModel]) -> list[Any]:
    async with service.state.database.snapshot() as session:
        return list((await session.exec(select(model))).all())


async def test_a_group_is_opened_filled_paid_and_announced_from_a_chat(service: Service, chat: Chat) -> None:
    for number, member in enumerate(await service.members(3)):
        await chat.link(member, str(100 + number))
    assert await chat.ask("100", "活动") == "正在进行的活动\n1. 龙井 0 ¥49.00，3 人团"
    assert "接龙 2 · 1/3" in await chat.ask("100", "开团")
    assert "接龙 2 · 2/3" in await chat.ask("101", "参团 2")
    assert "接龙 2 · 3/3" in await chat.ask("102", "参团２号！")
    for who in ("100", "101", "102"):
        assert await chat.ask(who, "支付 2", private=True) == "待付 ¥49.00"
    orders = await rows(service, Order)
    assert len(orders) == 3
    payments = await rows(service, Payment)
    assert {payment.order_id for payment in payments} == {order.id for order in orders}
    for payment in payments:
        assert (await service.http.post(payment.pay_url, json={})).status_code == 200
        await service.deliver()
    await chat.work()
    assert chat.said[-1].chat_id == chat.chat_id
    assert "已成团，共 3 人\n1. m***0 (团长)" in chat.said[-1].text
    assert await service.violations() == []


@pytest.mark.usefixtures("ana")
async def test_a_message_acts_once_however_often_it_comes(service: Service, chat: Chat) -> None:
    for _ in range(3):
        await chat.say(ANA, "开团", id_="77")
    await chat.work()
    await chat.say(ANA, "开团", id_="77")
    await chat.work()
    assert len(await rows(service, Order)) == 1
    assert sum("开团成功" in said.text for said in chat.said) == 1


@pytest.mark.usefixtures("ana")
async def test_what_dies_between_doing_and_answering_is_done_once(
    service: Service, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def dying(*_: Any) -> bool:
        raise OSError("the process died")

    with monkeypatch.context() as patch:
        patch.setattr(conversations, "_answer", dying)
        await chat.say(ANA, "开团")
        await service.work()
    assert len(await rows(service, Order)) == 1
    await chat.work()
    assert len(await rows(service, Order)) == 1
    assert sum("开团成功" in said.text for said in chat.said) == 1


@pytest.mark.usefixtures("ana")
async def test_what_others_talk_about_is_left_alone_and_not_kept(service: Service, chat: Chat) -> None:
    before = len(await rows(service, Message)), len(chat.said)
    await chat.say(ANA, "今天天气不错，晚上一起吃饭")
    await chat.work()
    assert (len(await rows(service, Message)), len(chat.said)) == before


async def test_a_message_leaves_no_words(service: Service, chat: Chat) -> None:
    await chat.say(EVE, "这是我的秘密", private=True)
    await chat.say(EVE, "绑定 ABCD2345", private=True)
    kept = repr([row.model_dump() for row in await rows(service, Message)])
    assert "秘密" not in kept
    assert "ABCD2345" not in kept


async def test_the_first_command_says_which_chat_it_is(service: Service, chat: Chat) -> None:
    await chat.ask(ANA, "帮助")
    path = f"bindings/{chat.binding['id']}"
    assert (await service.ops("GET", path)).json()["chat_id"] == chat.chat_id
    elsewhere = Chat(service, chat.stand_in, chat.binding, "-999")
    before = len(chat.said)
    await elsewhere.say(ANA, "帮助")
    await chat.work()
    assert len(chat.said) == before


async def test_a_chat_has_one_binding(service: Service, chat: Chat, sale: Sale) -> None:
    await chat.ask(ANA, "帮助")
    stand_in = TelegramStandIn()
    async with playing(service, stand_in):
        other = Chat(service, stand_in, await bind(service, stand_in, sale.body["community_id"]))
        await other.say(ANA, "帮助")
        await other.work()
    assert other.said == []
    assert (await service.ops("GET", f"bindings/{other.binding['id']}")).json()["chat_id"] is None


async def test_who_is_not_linked_is_told_how(service: Service, chat: Chat) -> None:
    public = await chat.ask(EVE, "开团")
    assert "绑定" in public
    assert "/link/" not in repr(chat.said)
    await chat.ask(EVE, "你好", private=True)
    assert chat.said[-1].chat_id == EVE
    assert chat.said[-1].buttons == ("登录并绑定",)
    assert await rows(service, Order) == []


@pytest.mark.usefixtures("ana")
async def test_a_pay_link_is_given_in_private_only(chat: Chat) -> None:
    await chat.ask(ANA, "开团")
    await chat.ask(ANA, "支付 1")
    assert all("去付款" not in said.buttons for said in chat.said if said.chat_id == chat.chat_id)
    assert "私聊" in chat.said[-1].text
    await chat.ask(ANA, "支付", private=True)
    assert (chat.said[-1].chat_id, chat.said[-1].buttons) == (ANA, ("去付款",))


@pytest.mark.usefixtures("ana")
async def test_asking_where_to_pay_again_and_again_is_one_payment(service: Service, chat: Chat) -> None:
    await chat.ask(ANA, "开团", private=True)
    for _ in range(MAX_OPEN_PAYMENTS + 1):
        assert await chat.ask(ANA, "支付", private=True) == "待付 ¥49.00"
        assert chat.said[-1].buttons == ("去付款",)
    assert len(await rows(service, Payment)) == 1


@pytest.mark.usefixtures("ana")
async def test_a_chat_takes_the_provider_that_has_a_page(service: Service, chat: Chat, tmp_path: Path) -> None:
    wechat = Cashier(service.clock).provider(service.state.settings, tmp_path)
    providers = service.state.providers
    service.state.providers = {wechat.name: wechat}
    try:
        await chat.ask(ANA, "开团", private=True)
        assert "请在应用内付款" in await chat.ask(ANA, "支付", private=True)
        assert await rows(service, Payment) == []
        service.state.providers |= providers
        assert await chat.ask(ANA, "支付", private=True) == "待付 ¥49.00"
        assert chat.said[-1].buttons == ("去付款",)
    finally:
        service.state.providers = providers


async def test_a_membership_that_was_asked_for_in_a_chat_is_paid_in_private(service: Service) -> None:
    community = await service.community(join_mode="paid", plan={"price": 1990, "period_days": 30})
    member, stand_in = await service.member("付费者"), TelegramStandIn()
    async with playing(service, stand_in):
        chat = Chat(service, stand_in, await bind(service, stand_in, community["id"]))
        await chat.link(member, ANA)
        assert "付款后即成为成员" in await chat.ask(ANA, "入群")
        assert "「支付」" in chat.said[-1].text
        assert "私聊" in await chat.ask(ANA, "支付")
        assert await chat.ask(ANA, "支付", private=True) == "待付 ¥19.90"
        assert chat.said[-1].buttons == ("去付款",)
        (payment,) = await rows(service, Payment)
        assert (await service.http.post(payment.pay_url, json={})).status_code == 200
        await service.work()
        assert "已是社群成员" in await chat.ask(ANA, "入群")
        assert len(await rows(service, Order)) == 1, "nobody buys a second period by saying it again"
    membership = await member.get(f"/v1/communities/{community['id']}/membership")
    assert membership.json()["state"] == "active"
    assert await service.violations() == []


@pytest.mark.usefixtures("ana", "ben")
async def test_numbers_stay_what_they_were(service: Service, chat: Chat) -> None:
    await chat.ask(ANA, "活动")
    await chat.ask(ANA, "开团 1")
    await chat.ask(BEN, "开团 1")
    assert [row.number for row in await rows(service, ChatNumber)] == [1, 2, 3]
    listed = await chat.ask(ANA, "进度")
    assert {line.split(" · ")[0] for line in listed.splitlines()[1:]} == {"接龙 2", "接龙 3"}
    assert "没有编号 9" in await chat.ask(ANA, "参团 9")
    assert "1 不是团" in await chat.ask(ANA, "参团 1")
    assert "2 不是商品" in await chat.ask(ANA, "开团 2")
    assert "2 不是砍价" in await chat.ask(ANA, "砍一刀 2")
    assert len(await rows(service, Order)) == 2


@pytest.mark.usefixtures("ana", "ben")
async def test_a_group_of_several_offers_is_joined_with_the_leaders_or_the_chosen_one(
    service: Service, chat: Chat
) -> None:
    sale = await service.sale(stocks=[5, 5], community_id=chat.binding["community_id"])
    await chat.ask(ANA, "活动")
    await chat.ask(ANA, "开团 2 x2")
    (order,) = await rows(service, Order)
    assert (order.offer_id, order.quantity) == (sale.offers[1], 2)
    await chat.ask(BEN, "参团 4")
    other = await service.member("第三位")
    await chat.link(other, "103")
    await chat.ask("103", "参团 4 1")
    assert [row.offer_id for row in sorted(await rows(service, Order), key=lambda row: row.id)] == [
        *(sale.offers[1], sale.offers[1], sale.offers[0])
    ]


@pytest.mark.usefixtures("ana")
async def test_who_has_not_paid_may_leave(service: Service, chat: Chat) -> None:
    await chat.ask(ANA, "开团")
    assert "编号" in await chat.ask(ANA, "退团")
    assert "已退团" in await chat.ask(ANA, "退团 1")
    assert "已退团" in await chat.ask(ANA, "退团 1")
    assert [order.state for order in await rows(service, Order)] == ["cancelled"]


@pytest.mark.usefixtures("ana", "ben")
async def test_a_bargain_is_started_and_cut_from_a_chat(service: Service, chat: Chat) -> None:
    await service.sale(**BARGAIN, community_id=chat.binding["community_id"])
    assert "砍价 ¥99.00 → ¥49.00" in await chat.ask(ANA, "活动")
    started = await chat.ask(ANA, "砍价 1")
    assert started.startswith("砍价 3 · 龙井")
    assert "不能为自己砍价" in await chat.ask(ANA, "砍一刀 3")
    assert "砍掉" in await chat.ask(BEN, "砍一刀")
    assert "已帮砍过" in await chat.ask(BEN, "砍一刀 3")
    assert "1. 本*明" in await chat.ask(ANA, "进度 3")


async def test_a_sale_for_members_tells_how_to_become_one(service: Service, chat: Chat, ana: Member) -> None:
    await service.sale(members_only=True, community_id=chat.binding["community_id"])
    refusal = await chat.ask(ANA, "开团 1") if await chat.ask(ANA, "活动") else ""
    assert "仅限社群成员" in refusal
    assert "入群" in refusal
    assert "已是社群成员" in await chat.ask(ANA, "入群")
    assert "开团成功" in await chat.ask(ANA, "开团 1")
    reply = await ana.get(f"/v1/communities/{chat.binding['community_id']}/membership")
    assert reply.json()["state"] == "active"


async def test_who_joins_a_community_that_decides_waits(service: Service) -> None:
    community = await service.community(await service.member(), join_mode="approve")
    member, stand_in = await service.member("申请人"), TelegramStandIn()
    async with playing(service, stand_in):
        chat = Chat(service, stand_in, await bind(service, stand_in, community["id"], language="en"))
        code = (await member.post("/v1/members/me/link-codes")).json()["code"]
        assert "Linked" in await chat.ask(ANA, f"link {code}", private=True)
        assert "asked to join" in await chat.ask(ANA, "enrol")
        assert "Nothing is on sale" in await chat.ask(ANA, "sales")
        assert "No group runs" in await chat.ask(ANA, "progress")


@pytest.mark.usefixtures("ana")
async def test_a_flash_sale_is_named_and_left_to_the_app(service: Service, chat: Chat) -> None:
    await service.sale(**FLASH, community_id=chat.binding["community_id"])
    assert "秒杀" in await chat.ask(ANA, "活动")
    assert "不是这样卖的" in await chat.ask(ANA, "开团 1")


async def test_the_chat_is_spoken_to_in_its_language(service: Service, chat: Chat) -> None:
    path = f"bindings/{chat.binding['id']}"
    assert (await service.ops("PATCH", path, {"language": "en"})).status_code == 200
    assert "What I understand" in await chat.ask(ANA, "帮助")


@pytest.mark.usefixtures("ana")
async def test_many_join_at_once_and_each_is_answered(service: Service, chat: Chat) -> None:
    members = await service.members(8)
    for number, member in enumerate(members):
        await chat.link(member, str(200 + number))
    await chat.ask(ANA, "开团")
    for number in range(len(members)):
        await chat.say(str(200 + number), "参团 1")
    await service.work()
    assert len(await rows(service, Order)) == 3
    told = [row for row in await rows(service, Message) if row.state == MessageState.ANSWERED and row.member_id]
    assert len(told) == len(await rows(service, Message))
    assert await service.violations() == []


@pytest.mark.usefixtures("ana")
async def test_what_fails_for_a_while_is_tried_again_and_given_up_in_the_end(
    service: Service, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:

    for error in (Busy(), ZeroDivisionError()):
        monkeypatch.setattr(claims, "open_group", AsyncMock(side_effect=error))
        await chat.say(ANA, "开团")
        for _ in range(MAX_ATTEMPTS + 2):
            await service.work()
    states = [row.state for row in sorted(await rows(service, Message), key=lambda row: row.id)]
    assert states == [MessageState.ANSWERED, MessageState.ANSWERED, MessageState.GIVEN_UP]
    assert "请求繁忙" in chat.said[-1].text


@pytest.mark.parametrize("language", Language)
def test_every_refusal_can_be_said_in_a_chat(language: Language) -> None:
    def kinds(kind: type[KaituanError]) -> list[type[KaituanError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in kinds(child))]

    for kind in {found for base in STATUSES for found in kinds(base)} - set(STATUSES):
        card = refused(Tongue(language), kind.__new__(kind))
        said = card.title.removeprefix("抱歉，" if language == Language.ZH else "Sorry: ")
        assert 0 < len(said) < len(card.title) < 120


async def test_a_chat_that_was_removed_hears_and_says_nothing(service: Service, chat: Chat) -> None:
    await chat.ask(ANA, "帮助")
    await chat.say(ANA, "帮助")
    before = len(chat.said)
    assert (await service.ops("DELETE", f"bindings/{chat.binding['id']}")).status_code == 204
    await chat.work()
    assert len(chat.said) == before
    assert (await chat.send(chat.message(ANA, "帮助"))).status_code == 401
    assert await service.violations() == []
