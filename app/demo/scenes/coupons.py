"""Coupons: many want what is there ten times; ten get it, and what one gives back another takes."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from app.demo.client import Json, Member
from app.demo.scenes.scene import Scene, money, together

BUYERS, TOTAL = 40, 10
PRICE, OFF = 4900, 2000
NOTICED_SECONDS = 1.1
"""Until every process knows that one is free again."""


async def play(scene: Scene) -> None:
    """Rush a coupon, give one back, pay the others; then all of it is used, and no more than that."""
    sale = await scene.sale("秒杀 · 明前龙井", kind="flash", price=PRICE, stock=BUYERS + 1)
    now = datetime.now(UTC)
    coupon = await scene.operate(
        "POST",
        "coupons",
        {
            "title": "满 40 减 20",
            "kind": "fixed",
            "value": OFF,
            "min_spend": 4000,
            "sale_id": sale["id"],
            "opens_at": now.isoformat(),
            "closes_at": (now + timedelta(hours=1)).isoformat(),
            "total": TOTAL,
        },
    )
    members = await scene.members(BUYERS + 1)
    *buyers, late = members
    offer_id = sale["offers"][0]["id"]
    quote = await scene.get(f"/v1/coupons/{coupon['code']}?offer_id={offer_id}", late)
    scene.expect("what the coupon promises to take off", OFF, quote["discount"])
    scene.note(f"{BUYERS} members buy at once with {coupon['code']}, which is there {TOTAL} times")
    told: Counter[str] = Counter()
    orders: list[tuple[Member, Json]] = []

    async def rush(member: Member) -> None:
        async def claim() -> None:
            order = (await scene.buy(member, sale, coupon_code=coupon["code"]))["order"]
            orders.append((member, order))
            scene.expect(f"what {member.name} has to pay", PRICE - OFF, order["amount"])

        told[await scene.refusal(claim())] += 1

    await together(rush(member) for member in buyers)
    scene.expect("what they were told", {"accepted": TOTAL, "409 coupon_used_up": BUYERS - TOTAL}, dict(told))
    (leaver, left), *paying = orders
    await leaver.cancel(left["id"])
    await asyncio.sleep(NOTICED_SECONDS)
    scene.note(f"{leaver.name} leaves without paying, and {late.name} gets that one")
    paying.append((late, (await scene.buy(late, sale, coupon_code=coupon["code"]))["order"]))
    await together(scene.pay(member, order["id"]) for member, order in paying)
    shown = await scene.operate("GET", f"coupons/{coupon['id']}")
    scene.expect("redemptions", (0, TOTAL, 0), (shown["locked"], shown["used"], shown["left"]))
    scene.row("redeemed", f"{shown['used']} of {TOTAL}, asked for by {BUYERS + 1}")
    scene.row("refused", told["409 coupon_used_up"])
    scene.row("each has paid", f"{money(PRICE - OFF)} instead of {money(PRICE)}")
