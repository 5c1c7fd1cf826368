"""A member's own data: exported whole, and erased so that nothing of them is found anywhere."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy
from sqlalchemy import JSON, Column, Enum, Table, update
from sqlmodel import SQLModel, col, select

from app.demo.platforms.slack import SlackStandIn
from app.domain.ledger import AccountKind, own
from app.domain.members import ERASED_NAME, mask_name
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.domain.notices import NoticeKind, PushState
from app.domain.posts import PostKind, ReactionKind, ReportReason, ReportState
from app.domain.privacy import DECISIONS, Fate
from app.domain.segments import Consented, DeviceKind, SegmentKind
from app.models import (
    Comment,
    Consent,
    Encounter,
    Event,
    Facts,
    Membership,
    Mention,
    Notice,
    Overflow,
    Period,
    Post,
    Push,
    Reaction,
    Report,
    Segment,
    SegmentMember,
    Tag,
    new_id,
)
from app.models import (
    Member as MemberRow,
)
from app.services.erased import learn
from app.services.exports import exported_tables
from app.services.marks import PURPOSE
from app.state import open_state
from tests.leaks import find_leaks
from tests.promises.chat import Chat, bind, playing
from tests.promises.money import account, brought, earn, flash, give, policy, refund
from tests.promises.test_referrals import log_in
from tests.service import BARGAIN, FLASH, Member, Service

ME = "/v1/members/me"
NAME, NICKNAME = "欧阳娜娜甲", "夜跑的娜娜"
OPENID, SENDER, PHONE = "oXq-openid-7731", "U7731SENDER", "+8613912345678"
PAYER, ACCOUNT = "payer-7731@bank", "account-7731@bank"
KEY = "my-own-key-7731"
BIO, APPLICATION, POST, COMMENT = "我住在徐汇区", "我想和大家一起跑步", "今天在江边跑了十公里", "你跑得真快啊"
PICTURE, NOTE, COMPLAINT, PUSH = (
    "https://pictures.example/7731.jpg",
    "谢谢你带我跑步",
    "这个人总在发广告",
    "周六早上江边见",
)
CITY, TAG = "徐汇滨江市", "夜里跑步的人"
NOT_PEOPLE = {
    *("sale_id", "group_id", "offer_id", "order_id", "product_id", "coupon_id", "bargain_id", "payment_id"),
    *("subject_id", "line_id", "plan_sale_id", "community_id", "charge_id", "visitor_id"),
    *("chat_id", "message_id", "sender_id", "event_id"),
}
"""Ids, kept without a foreign key, of what is no member. A visitor is somebody's browser; a sender is one of a
platform's people, and deleted with the message.
"""


def digest(service: Service, kind: str, value: str) -> str:
    """What is kept of a device, a phone or a payer."""
    key = service.state.settings.key_for(PURPOSE)
    return hmac.digest(key, f"{kind} {value}".encode(), hashlib.sha256).hex()


async def erase(member: Member, **body: Any) -> httpx.Response:
    return await member.service.http.request("DELETE", ME, json={"confirm": "erase"} | body, headers=member.headers)


@dataclass
class Life:
    """A member who has done everything there is to do, and those they met."""

    me: Member
    mate: Member
    group_id: str
    communities: list[str]
    order_ids: list[str]
    device: str
    """Of each life's own: the lines of all tests are in one Redis."""

    def words(self, service: Service) -> set[str]:
        """Everything that is known of them, or was written by them."""
        return {
            *(NAME, mask_name(NAME), NICKNAME, OPENID, SENDER, PHONE, PHONE[3:], self.device, PAYER, ACCOUNT, KEY),
            *(BIO, APPLICATION, POST, COMMENT, PICTURE, NOTE, COMPLAINT, PUSH, CITY, TAG),
            digest(service, "device", self.device),
            digest(service, "phone", PHONE),
            digest(service, "payer", f"sandbox {PAYER}"),
            hashlib.blake2b(self.device.encode(), digest_size=16).hexdigest(),
        }


