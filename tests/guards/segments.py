"""Guards of segments and facts: rules that can be asked, consents that are kept, sales for some."""

from typing import Any

import pytest
from sqlmodel import col, select, update

from app.domain.errors import (
    CommunityNotFound,
    ConsentMissing,
    InvalidTerms,
    KaituanError,
    MemberNotFound,
    MembersOnly,
    NotInSegment,
    SegmentNotFound,
    TokenInvalid,
)
from app.domain.segments import MAX_DEPTH, MAX_PARTS, Consented, DeviceKind, SegmentKind, parse
from app.models import Cause, Facts, Member, Membership, Tag
from app.schemas.facts import FactsUpdate
from app.schemas.sales import SaleUpdate
from app.schemas.segments import PreviewAsked, SegmentCreate
from app.services import erasure, facts, gates, previews, sales, segments, tags
from app.services.terms import find_sale
from app.workers import causes
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.promises.money import flash
from tests.service import BARGAIN, FLASH, Sale
from tests.service import Member as Caller

DOMAIN, SEGMENTS, FACTS, TAGS = (
    "app.domain.segments",
    "app.services.segments",
    "app.services.facts",
    "app.services.tags",
)
SALES, PREVIEWS, GATES = "app.services.sales", "app.services.previews", "app.services.gates"
NEW: dict[str, Any] = {"fact": "orders", "is": "exactly", "value": 0}
BOUGHT: dict[str, Any] = {"not": NEW}
NOTHING = "0" * 32
IPHONE = "Mozilla/5.0 (iPhone)"


def is_refused(tree: Any, path: str) -> None:
    with pytest.raises(InvalidTerms) as refused:
        parse(tree)
    assert refused.value.field == path


@notices(*cuts(f"{DOMAIN}._parse", "depth > MAX_DEPTH", "len(seen) > MAX_PARTS"))
async def a_rule_is_bounded(_world: World) -> None:
    deep: Any = NEW
    for _ in range(MAX_DEPTH):
        parse(deep)
        deep = {"not": deep}
    is_refused(deep, "rule" + ".not" * MAX_DEPTH)
    parse({"all": [NEW] * (MAX_PARTS - 1)})
    is_refused({"all": [NEW] * MAX_PARTS}, f"rule.all[{MAX_PARTS - 1}]")


@notices(
    *cuts(
        f"{DOMAIN}._compare",
        "not isinstance(value, int)",
        "isinstance(value, bool)",
        "not 0 <= value <= NUMBERS[fact]",
        "not isinstance(value, list)",
        "not 1 <= len(value) <= MAX_WORDS",
        "not isinstance(word, str)",
        "not _fits(fact, word)",
    )
)
async def a_comparison_is_of_its_kind(_: World) -> None:
    for value in ("0", 1.0, True, -1, 10**7):
        is_refused({"fact": "orders", "is": "at_least", "value": value}, "rule.value")
    for words in ("phone", {"phone": 1}, [], ["a"] * 51):
        is_refused({"fact": "city", "is": "one_of", "value": words}, "rule.value")
    for word in (7, "", " a", "a\x00", "a" * 61):
        is_refused({"fact": "city", "is": "one_of", "value": [word]}, "rule.value[0]")


@notices(
    *cuts(
        f"{SEGMENTS}.create_segment",
        "(rule is None) == (body.member_ids is None)",
        "body.kind == SegmentKind.DYNAMIC and rule is None",
    ),
    *cuts(f"{SEGMENTS}.check_communities", "set(found.all()) != asked"),
    *cuts(f"{SEGMENTS}._list_named", "set(there.all()) != member_ids"),
    *cuts(
        f"{PREVIEWS}.preview",
        "body.community_id is not None and await session.get(Community, body.community_id) is None",
    ),
)
async def a_segment_is_of_what_there_is(world: World) -> None:
    nowhere = {"fact": "community", "is": "one_of", "value": [f"com_{NOTHING}"]}
    wrong: list[tuple[dict[str, Any], type[KaituanError]]] = [
        ({"kind": SegmentKind.STATIC, "rule": NEW, "member_ids": [world.me.id]}, InvalidTerms),
        ({"kind": SegmentKind.STATIC}, InvalidTerms),
        ({"member_ids": [world.me.id]}, InvalidTerms),
        ({"rule": nowhere}, CommunityNotFound),
        ({"kind": SegmentKind.STATIC, "member_ids": [f"mem_{NOTHING}"]}, MemberNotFound),
    ]
    for body, refusal in wrong:
        with pytest.raises(refusal):
            await segments.create_segment(world.state, SegmentCreate(name="x", **body))
    with pytest.raises(CommunityNotFound):
        await previews.preview(world.state, PreviewAsked(rule=NEW, community_id=f"com_{NOTHING}"))


