"""Where invites, rewards and pages meet what was there before: groups, ladders, merging, late looks."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlmodel import col

from app.models import Cause, Touch
from app.services.causes import handle, note
from app.services.transactions import transaction
from app.workers import causes
from app.workers.due import BATCH
from tests.promises.money import DAY, code, policy, rewards
from tests.promises.test_referrals import brought_by, conclude, invite, log_in, order, pay, spread, tap
from tests.service import Member, Sale, Service

LADDER: dict[str, Any] = {"group_size": 4, "min_size": 2, "ladder": [(3, 4500)]}


async def opened(member: Member, sale: Sale, **body: Any) -> tuple[str, str]:
    """A group that a member has opened and paid in, and their order."""
    claim = await member.open(sale, **body)
    assert claim.status_code == 201, claim.text
    group_id, order_id = claim.json()["group"]["id"], claim.json()["order"]["id"]
    await member.pay(order_id)
    return str(group_id), str(order_id)


async def joined(member: Member, sale: Sale, group_id: str, **body: Any) -> str:
    """An order that a member has paid in somebody's group."""
    claim = await member.join(sale, group_id, **body)
    assert claim.status_code == 201, claim.text
    await member.pay(claim.json()["order"]["id"])
    return str(claim.json()["order"]["id"])


async def look_again(service: Service, order_id: str) -> None:
    """Have an order looked at, as when a part of its price goes back."""
    async with transaction(service.state, service.clock()) as work:
        await note(work, order_id)
    await conclude(service)


async def test_nobody_earns_by_what_was_bought_before_they_came(service: Service) -> None:
    sale = await service.sale(**LADDER)
    policy_id = await policy(service, sale_id=sale.id)
    inviter, buyer, *others = await service.members(4)
    group_id, _ = await opened(buyer, sale)
    await conclude(service)
    _, second = await opened(buyer, sale, invite_code=await code(inviter, sale))
    await conclude(service)
    assert await brought_by(service, sale.id, buyer) == inviter.id
    for other in others:
        await joined(other, sale, group_id)
    service.clock.advance(3600)
    await service.work()  # the first group succeeds, and a part of its price goes back
    assert [row["order_id"] for row in await rewards(service, policy_id)] == [second]
    assert await service.violations() == []


async def test_an_order_that_is_looked_at_late_is_nobodys_who_came_after_it(service: Service) -> None:
    sale = await service.sale()
    policy_id = await policy(service, sale_id=sale.id)
    inviter, buyer = await service.members(2)
    _, early = await opened(buyer, sale)
    _, later = await opened(buyer, sale, invite_code=await code(inviter, sale))
    for order_id in (later, early):
        await handle(service.state, order_id, service.clock())
    assert [row["order_id"] for row in await rewards(service, policy_id)] == [later]
    assert await service.violations() == []


async def test_who_leads_a_merged_group_earns_nothing_by_those_who_came_with_it(service: Service) -> None:
    sale = await service.sale(group_size=3, rescue={"merge": True})
    policy_id = await policy(service, sale_id=sale.id, role="leader")
    leader, other = await service.members(2)
    _, order_id = await opened(leader, sale, on_unfilled="merge")
    service.clock.advance(1800)
    target, _ = await opened(other, sale)
    await service.work()
    assert await rewards(service, policy_id) == []
    service.clock.advance(1801)
    await service.work()
    assert (await leader.order(order_id))["group_id"] == target
    await look_again(service, order_id)
    assert await rewards(service, policy_id) == []


async def test_nobody_is_brought_by_what_is_learnt_later(service: Service) -> None:
    sale = await service.sale()
    policy_id = await policy(service, sale_id=sale.id)
    inviter = await service.member()
    made = await invite(service, inviter, sale_id=sale.id)
    token = (await service.http.get(f"/i/{made}")).json()["visitor_token"]
    buyer = await log_in(service, "buyer")
    _, order_id = await opened(buyer, sale)
    await conclude(service)
    assert await brought_by(service, sale.id, buyer) is None
    await log_in(service, "buyer", visitor_token=token)
    await look_again(service, order_id)
    assert await brought_by(service, sale.id, buyer) is None
    assert await rewards(service, policy_id) == []


async def test_an_invite_to_a_group_brings_who_opens_another_one_beside_it(service: Service) -> None:
    sale = await service.sale(group_size=2)
    leader, second, late, stranger = await service.members(4)
    group_id, _ = await opened(leader, sale)
    made = await invite(service, leader, group_id=group_id)
    await tap(service, late, made)
    await joined(second, sale, group_id)
    await opened(late, sale)
    await conclude(service)
    assert await brought_by(service, sale.id, late) == leader.id
    elsewhere = await service.sale(group_size=2)
    await tap(service, stranger, made)
    await opened(stranger, elsewhere)
    await conclude(service)
    assert await brought_by(service, elsewhere.id, stranger) is None


async def test_orders_that_cannot_be_looked_at_do_not_hold_up_others(service: Service) -> None:
    sale = await service.sale()
    inviter, buyer = await service.members(2)
    await opened(buyer, sale, invite_code=await code(inviter, sale))
    broken = [f"ord_{number:032x}" for number in range(BATCH + 10)]
    async with service.state.database.transaction() as session:
        session.add_all(Cause(order_id=order_id) for order_id in broken)
        await session.commit()
    try:
        await causes.run_once(service.state, service.clock())
    finally:
        async with service.state.database.transaction() as session:
            await session.exec(delete(Cause).where(col(Cause.order_id).in_(broken)))
    assert await brought_by(service, sale.id, buyer) == inviter.id


async def test_who_comes_back_after_paying_was_brought_by_whom_they_came_by(service: Service) -> None:
    sale = await spread(service)
    first, second, buyer, slow = await service.members(4)
    theirs, other = [await invite(service, member, sale_id=sale.id) for member in (first, second)]
    await tap(service, slow, theirs)
    service.clock.advance(31 * DAY)
    for made in (theirs, other, theirs):
        await tap(service, buyer, made)
        service.clock.advance(60)
    await tap(service, slow, theirs)
    for member in (buyer, slow):
        order_id = await order(service, member, sale)
        service.clock.advance(60)
        await tap(service, member, theirs)
        await pay(service, member, order_id)
        await tap(service, member, theirs)
    await conclude(service)
    assert [await brought_by(service, sale.id, member) for member in (buyer, slow)] == [first.id, first.id]
    service.clock.advance(60)
    await tap(service, buyer, theirs)
    async with service.state.database.snapshot() as session:
        touch = await session.get_one(Touch, (theirs, buyer.id))
    assert (touch.taps, touch.last_at > service.clock() - timedelta(seconds=30)) == (5, True)