async def live(service: Service) -> Life:
    """Do everything there is to do."""
    http, device = service.http, f"device-{uuid4().hex}"
    mate, friend = await service.members(2)
    sale, other = await service.sale(group_size=2), await flash(service)
    code = (await mate.post("/v1/invites", {"sale_id": other.id})).json()["code"]
    visitor = (await http.get(f"/i/{code}")).json()["visitor_token"]
    body = {"provider": "dev", "code": OPENID, "name": NAME, "device": device, "phone": PHONE}
    session = (await http.post("/v1/sessions", json=body | {"visitor_token": visitor})).json()
    me = Member(service, session["member"]["id"], NAME, session["access_token"])
    await me.get(f"/i/{code}")
    stand_in = SlackStandIn()
    async with playing(service, stand_in):
        chat = Chat(service, stand_in, await bind(service, stand_in, sale.body["community_id"]))
        for text in ("绑定", "开团", "你好"):
            assert await chat.ask(SENDER, text, private=True)
        await chat.link(me, SENDER)
    # A group that succeeds, and an order that is refunded.
    opened = (await me.open(sale, key=KEY)).json()
    joined = (await mate.join(sale, opened["group"]["id"])).json()
    await me.pay(opened["order"]["id"], payer=PAYER)
    await mate.pay(joined["order"]["id"])
    bought = (await me.buy(other, invite_code=code)).json()["order"]["id"]
    await me.pay(bought, payer=PAYER)
    await service.work()
    await refund(service, bought)
    # Lines, bargains, coupons, invites, reminders.
    await stand_in_line(service, me, friend, device)
    bargains = await service.sale(**BARGAIN)
    theirs = await friend.bargain(bargains)
    await me.bargain(bargains)
    await me.cut(theirs["id"])
    coupon = await service.coupon()
    await service.ops("POST", f"coupons/{coupon['id']}/grants", {"member_ids": [me.id]})
    mine = (await me.post("/v1/invites", {"sale_id": other.id})).json()["code"]
    await friend.get(f"/i/{mine}")
    await http.get(f"/i/{mine}")
    assert (await http.get(f"/v1/invites/{mine}/poster.svg")).status_code == 200
    coming = await service.sale(**FLASH, opens_at=str(service.clock() + timedelta(hours=2)))
    await http.put(f"/v1/sales/{coming.id}/reminder", json={}, headers=me.headers)
    # Money.
    await earn(service, me, 70_000)
    await me.post(f"/v1/members/{mate.id}/tips", {"amount": 300, "note": NOTE}, key=f"{KEY}-tip")
    paid_out = await me.post("/v1/payouts", {"amount": 5000, "account": ACCOUNT}, key=f"{KEY}-payout")
    assert paid_out.status_code == 201, paid_out.text
    await service.tick()
    communities = await belong(service, me, mate)
    assert (await me.get(f"{ME}/export")).status_code == 200
    return Life(
        me,
        mate,
        opened["group"]["id"],
        communities,
        [opened["order"]["id"], bought],
        device,
    )


async def stand_in_line(service: Service, me: Member, friend: Member, device: str) -> None:
    """In the line at the door, in a draw, and for what is sold out."""
    door = await service.sale(**FLASH, admission={"per_device": 1, "per_address": 5, "admit_per_second": 1})
    assert (await me.enter(door, device=device)).status_code == 200
    draws_at = (service.clock() + timedelta(hours=5)).isoformat()
    drawn, gone = (
        await service.sale(**FLASH, allocation="draw", draws_at=draws_at),
        await flash(service, stocks=[1]),
    )
    await friend.buy(gone)
    for sale in (drawn, gone):
        reply = await me.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer})
        assert reply.status_code == 201, reply.text