async def made(world: World, **body: Any) -> str:
    return (await segments.create_segment(world.state, SegmentCreate(name="x", **body))).id


@notices(
    Cut(f"{SEGMENTS}.delete_segment", "col(SegmentMember.segment_id) == segment_id", "True"),
    *cuts(f"{SEGMENTS}.delete_segment", "gone.first() is None"),
)
async def a_segment_goes_with_its_own_list(world: World) -> None:
    gone, stays = [await made(world, kind=SegmentKind.STATIC, member_ids=[world.me.id]) for _ in range(2)]
    await segments.delete_segment(world.state, gone)
    assert (await segments.get_segment(world.state, stays)).listed == 1
    with pytest.raises(SegmentNotFound):
        await segments.delete_segment(world.state, gone)


async def counted(world: World) -> None:
    await handled(world)
    while await facts.count_orders(world.state, world.service.clock()):
        pass


async def handled(world: World) -> None:
    while await causes.run_once(world.state, world.service.clock()):
        pass


async def paid_order(member: Caller, sale: Sale) -> str:
    order_id = str((await member.buy(sale)).json()["order"]["id"])
    await member.pay(order_id)
    return order_id


async def known(world: World, member: Caller) -> Facts:
    return await world.row(Facts, member.id)


@notices(
    Cut(f"{FACTS}.count_check_in", "col(Facts.member_id) == member_id", "True"),
    Cut(f"{FACTS}.fill_buckets", "col(key) == bindparam('key')", "bindparam('key') != ''"),
)
async def what_is_known_is_of_one_member(world: World) -> None:
    one, other = await world.service.members(2)
    sale = await flash(world.service)
    await paid_order(one, sale)
    await counted(world)
    await paid_order(other, sale)
    await paid_order(other, sale)
    await counted(world)
    async with world.work() as work:
        await facts.count_check_in(work, one.id, night=True)
    rows = [await known(world, member) for member in (one, other)]
    assert [(row.orders, row.check_ins, row.night_check_ins) for row in rows] == [(1, 1, 1), (2, 0, 0)]
    async with world.work() as work:
        await work.session.exec(update(Member).where(col(Member.id) == one.id).values(bucket=None))
    await facts.fill_buckets(world.state, world.service.clock())
    assert [(await world.row(Member, member.id)).bucket for member in (one, other)] == [one.id[-3:], other.id[-3:]]


@notices(
    Cut(f"{FACTS}._count", "col(Member.erased_at).is_(None)", "True"),
    *cuts(f"{FACTS}._count", "not member_ids"),
    Cut(f"{SEGMENTS}.with_facts", "col(Member.erased_at).is_(None)", "True"),
    Cut(f"{SEGMENTS}._list_named", "col(Member.erased_at).is_(None)", "True"),
)
async def nothing_is_known_of_who_was_erased(world: World) -> None:
    member, sale = await world.service.member(), await flash(world.service)
    await counted(world)
    await paid_order(member, sale)
    await erasure.erase(world.state, member.id, forfeit_balance=True)
    await counted(world)
    assert await world.count("facts WHERE member_id = :id", id=member.id) == 0
    await made(world, kind=SegmentKind.STATIC, rule=NEW)
    assert await world.count("segment_members WHERE member_id = :id", id=member.id) == 0
    with pytest.raises(MemberNotFound):
        await made(world, kind=SegmentKind.STATIC, member_ids=[member.id])


@notices(
    Cut(
        f"{FACTS}.count_orders",
        "tuple_(col(Cause.order_id), col(Cause.version)).in_([(id_, version) for id_, version, *_ in rows])",
        "col(Cause.order_id).in_([id_ for id_, *_ in rows])",
    )
)
async def what_happens_while_one_counts_is_counted_after(world: World) -> None:
    """The order is refunded when its buyer was counted, and the cause not yet written."""
    member, sale = await world.service.member(), await flash(world.service)
    await counted(world)
    order_id = await paid_order(member, sale)
    await handled(world)
    async with world.meanwhile("UPDATE causes", refund_only(world, order_id)):
        await facts.count_orders(world.state, world.service.clock())
    assert (await world.row(Cause, order_id)).counted == 0
    await counted(world)
    assert (await known(world, member)).orders == 0


@notices(Cut(f"{FACTS}.count_orders", "col(Cause.handled) == Cause.version", "True"))
async def an_order_is_counted_when_its_rewards_are_decided(world: World) -> None:
    """Also when it was refunded since: its day is counted with what is left of them."""
    member, sale = await world.service.member(), await flash(world.service)
    await counted(world)
    order_id = await paid_order(member, sale)
    assert await facts.count_orders(world.state, world.service.clock()) == 0
    await counted(world)
    assert (await known(world, member)).orders == 1
    await refund_only(world, order_id)
    assert await facts.count_orders(world.state, world.service.clock()) == 0
    await counted(world)
    assert (await known(world, member)).orders == 0


