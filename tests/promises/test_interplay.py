"""Where two ways to sell meet: none is a way around another."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from app.domain.entries import EntryState
from app.domain.sales import SaleKind
from app.models import Entry
from app.schemas.groups import ClaimCreate
from app.services import claims, lines, terms
from app.services.transactions import transaction
from app.workers import groups as groups_worker
from app.workers import lines as lines_worker
from tests.promises.test_draws import entry_of
from tests.promises.test_group_buy import states as order_states
from tests.promises.test_rescues import fill, pass_deadline, rescue_sale, take_seat
from tests.promises.test_waiting import states, wait
from tests.service import BARGAIN, FLASH, Member, Sale, Service, gather_limited


async def stand_in_line(member: Member, sale: Sale, **wish: Any) -> tuple[int, str]:
    reply = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer} | wish)
    return reply.status_code, str(reply.json().get("code"))


async def test_a_line_is_no_way_around_the_entrance(service: Service) -> None:
    sale = await service.sale(stocks=[10], **FLASH, admission={"proof_of_work": 100_000, "per_device": 1})
    holder, bot = await service.members(2)
    group_id = (await holder.buy(sale)).json()["group"]["id"]
    assert await stand_in_line(bot, sale, group_id=group_id) == (404, "group_not_found")
    assert await stand_in_line(bot, sale) == (409, "not_sold_out")


async def test_a_line_is_no_way_around_a_bargain(service: Service) -> None:
    sale = await service.sale(stocks=[1], **BARGAIN)
    owner, bot = await service.members(2)
    bought = (await owner.buy_at((await owner.bargain(sale))["id"])).json()
    for wish in ({}, {"group_id": bought["group"]["id"]}):
        assert await stand_in_line(bot, sale, **wish) == (409, "wrong_kind")


async def test_a_party_larger_than_the_stock_does_not_wait(service: Service) -> None:
    sale = await service.sale(stocks=[4], **FLASH)
    assert await stand_in_line(await service.member(), sale, quantity=5) == (422, "order_limit")


async def test_what_suffices_for_nobody_who_waits_is_sold_to_others(service: Service) -> None:
    sale = await service.sale(stocks=[4], **FLASH)
    first, second, party, other = await service.members(4)
    held = (await first.buy(sale)).json()["order"]
    assert (await second.buy(sale, quantity=3)).status_code == 201
    await wait(party, sale, quantity=2)
    await first.post(f"/v1/orders/{held['id']}/cancel")
    await service.tick()
    assert (await other.enter(sale)).json()["left"] == 1
    assert (await other.buy(sale)).status_code == 201
    assert await service.violations() == []


async def test_a_seat_is_not_kept_for_a_party_that_cannot_have_it(service: Service) -> None:
    sale = await service.sale(group_size=2, stocks=[4])
    leader, friend, party, other = await service.members(4)
    claim = (await leader.open(sale)).json()
    group_id = claim["group"]["id"]
    await leader.pay(claim["order"]["id"])
    held = (await friend.join(sale, group_id)).json()["order"]
    await wait(party, sale, group_id=group_id, quantity=4)
    await friend.post(f"/v1/orders/{held['id']}/cancel")
    await service.tick()
    assert (await other.join(sale, group_id)).status_code == 201


async def test_the_entrance_does_not_promise_what_is_kept(service: Service) -> None:
    sale = await service.sale(stocks=[1], **FLASH)
    holder, visitor, waiting = await service.members(3)
    held = (await holder.buy(sale)).json()["order"]
    await visitor.enter(sale)
    await wait(waiting, sale)
    await holder.post(f"/v1/orders/{held['id']}/cancel")
    stand = (await visitor.stand(sale)).json()
    assert (stand["state"], stand["left"], stand["ticket"]) == ("gone", 0, None)


async def test_who_was_called_is_told_when_the_sale_ends(service: Service) -> None:
    sale = await service.sale(group_size=2, stocks=[10])
    leader, friend, waiting = await service.members(3)
    opened = (await leader.open(sale)).json()
    group_id = opened["group"]["id"]
    joined = (await friend.join(sale, group_id)).json()
    await leader.pay(opened["order"]["id"])
    entry = await wait(waiting, sale, group_id=group_id)
    await friend.post(f"/v1/orders/{joined['order']['id']}/cancel")
    await lines.call(service.state, sale.id, service.clock())
    for step in ("pause", "end"):
        assert (await service.ops("POST", f"sales/{sale.id}/{step}")).status_code == 200
    await groups_worker.run_once(service.state, service.clock())
    service.state.memory(terms._read_groups).drop(group_id)  # as another process would know it
    await service.tick()
    assert await states((waiting, entry)) == ["lost"]
    assert await service.violations() == []


async def test_nobody_is_called_to_a_group_without_time_to_pay(service: Service) -> None:
    sale = await service.sale(group_size=3, stocks=[3])
    leader, holder, waiting = await service.members(3)
    await leader.pay((await leader.open(sale)).json()["order"]["id"])
    service.clock.advance(3590)
    held = (await holder.open(sale, quantity=2)).json()["order"]
    entry = await wait(waiting, sale)
    await holder.post(f"/v1/orders/{held['id']}/cancel")
    await lines_worker.run_once(service.state, service.clock())
    order = await waiting.order((await entry_of(waiting, entry))["order_id"])
    left = datetime.fromisoformat(order["hold_expires_at"]) - service.clock()
    assert left > timedelta(seconds=590)


@pytest.mark.parametrize("called", [False, True])
async def test_a_rescue_takes_no_seat_that_is_kept(service: Service, called: bool) -> None:
    sale = await rescue_sale(service)
    _, early = await fill(service, sale, {"on_unfilled": "merge"})
    service.clock.advance(60)
    second, _ = await fill(service, sale, {}, {})
    holder, waiting = await service.members(2)
    held = await take_seat(holder, sale, second, pay=False)
    entry = await wait(waiting, sale, group_id=second)
    if called:
        await holder.post(f"/v1/orders/{held['id']}/cancel")
        await lines.call(service.state, sale.id, service.clock())
    service.clock.advance(3541)
    await groups_worker.run_once(service.state, service.clock())
    await service.tick()
    assert await states((waiting, entry)) == ["offered"]
    assert await order_states(early) == ["refunded"]
    assert await service.violations() == []


async def test_a_ticket_that_bought_nothing_still_buys(service: Service) -> None:
    sale, coupon = await service.sale(stocks=[10], **FLASH), await service.coupon(total=1)
    members = await service.members(6)
    tickets = [member.ticket(sale) for member in members]
    pairs = list(zip(members, tickets, strict=True))
    replies = await gather_limited(
        member.buy(sale, ticket=ticket, coupon_code=coupon["code"]) for member, ticket in pairs
    )
    refused = [pair for pair, reply in zip(pairs, replies, strict=True) if reply.status_code != 201]
    assert len(refused) == 5
    assert [(await member.buy(sale, ticket=ticket)).status_code for member, ticket in refused] == [201] * 5
    assert await service.violations() == []


async def test_an_order_that_was_made_before_is_found(service: Service) -> None:
    """The entry was put back while its order was being committed, and called to another group."""
    sale = await service.sale(group_size=3, stocks=[3])
    leader, holder, waiting = await service.members(3)
    await leader.open(sale)
    held = (await holder.open(sale, quantity=2)).json()["order"]
    entry = await wait(waiting, sale)
    await holder.post(f"/v1/orders/{held['id']}/cancel")
    await lines.call(service.state, sale.id, service.clock())
    async with transaction(service.state, service.clock()) as work:
        called = (await work.session.exec(select(Entry).where(Entry.id == entry["id"]))).one()
        group_id = str(called.group_id)
        await lines._advance(work, called, EntryState.WAITING, group_id=None)
        await lines._advance(work, called, EntryState.CALLED, group_id=f"grp_{'0' * 32}")
    body = ClaimCreate(offer_id=sale.offer)
    key = f"{lines.KEY}{entry['id']}"
    await claims.award(service.state, SaleKind.GROUP, waiting.id, sale.id, body, group_id, key)
    await lines.serve(service.state, sale.id, service.clock())
    assert await states((waiting, entry)) == ["offered"]
    assert await service.violations() == []


async def test_a_draw_leaves_its_winners_time_and_is_drawn_before_it_ends(service: Service) -> None:
    now = service.clock()
    draws_at, closes_at = (now + timedelta(seconds=100)).isoformat(), now + timedelta(seconds=400)
    drawn: dict[str, Any] = {"allocation": "draw", "draws_at": draws_at, "closes_at": closes_at.isoformat()}
    sale = await service.sale(stocks=[2], **FLASH, **drawn)
    short = sale.body | {"closes_at": (closes_at - timedelta(seconds=1)).isoformat()}
    refused = await service.ops("POST", "sales", short)
    assert (refused.status_code, refused.json()["field"]) == (422, "draws_at")
    await wait(await service.member(), sale)
    service.clock.advance(401)  # nobody has looked since before the draw
    await service.tick()
    proof = (await service.http.get(f"/v1/sales/{sale.id}/draw")).json()
    assert proof["seed"] is not None
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["state"] == "ended"
    curve = {"curve": [{"members": 1}]}
    assert (await service.ops("POST", f"sales/{sale.id}/simulate", curve)).status_code == 200


async def test_how_long_a_payment_takes_in_a_flash_sale_may_be_changed(service: Service) -> None:
    draft = await service.sale(**FLASH, publish=False)
    changed = await service.ops("PATCH", f"sales/{draft.id}", {"hold_ttl_seconds": 400})
    assert changed.status_code == 200, changed.text


async def test_a_coupon_and_a_rescue_leave_the_money_right(service: Service) -> None:
    sale, coupon = (
        await rescue_sale(service, group_size=4),
        await service.coupon(value=2000, total=10, member_limit=5),
    )
    code = {"coupon_code": coupon["code"]}
    solo = {"on_unfilled": "solo", "quantity": 3, "min_quantity": 1}
    _, seated = await fill(
        service, sale, solo | code, {"on_unfilled": "merge"} | code, {"on_unfilled": "solo"} | code
    )
    await pass_deadline(service)
    assert await order_states(seated) == ["confirmed"] * 3
    for member, order in seated:
        await service.ops("POST", f"orders/{order['id']}/refund", None, **{"idempotency-key": order["id"]})
        await service.tick()
        now = await member.order(order["id"])
        assert sum(refund["amount"] for refund in now["refunds"]) == now["amount"]
    assert (await service.ops("GET", f"coupons/{coupon['id']}")).json()["left"] == 10
    assert await service.violations() == []


async def test_who_waited_for_a_group_that_is_over_fills_another(service: Service) -> None:
    sale = await service.sale(group_size=2, stocks=[10])
    leader, friend, other, waiting = await service.members(4)
    opened = (await leader.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    entry = await wait(waiting, sale, group_id=opened["group"]["id"])
    another = (await other.open(sale)).json()["group"]["id"]
    await service.tick()
    assert await states((waiting, entry)) == ["waiting"]
    for member, claim in ((leader, opened), (friend, joined)):
        await member.pay(claim["order"]["id"])
    await service.tick()
    assert await states((waiting, entry)) == ["offered"]
    assert (await service.group(another))["held"] == 2
    assert await service.violations() == []