async def belong(service: Service, me: Member, mate: Member) -> list[str]:
    """Belong to a community, lead another, and write everything one can write there."""
    one, two = await service.community(mate), await service.community(mate)
    for community in (one, two):
        await me.enrol(community)
    now = service.clock()
    async with service.state.database.transaction() as session:
        await session.exec(
            update(Membership)
            .where(col(Membership.member_id) == me.id)
            .values(nickname=NICKNAME, bio=BIO, application=APPLICATION, shown={"city": CITY}, applied_at=now),
        )
        await session.exec(
            update(Facts).where(col(Facts.member_id) == me.id).values(device=DeviceKind.PHONE, city=CITY),
        )
        segment = Segment(name="跑友", kind=SegmentKind.STATIC, rule={}, created_at=now)
        written: dict[str, Any] = {"community_id": one["id"], "created_at": now}
        post = Post(
            **written,
            author_id=me.id,
            kind=PostKind.TEXT,
            body=POST,
            pictures=[PICTURE],
            request_key=f"{KEY}-post",
            comment_count=1,
            reaction_count=1,
        )
        question = Post(
            **written,
            author_id=mate.id,
            kind=PostKind.QUESTION,
            body="去哪里跑？",
            request_key="q",
            comment_count=1,
            reaction_count=2,
        )
        push = Push(
            community_id=one["id"],
            sender_id=me.id,
            text=PUSH,
            state=PushState.SENT,
            cost=1,
            recipients=1,
            sends_at=now,
            created_at=now,
            request_key=f"{KEY}-push",
            request_hash="",
            sent_at=now,
        )
        session.add_all([segment, post, question, push])
        await session.flush()
        comment = Comment(
            **written, post_id=question.id, author_id=me.id, body=COMMENT, request_key=f"{KEY}-c", reaction_count=1
        )
        answer = Comment(**written, post_id=post.id, author_id=mate.id, body="真棒", request_key="a")
        session.add_all([comment, answer])
        await session.flush()
        told: dict[str, Any] = {"created_at": now, "community_id": one["id"]}
        session.add_all(
            [
                Reaction(**written, subject_id=question.id, member_id=me.id, kind=ReactionKind.LIKE),
                Reaction(**written, subject_id=question.id, member_id=mate.id, kind=ReactionKind.LIKE),
                Reaction(**written, subject_id=comment.id, member_id=me.id, kind=ReactionKind.CHEER),
                Mention(subject_id=answer.id, member_id=me.id),
                Mention(subject_id=comment.id, member_id=mate.id),
                Report(
                    **written,
                    subject_id=answer.id,
                    reporter_id=me.id,
                    reason=ReportReason.OTHER,
                    note=COMPLAINT,
                    state=ReportState.OPEN,
                ),
                Notice(
                    **told, member_id=me.id, kind=NoticeKind.MENTION, text=f"{NICKNAME}：真棒", subject_id=answer.id
                ),
                Notice(**told, member_id=mate.id, kind=NoticeKind.MENTION, text=COMMENT, subject_id=comment.id),
                Notice(**told, member_id=mate.id, kind=NoticeKind.ANSWER, text=POST, subject_id=post.id),
                Notice(
                    **told,
                    member_id=mate.id,
                    kind=NoticeKind.PUSH,
                    text=PUSH,
                    push_id=push.id,
                    day="2026-01-01",
                    number=1,
                ),
                Overflow(member_id=me.id, push_id=push.id, created_at=now, due_at=now),
                Encounter(community_id=one["id"], giver_id=me.id, receiver_id=mate.id, day="2026-01-01"),
                Period(order_id=new_id("ord"), community_id=two["id"], member_id=me.id, days=30, bought_at=now),
                Tag(member_id=me.id, tag=TAG, created_at=now),
                Consent(member_id=me.id, fact=Consented.CITY, given_at=now),
                SegmentMember(segment_id=segment.id, member_id=me.id),
            ]
        )
        await session.commit()
    return [one["id"], two["id"]]


ONLY_DIGESTS = {PHONE, PHONE[3:], mask_name(NAME)}
"""Of these only digests are kept, even before; a masked name is made when it is shown."""