async def refund_only(world: World, order_id: str) -> None:
    reply = await world.service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    assert reply.status_code == 200


@notices(Cut("app.services.locks.lock_facts", "_locking(", "(lambda statement, **_: statement)("))
async def an_older_count_does_not_overwrite_a_newer_one(world: World) -> None:
    """Two workers count one buyer: the second has seen the refund, the first has not."""
    member, sale = await world.service.member(), await flash(world.service)
    await counted(world)
    order_id = await paid_order(member, sale)

    async def refund_and_count() -> None:
        await refund_only(world, order_id)
        await counted(world)

    async with world.work() as work:
        await facts.keep_row(work, member.id)
    async with world.meanwhile("flush", refund_and_count()), world.work() as work:
        await facts._count(work, [member.id])
    assert (await known(world, member)).orders == 0


@notices(
    Cut("app.services.locks.lock_facts", "_locking(", "(lambda statement, **_: statement)("),
    Cut(f"{FACTS}.see_device", "Consented.DEVICE in await _consents(work, member_id)", "True"),
)
async def a_device_is_not_kept_when_the_consent_is_withdrawn(world: World) -> None:
    """At the moment it is written, or before."""
    member = await world.service.member()
    agreed = FactsUpdate(consents=[Consented.DEVICE])

    async def log_in() -> None:
        async with world.work() as work:
            await facts.see_device(work, member.id, IPHONE)

    await facts.update_kept(world.state, member.id, agreed)
    async with world.meanwhile("UPDATE facts", facts.forget_kept(world.state, member.id)):
        await log_in()
    assert (await known(world, member)).device is None
    await log_in()
    assert (await known(world, member)).device is None
    await facts.update_kept(world.state, member.id, agreed)
    await log_in()
    assert (await known(world, member)).device == DeviceKind.PHONE


@notices(
    *cuts(f"{FACTS}.update_kept", "value is not None and fact not in agreed"),
    *cuts(f"{FACTS}._lock", "await work.session.get(Member, member_id) is None"),
    Cut(f"{FACTS}._agree", "col(Consent.member_id) == member_id", "True"),
    Cut(f"{FACTS}._agree", "col(Consent.fact).in_(withdrawn)", "True"),
    Cut(f"{FACTS}._write", "col(Facts.member_id) == member_id", "True"),
    Cut(f"{FACTS}.forget_tags", "col(Tag.member_id) == member_id", "True"),
    Cut(f"{FACTS}.forget_tags", "col(Tag.own).is_(own)", "True"),
    *cuts(
        f"{TAGS}.put_tags",
        "await work.session.get(Member, member_id) is None",
        "tags and await work.session.get(Consent, (member_id, Consented.TAGS)) is None",
    ),
    *cuts(f"{TAGS}.get_tags", "await session.get(Member, member_id) is None"),
)
async def what_is_kept_is_agreed_to(world: World) -> None:
    one, other = await world.service.members(2)
    with pytest.raises(ConsentMissing):
        await facts.update_kept(world.state, one.id, FactsUpdate(city="杭州"))
    with pytest.raises(ConsentMissing):
        await tags.put_tags(world.state, one.id, ["老客"])
    with pytest.raises(MemberNotFound):
        await tags.put_tags(world.state, f"mem_{NOTHING}", [])
    with pytest.raises(MemberNotFound):
        await tags.get_tags(world.state, f"mem_{NOTHING}")
    with pytest.raises(TokenInvalid):
        await facts.forget_kept(world.state, f"mem_{NOTHING}")
    everything = FactsUpdate(consents=list(Consented), device=DeviceKind.PHONE, city="杭州", own_tags=["夜跑"])
    for member in (one, other):
        await facts.update_kept(world.state, member.id, everything)
        await tags.put_tags(world.state, member.id, ["老客"])
    await tags.put_tags(world.state, one.id, ["新客"])
    assert await words(world, one) == {("夜跑", True), ("新客", False)}
    await facts.update_kept(world.state, one.id, FactsUpdate(consents=[Consented.CITY, Consented.OWN_TAGS]))
    assert await words(world, one) == {("夜跑", True)}
    row = await known(world, one)
    assert (row.device, row.city) == (None, "杭州")
    shown = await facts.get_kept(world.state, one.id)
    assert [kept.fact for kept in shown.consented if kept.consent_given_at] == [Consented.CITY, Consented.OWN_TAGS]
    await facts.forget_kept(world.state, one.id)
    assert await words(world, other) == {("夜跑", True), ("老客", False)}
    assert (await known(world, other)).city == "杭州"
    assert all(kept.consent_given_at for kept in (await facts.get_kept(world.state, other.id)).consented)


