"""What made-up friends come to, from the link to the balance: refused, withheld, and nothing paid."""

from uuid import uuid4

from app.domain.suspicions import BURST
from tests.promises.money import DAY, brought, budget, code, flash, has, later, policy, rewards
from tests.promises.test_referrals import log_in
from tests.service import Member, Service

BUDGET = 1_000_000


async def somebody(service: Service, **known: str) -> Member:
    """A new account, with the device or the phone it logs in with."""
    return await log_in(service, uuid4().hex, **known)


async def test_made_up_friends_are_paid_nothing(own_service: Service) -> None:
    service = own_service
    sale = await flash(service, stocks=[200])
    policy_id = await policy(service, BUDGET, sale_id=sale.id, mature_days=1)
    honest = await service.member("honest")
    await later(service, 2 * 3600, honest)

    # Two accounts on one device.
    double = await somebody(service, device="one")
    await brought(service, double, sale, await somebody(service, device="one"))
    # A ring of three: the third order would close it.
    ring = [await somebody(service, device=f"ring-{number}") for number in range(3)]
    for number, member in enumerate(ring):
        await brought(service, ring[number - 1], sale, member)
        await service.work()
    # Oneself: by one's own code nobody is brought, and it cannot be typed.
    alone = await service.member("alone")
    own = await code(alone, sale)
    await brought(service, alone, sale, alone)
    typed = await alone.post(f"/v1/invites/{own}/touches")
    assert (typed.status_code, typed.json()["code"]) == (409, "self_referral")
    # A star: many new accounts, each for one order of the cheapest.
    star = await somebody(service, device="star")
    for number in range(BURST + 5):
        await brought(service, star, sale, await somebody(service, device=f"bot-{number}"))
    # And somebody with a friend.
    friend = await somebody(service, device="friend")
    await brought(service, honest, sale, friend)
    await service.work()

    await later(service, 2 * DAY, double, alone, star, honest, *ring)
    assert [await has(member) for member in (double, alone, star, *ring)] == [(0, 0, 0, 0)] * 6
    assert await has(honest) == (490, 0, 0, 0)
    assert await budget(service, policy_id) == BUDGET - 490
    found = await rewards(service, policy_id)
    assert {reward["state"] for reward in found if reward["member_id"] != honest.id} == {"withheld"}
    reasons = {reward["member_id"]: reward["reasons"] for reward in found}
    assert reasons[double.id] == ["device"]
    assert "ring" in reasons[ring[0].id]
    assert "star" in reasons[star.id]
    assert alone.id not in reasons
    assert await service.violations() == []