async def test_nothing_of_who_was_erased_is_found_anywhere(own_service: Service) -> None:
    service = own_service
    life = await live(service)
    words, drawn = life.words(service), len(service.state.drawings)
    made_up = {one.subject for one in await service.violations()}  # what was written as rows has no events
    before = await find_leaks(service, words)
    assert {word for _, word in before} == words - ONLY_DIGESTS - {life.device}
    refused = await erase(life.me)
    assert (refused.status_code, refused.json()["code"]) == (409, "erasure_refused")
    assert refused.json()["balance"].startswith("CNY ")
    assert await find_leaks(service, words) == before
    reply = await erase(life.me, forfeit_balance=True)
    assert reply.status_code == 200, reply.text
    assert drawn
    assert not service.state.drawings
    await service.tick()
    assert await find_leaks(service, words) == set()
    assert {one.subject for one in await service.violations()} <= made_up
    group = (await life.mate.get(f"/v1/groups/{life.group_id}")).json()
    assert (group["state"], group["paid"]) == ("succeeded", 2)
    assert {seat["name"] for seat in group["members"]} == {ERASED_NAME, life.mate.name}
    orders = (await life.mate.get("/v1/orders")).json()["items"]
    assert [order["state"] for order in orders if order["group_id"] == life.group_id] == ["confirmed"]


def is_text(column: Column[Any]) -> bool:
    """Whether somebody's words could be in it."""
    if isinstance(column.type, Enum):
        return False
    return isinstance(column.type, JSON) or column.type.python_type in {str, bytes}


def is_link(column: Column[Any]) -> bool:
    """Whether it is the id of something, and not of a member's."""
    return column.name == "id" or bool(column.foreign_keys) or column.name in NOT_PEOPLE


def words_in(table: Table) -> Iterator[str]:
    """Columns that could have somebody's words."""
    return (column.name for column in table.columns if is_text(column) and not is_link(column))


def members_in(table: Table) -> Iterator[str]:
    """Columns with ids of members, by their foreign keys or, where there are none, by their names."""
    for column in table.columns:
        loose = column.name.endswith("_id") and not is_link(column)
        if loose or any(key.column.table.name == "members" for key in column.foreign_keys):
            yield column.name