async def words(world: World, member: Caller) -> set[tuple[str, bool]]:
    async with world.database.snapshot() as session:
        found = await session.exec(select(Tag.tag, Tag.own).where(Tag.member_id == member.id))
        return set(found.all())


@notices(
    *cuts(f"{SALES}._link", "set(found.all()) != ids", "await lock_segments_shared(work.session, ids) != ids"),
    Cut(f"{SALES}._link", "col(SaleCommunity.sale_id) == sale.id", "True"),
    Cut(f"{SALES}._link", "col(SaleSegment.sale_id) == sale.id", "True"),
)
async def a_sale_is_for_what_there_is(world: World) -> None:
    segment_id, community = await made(world, rule=NEW), await world.service.community()
    links: dict[str, Any] = {"segment_ids": [segment_id], "community_ids": [community["id"]]}
    one, other = [await world.service.sale(**FLASH, publish=False, **links) for _ in range(2)]
    with pytest.raises(SegmentNotFound):
        await sales.update_sale(world.state, one.id, SaleUpdate(segment_ids=[f"seg_{NOTHING}"]))
    with pytest.raises(CommunityNotFound):
        await sales.update_sale(world.state, one.id, SaleUpdate(community_ids=[f"com_{NOTHING}"]))
    changed = await sales.update_sale(world.state, one.id, SaleUpdate(segment_ids=[], community_ids=[]))
    assert (changed.segments, changed.community_ids) == ([], [])
    kept = await sales.get_sale(world.state, other.id, drafts=True)
    assert (len(kept.segments), kept.community_ids) == (1, [community["id"]])


@notices(
    Cut("app.services.claims._read", "await pass_gate(state, sale.gate, asked.member_id)", "None"),
    Cut("app.services.admissions.enter", "await pass_gate(state, sale.gate, member_id)", "None"),
    Cut("app.services.entries.enter", "await pass_gate(state, facts.gate, member_id)", "None"),
    Cut(
        "app.services.bargains.start",
        "await pass_gate(state, (await find_sale(state, sale_id)).gate, member_id)",
        "None",
    ),
)
async def who_is_no_member_takes_nothing(world: World) -> None:
    community = await world.service.community()
    only: dict[str, Any] = {"community_id": community["id"], "members_only": True}
    sale, bargains = await world.service.sale(**FLASH, **only), await world.service.sale(**BARGAIN, **only)
    me, entry = world.me, {"offer_id": sale.offer}
    replies = [
        await me.buy(sale),
        await me.enter(sale),
        await me.post(f"/v1/sales/{sale.id}/entries", entry),
        await me.post(f"/v1/sales/{bargains.id}/bargains", {"offer_id": bargains.offer}),
    ]
    assert [reply.json()["code"] for reply in replies] == ["members_only"] * 4


@notices(
    Cut(f"{GATES}._judge_all", "Membership.state == MembershipState.ACTIVE", "True"),
    Cut("app.domain.gates.refusal", "not gate.members_only or one.community_id in communities", "True"),
    Cut("app.domain.gates.refusal", "one.segment_id is None or one.segment_id in segments", "True"),
    Cut(
        "app.domain.gates.refusal",
        "not gate.segment_ids or any((id_ in segments for id_ in gate.segment_ids))",
        "True",
    ),
    Cut(
        "app.services.claims._claim",
        "(ConflictError, ForbiddenError, GoneError, InvalidError, NotFoundError)",
        "(ConflictError, GoneError, InvalidError, NotFoundError)",
    ),
)
async def a_gate_lets_in_whom_it_is_for(world: World) -> None:
    service, bought = world.service, await made(world, rule=BOUGHT)
    open_, strict = await service.community(), await service.community(buy_segment_id=bought)
    member, stranger = await service.members(2)
    for community in (open_, strict):
        await member.enrol(community)
    only = await flash(service, community_id=open_["id"], members_only=True)
    by_community = await flash(service, community_id=strict["id"])
    by_sale = await flash(service, segment_ids=[bought])
    ticket = member.ticket(only)
    answer = await member.buy(only, key="mine", ticket=ticket)
    assert answer.status_code == 201
    for sale, refusal in ((only, MembersOnly), (by_community, NotInSegment), (by_sale, NotInSegment)):
        with pytest.raises(refusal):
            await gates.pass_gate(world.state, (await find_sale(world.state, sale.id)).gate, stranger.id)
    async with world.work() as work:
        await work.session.exec(
            update(Membership)
            .where(col(Membership.member_id) == member.id)
            .values(state="left", left_at=work.now, leave_reason="other")
        )
    assert (await member.buy(only, key="another")).json()["code"] == "members_only"
    again = await member.buy(only, key="mine", ticket=ticket)
    assert (again.status_code, again.json()) == (201, answer.json())
