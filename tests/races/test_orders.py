"""What happens to one order from two sides at the same moment."""

from app.workers.refunds import run_once as pursue_refunds
from tests.service import Service, gather_limited


async def test_shipped_and_completed_at_once(service: Service) -> None:
    sale = await service.sale(group_size=2, member_limit=20)
    leader, friend = await service.members(2)
    for _ in range(8):
        opened = (await leader.open(sale)).json()
        joined = (await friend.join(sale, opened["group"]["id"])).json()
        await leader.pay(opened["order"]["id"])
        await friend.pay(joined["order"]["id"])
        path = f"orders/{opened['order']['id']}"
        replies = await gather_limited(service.ops("POST", f"{path}/{verb}") for verb in ("ship", "complete"))
        assert replies[0].status_code == 200
        assert replies[1].status_code in {200, 409}
    assert await service.violations() == []


async def test_two_refunds_of_one_order_succeed_at_once(service: Service) -> None:
    sale = await service.sale(group_size=2, member_limit=20)
    member = await service.member()
    for _ in range(8):
        order_id = (await member.open(sale)).json()["order"]["id"]
        urls = [await member.start_payment(order_id) for _ in range(2)]
        await gather_limited(service.http.post(url, json={}) for url in urls)
        await service.deliver()
        reply = await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
        assert reply.status_code == 200, reply.text
        now = service.clock()
        await gather_limited(pursue_refunds(service.state, now) for _ in range(2))
        found = await member.order(order_id)
        assert (found["state"], [row["state"] for row in found["refunds"]]) == ("refunded", ["succeeded"] * 2)
    assert await service.violations() == []