@pytest.mark.parametrize("table", SQLModel.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_is_decided_about(table: Table) -> None:
    decision = DECISIONS[table.name]
    people = {*decision.whose, *decision.others}
    assert set(members_in(table)) <= people, "whose is it?"
    named = {*people, *decision.blank, *decision.plain, *decision.hidden}
    assert named <= set(table.columns.keys()), "there is no such column"
    words = set(words_in(table)) - people
    if decision.fate != Fate.DELETED:
        assert words <= {*decision.blank, *decision.plain}, "what becomes of these words?"
    assert decision.why
    assert bool(decision.blank) == (decision.fate == Fate.BLANKED)
    if decision.via is not None:
        assert decision.via.column in table.columns
        assert DECISIONS[decision.via.table].is_of_members


def test_a_table_nobody_decided_about_is_noticed() -> None:
    """The negative control: a new column with words, a new link to a member, a new table."""
    assert set(DECISIONS) == set(SQLModel.metadata.tables)
    metadata = sqlalchemy.MetaData()
    sqlalchemy.Table("members", metadata, Column("id", sqlalchemy.String, primary_key=True))
    new = sqlalchemy.Table(
        "new",
        metadata,
        Column("id", sqlalchemy.String, primary_key=True),
        Column("fan_id", sqlalchemy.ForeignKey("members.id")),
        Column("idol_id", sqlalchemy.String),
        Column("sale_id", sqlalchemy.String),
        Column("verse", sqlalchemy.JSON),
    )
    assert set(members_in(new)) == {"fan_id", "idol_id"}
    assert set(words_in(new)) == {"idol_id", "verse"}


async def test_an_export_has_everything_of_a_member_and_nothing_of_others(own_service: Service) -> None:
    service = own_service
    life = await live(service)
    async with service.state.database.transaction() as session:
        await session.exec(update(Comment).where(col(Comment.author_id) == life.mate.id).values(body="他人的话"))
        await session.commit()
    reply = await life.me.get(f"{ME}/export")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    told = reply.json()
    assert told["exported_at"].endswith("Z")
    sections = told["sections"]
    assert list(sections) == [table.name for table in exported_tables()]
    empty = {name for name, rows in sections.items() if not rows}
    assert empty <= {"refusals", "rewards", "redemptions"}, "the story has something of everything"
    assert [row["id"] for row in sections["members"]] == [life.me.id]
    assert {row["id"] for row in sections["orders"]} >= set(life.order_ids)
    for order in sections["orders"]:
        assert order["member_id"] == life.me.id
        assert order["created_at"].endswith("Z")
    assert {row["order_id"] for row in sections["payments"]} >= set(life.order_ids)
    assert [post["body"] for post in sections["posts"]] == [POST]
    assert sections["posts"][0]["pictures"] == [PICTURE]
    assert [line["note"] for line in sections["tips"]] == [NOTE]
    assert {row["account"] for row in sections["payouts"]} == {ACCOUNT}
    for word in ("他人的话", life.mate.name, "refresh_hash", '"digest":', '"answer":', f"{NICKNAME}：真棒"):
        assert word not in reply.text
    mate = (await life.mate.get(f"{ME}/export")).text
    assert not any(word in mate for word in life.words(service))


async def test_an_export_is_read_in_parts(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    member = await service.member()
    sale = await service.sale()
    codes = {(await member.post("/v1/invites", {"sale_id": sale.id})).json()["code"] for _ in range(5)}
    monkeypatch.setattr("app.services.exports.BATCH", 2)
    rows = (await member.get(f"{ME}/export")).json()["sections"]["invites"]
    assert len(rows) == len(codes)
    assert {row["code"] for row in rows} == codes


async def test_exports_are_limited(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    member, other = await service.members(2)
    monkeypatch.setattr(service.state.member_exports, "rate", 1 / 60)
    codes = [(await member.get(f"{ME}/export")).status_code for _ in range(6)]
    assert codes == [200] * 5 + [429]
    assert (await other.get(f"{ME}/export")).status_code == 200
    assert (await service.http.get(f"{ME}/export")).status_code == 401


async def refusal(member: Member, **body: Any) -> dict[str, Any]:
    """What is said to be open."""
    reply = await erase(member, **body)
    assert (reply.status_code, reply.json()["code"]) == (409, "erasure_refused"), reply.text
    names = ("orders", "groups", "refunds", "payouts", "balance", "communities")
    return {name: text for name in names if (text := reply.json().get(name)) is not None}


async def test_who_has_something_under_way_is_told_what(service: Service) -> None:
    member, mate = await service.members(2)
    sale = await service.sale(group_size=2)
    held = (await member.open(sale)).json()
    assert await refusal(member) == {"orders": "1 held", "groups": "1"}
    await member.pay(held["order"]["id"])
    assert await refusal(member) == {"orders": "1 paid", "groups": "1"}
    await mate.pay((await mate.join(sale, held["group"]["id"])).json()["order"]["id"])
    buyer = await service.member()
    bought = (await buyer.buy(await flash(service))).json()["order"]["id"]
    await buyer.pay(bought, refund_failures=1)
    await service.ops("POST", f"orders/{bought}/refund", **{"idempotency-key": bought})
    assert await refusal(buyer) == {"refunds": "1"}
    community = await service.community(buyer)
    assert await refusal(buyer) == {"refunds": "1", "communities": community["id"]}
    await service.work()
    assert (await refusal(buyer))["refunds"] == "1"
    service.clock.advance(60)
    await service.work()
    await service.ops("PUT", f"communities/{community['id']}/owner", {"member_id": mate.id})
    for done in (member, buyer):
        assert (await erase(done)).status_code == 200
    await service.work()
    assert await service.violations() == []


async def test_money_is_given_up_only_if_one_says_so(service: Service) -> None:
    inviter, buyer, rich = await service.members(3)
    sale = await flash(service)
    policy_id = await policy(service, sale_id=sale.id)
    await brought(service, inviter, sale, buyer)
    await service.work()
    house = own(AccountKind.HOUSE, "CNY").id
    assert await refusal(inviter) == {"balance": "CNY 490"}  # pending
    await give(service, inviter, 60_000)
    await inviter.post("/v1/payouts", {"amount": 55_000, "account": "alice"})
    assert await refusal(inviter) == {"balance": "CNY 5490", "payouts": "1"}
    assert await refusal(inviter, forfeit_balance=True) == {"payouts": "1"}
    waiting = (await inviter.get("/v1/payouts")).json()["items"][0]["id"]
    assert (await service.ops("POST", f"payouts/{waiting}/reject")).status_code == 200
    before = await account(service, house)
    budget = await account(service, f"{policy_id}:budget:CNY")
    assert (await erase(inviter, forfeit_balance=True)).status_code == 200
    assert await account(service, house) == before + 60_000
    assert await account(service, f"{policy_id}:budget:CNY") == budget + 490
    for kind in (AccountKind.BALANCE, AccountKind.PENDING):
        assert await account(service, f"{inviter.id}:{kind}:CNY") == 0
    # Nobody rewards them any more, or gives them anything.
    await give(service, rich, 1000)
    reply = await rich.post(f"/v1/members/{inviter.id}/tips", {"amount": 5})
    assert (reply.status_code, reply.json()["code"]) == (404, "member_not_found")
    coupon = await service.coupon()
    granted = await service.ops("POST", f"coupons/{coupon['id']}/grants", {"member_ids": [inviter.id]})
    assert granted.status_code == 404
    community = await service.community()
    named = await service.ops("PUT", f"communities/{community['id']}/owner", {"member_id": inviter.id})
    assert named.status_code == 404
    await buyer.pay((await buyer.buy(sale)).json()["order"]["id"])
    await service.work()
    assert await account(service, f"{inviter.id}:{AccountKind.PENDING}:CNY") == 0
    assert await service.violations() == []


async def test_a_withheld_reward_is_not_forgotten(service: Service) -> None:
    device = uuid4().hex
    inviter, buyer = [await log_in(service, uuid4().hex, device=device) for _ in range(2)]
    sale = await flash(service)
    policy_id = await policy(service, sale_id=sale.id)
    await brought(service, inviter, sale, buyer)
    await service.work()
    assert await refusal(inviter) == {"balance": "CNY 490"}
    assert (await erase(inviter, forfeit_balance=True)).status_code == 200
    found = (await service.ops("GET", f"rewards?policy_id={policy_id}")).json()["items"]
    assert [reward["state"] for reward in found] == ["declined"]


async def test_tokens_of_who_was_erased_are_worth_nothing(service: Service) -> None:
    code = uuid4().hex
    session = (await service.http.post("/v1/sessions", json={"provider": "dev", "code": code})).json()
    member = Member(service, session["member"]["id"], code, session["access_token"])
    sale, group = await flash(service), await service.sale()
    assert (await member.get(ME)).status_code == 200
    await member.post(f"/v1/orders/{(await member.buy(sale)).json()['order']['id']}/cancel")  # a known member
    erased = await erase(member)
    assert erased.status_code == 200, erased.text
    again = await erase(member)
    assert (again.status_code, again.json()) == (200, erased.json())
    for reply in (
        await member.get(ME),
        await member.get(f"{ME}/export"),
        await member.get(f"/v1/sales/{sale.id}"),
        await member.buy(sale),
        await member.open(group),
        await member.enter(sale),
        await member.post("/v1/invites", {"sale_id": sale.id}),
        await service.http.post("/v1/sessions/refresh", json={"refresh_token": session["refresh_token"]}),
    ):
        assert (reply.status_code, reply.json()["code"]) == (401, "token_invalid"), reply.text
    back = (await service.http.post("/v1/sessions", json={"provider": "dev", "code": code})).json()
    assert back["member"]["id"] != member.id
    newcomer = Member(service, back["member"]["id"], code, back["access_token"])
    assert (await newcomer.get("/v1/orders")).json()["items"] == []


async def test_erasing_has_to_be_meant(service: Service) -> None:
    member = await service.member()
    for body in ({}, {"confirm": "yes"}, {"confirm": "erase", "why": "x"}):
        reply = await service.http.request("DELETE", ME, json=body, headers=member.headers)
        assert reply.status_code == 422
    assert (await service.http.request("DELETE", ME, json={"confirm": "erase"})).status_code == 401
    assert (await member.get(ME)).status_code == 200


async def test_other_processes_know_at_once_or_a_second_later(service: Service) -> None:
    member = await service.member()
    async with open_state(service.state.settings, service.clock) as other:
        sale = await flash(service)
        other.known_members.add(member.id)
        await erase(member)
        await learn(other)
        assert set(other.erased) >= {member.id}
        # A token that was read just before: no order of theirs is committed.
        service.state.erased.pop(member.id)
        service.state.known_members.discard(member.id)
        reply = await member.buy(sale)
        assert (reply.status_code, reply.json()["code"]) == (401, "token_invalid")
        service.clock.advance(86_400 + 301)
        await learn(other)
        assert member.id not in other.erased


async def test_what_slips_in_while_a_token_lives_is_swept_too(service: Service) -> None:
    member, mate = await service.members(2)
    community = await service.community(mate)
    await member.enrol(community)
    erased_at = (await erase(member)).json()["erased_at"]
    await service.work()
    late = Comment(
        community_id=community["id"],
        post_id="",
        author_id=member.id,
        body="来不及了",
        created_at=service.clock(),
        request_key="late",
    )
    post = Post(
        community_id=community["id"],
        author_id=mate.id,
        kind=PostKind.TEXT,
        body="",
        comment_count=1,
        created_at=service.clock(),
        request_key=uuid4().hex,
    )
    async with service.state.database.transaction() as session:
        session.add(post)
        await session.flush()
        late.post_id = post.id
        session.add(late)
        await session.commit()
    await service.work()
    async with service.state.database.snapshot() as session:
        assert (await session.get_one(Comment, late.id)).body == "来不及了"
    service.clock.advance(86_400 + 301)
    await service.work()
    async with service.state.database.snapshot() as session:
        swept, row = await session.get_one(Comment, late.id), await session.get_one(MemberRow, member.id)
        membership = await session.get_one(Membership, (community["id"], member.id))
    assert (swept.body, swept.request_key, row.sweep_at) == ("", late.id, None)
    assert swept.removed_at is not None
    assert row.erased_at is not None
    assert row.erased_at.isoformat()[:19] == erased_at[:19]
    assert (membership.state, membership.leave_reason, membership.role) == (
        MembershipState.LEFT,
        LeaveReason.ERASED,
        Role.MEMBER,
    )


async def test_those_left_behind_are_counted_anew(service: Service) -> None:
    member, mate = await service.members(2)
    one, _ = await belong(service, member, mate), None
    await erase(member)
    await service.work()
    shown = (await mate.get(f"/v1/communities/{one[0]}")).json()
    assert shown["member_count"] == 1
    async with service.state.database.snapshot() as session:
        found = await session.exec(select(Post).where(Post.community_id == one[0]).order_by(col(Post.id)))
        own_post, question = found.all()
        comment = (await session.exec(select(Comment).where(Comment.author_id == member.id))).one()
        left = (await session.exec(select(Reaction.member_id).where(Reaction.subject_id == question.id))).all()
    assert (own_post.body, own_post.pictures, question.reaction_count, comment.reaction_count) == ("", [], 1, 0)
    assert left == [mate.id]
    assert own_post.removed_at is not None


async def test_comments_of_who_was_erased_are_counted_no_more(service: Service) -> None:
    member, mate = await service.members(2)
    community = await service.community(mate)
    await member.enrol(community)
    posted = (await mate.post(f"/v1/communities/{community['id']}/posts", {"body": "茶"})).json()
    path = f"/v1/posts/{posted['id']}"
    for one in (member, member, mate):
        assert (await one.post(f"{path}/comments", {"body": "好"})).status_code == 201
    await erase(member)
    await service.work()
    assert (await mate.get(path)).json()["comment_count"] == 1
    assert await service.violations() == []


async def test_nothing_is_handed_over_to_who_was_erased(service: Service) -> None:
    member, mate = await service.members(2)
    community = await service.community(mate)
    await member.enrol(community)
    await erase(member)
    path = f"/v1/communities/{community['id']}"
    body = {"member_id": member.id}
    reply = await service.http.put(f"{path}/owner", json=body, headers=mate.headers)
    assert (reply.status_code, reply.json()["code"]) == (404, "membership_not_found")
    await service.work()
    assert (await mate.get(path)).json()["standing"] == "owner"


async def test_a_sweep_that_was_cut_short_goes_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    member, mate = await service.members(2)
    await belong(service, member, mate)
    await erase(member)
    monkeypatch.setattr("app.services.erasure.BATCH", 1)
    with monkeypatch.context() as patch:
        patch.setattr(service.state.dealer, "forget_member", None)  # the last step
        await service.work()
    async with service.state.database.snapshot() as session:
        row = await session.get_one(MemberRow, member.id)
        assert row.sweep_at == row.erased_at
    await service.work()
    async with service.state.database.snapshot() as session:
        row = await session.get_one(MemberRow, member.id)
        assert row.sweep_at is not None
        assert row.sweep_at > service.clock()
        events = await session.exec(
            select(Event).where(Event.member_id == member.id, Event.type == "membership.left")
        )
        assert len(events.all()) == 2


async def test_operators_erase_by_the_same_rules(service: Service) -> None:
    member = await service.member()
    path = f"members/{member.id}/erase"
    await give(service, member, 100)
    refused = await service.ops("POST", path, {"confirm": "erase"})
    assert (refused.status_code, refused.json()["balance"]) == (409, "CNY 100")
    done = await service.ops("POST", path, {"confirm": "erase", "forfeit_balance": True})
    assert (done.status_code, done.json()["member_id"]) == (200, member.id)
    assert (await service.ops("POST", path, {"confirm": "erase"})).json() == done.json()
    assert (await member.get(ME)).status_code == 401
    nobody = await service.ops("POST", f"members/mem_{'0' * 32}/erase", {"confirm": "erase"})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "member_not_found")
    async with service.state.database.snapshot() as session:
        event = (
            await session.exec(select(Event).where(Event.type == "member.erased", Event.subject == member.id))
        ).one()
    assert (event.member_id, event.data) == (member.id, {})


async def test_many_who_ask_at_once_erase_once(service: Service) -> None:
    member = await service.member()
    await give(service, member, 100)
    replies = await asyncio.gather(*(erase(member, forfeit_balance=True) for _ in range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.text for reply in replies}) == 1
    async with service.state.database.snapshot() as session:
        events = await session.exec(select(Event).where(Event.type == "member.erased", Event.subject == member.id))
        assert len(events.all()) == 1
    assert await service.violations() == []


async def test_nothing_logs_who_somebody_is(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        life = await live(service)
        await erase(life.me, forfeit_balance=True)
        await service.work()
    ours = [record for record in caplog.records if record.name.startswith("app.")]
    said = "\n".join(record.getMessage() for record in ours)
    assert not [word for word in life.words(service) if word in said]
