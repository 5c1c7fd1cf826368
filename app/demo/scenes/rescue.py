"""Groups that do not fill, and what their members wished for: to move, to wait, to buy alone, to take more."""

import asyncio
from typing import Any

from app.demo.client import Json, Member
from app.demo.scenes.scene import Scene, money, together

MOVES, SIBLING = "moves to a sibling 并团", "the sibling 被并入的团"
TAKES, COVERED = "takes two instead of one 代购补位", "the merchant covers 商家补位"
PRICE, SOLO_PRICE = 4900, 6900
SECONDS = 8
"""How long a group has to fill."""
LATER_SECONDS = 3.0
"""So much later the sibling is opened."""
RESCUE = {"merge": True, "extend_seconds": SECONDS, "flexible": True, "cover_seats": 0}


async def play(scene: Scene) -> None:
    """Open groups that stay too small, let their time be up, and see where everybody's money has gone."""
    merging, sale = await _sale(scene, "并团", RESCUE), await _sale(scene, "救团", RESCUE)
    covering = await _sale(scene, "商家补位", {"cover_seats": 1})
    merge = {"on_unfilled": "merge"}
    moves = await _fill(scene, MOVES, merging, [merge, merge])
    await asyncio.sleep(LATER_SECONDS)
    sibling = await _fill(scene, SIBLING, merging, [{}])
    groups: list[tuple[str, Json, list[dict[str, Any]], list[str]]] = [
        ("buys alone, and is refunded 单买/退款", sale, [{"on_unfilled": "solo"}, {}], ["confirmed", "refunded"]),
        ("waits longer, in vain 延长", sale, [{"on_unfilled": "extend"}], ["refunded"]),
        (TAKES, sale, [{"quantity": 3, "min_quantity": 1}, {}], ["confirmed", "confirmed"]),
        (COVERED, covering, [{}, {}], ["confirmed", "confirmed"]),
    ]
    filled = await together(_fill(scene, name, of, wishes) for name, of, wishes, _ in groups)
    (member,) = await scene.members(1)
    waiting = filled[1][0][1]["group_id"]
    extended = await scene.until(f"/v1/groups/{waiting}", lambda group: group["extended_at"] is not None)
    scene.note(f"the group that waits was given until {extended['deadline_at'][11:19]}")
    late = await member.join(waiting, _claim(sale), "late-comer")
    await scene.pay(member, late["order"]["id"])
    await _tell(scene, MOVES, moves, ["confirmed", "confirmed"])
    await _tell(scene, SIBLING, sibling, ["confirmed"])
    for (name, _, _, ends), seats in zip(groups, filled, strict=True):
        await _tell(scene, name, seats, ends)
    for seats, what, wanted in ((moves, "state", "merged"), (filled[2], "extra", 1), (filled[3], "covered", 1)):
        group = await scene.get(f"/v1/groups/{seats[0][1]['group_id']}")
        scene.expect(f"what the group shows as {what}", wanted, group[what])


async def _sale(scene: Scene, title: str, rescue: dict[str, Any]) -> Json:
    return await scene.sale(
        f"{title} · 明前龙井",
        group_size=3,
        group_ttl_seconds=SECONDS,
        hold_ttl_seconds=SECONDS,
        order_limit=3,
        price=PRICE,
        solo_price=SOLO_PRICE,
        rescue=rescue,
    )


async def _fill(scene: Scene, name: str, sale: Json, wishes: list[dict[str, Any]]) -> list[tuple[Member, Json]]:
    """A group whose members join with these wishes, and pay."""
    seats: list[tuple[Member, Json]] = []
    for member, wish in zip(await scene.members(len(wishes)), wishes, strict=True):
        claim, key = _claim(sale) | wish, f"{member.token[-12:]}-rescue"
        if seats:
            answer = await member.join(seats[0][1]["group_id"], claim, key)
        else:
            answer = await member.open_group(sale["id"], claim, key)
        await scene.pay(member, answer["order"]["id"])
        seats.append((member, answer["order"]))
    scene.note(f"{len(seats)} of 3: {name}")
    return seats


async def _tell(scene: Scene, name: str, seats: list[tuple[Member, Json]], ends: list[str]) -> None:
    """Wait until everybody has come to an end, and enter it in the table."""
    found, lines = [], []
    for member, order in seats:
        now = await scene.until(f"/v1/orders/{order['id']}", _is_settled, member, seconds=40)
        back = sum(refund["amount"] for refund in now["refunds"])
        kept = order["amount"] - back
        quantity = now["settled_quantity"] or now["quantity"]
        due = (now["settled_price"] or now["unit_price"]) * quantity if now["state"] == "confirmed" else 0
        scene.expect(f"{name}: what {member.name} has paid", due, kept)
        found.append(now["state"])
        lines.append(f"{now['state']}, paid {money(order['amount'])}, got back {money(back)}")
    scene.expect(name, ends, found)
    scene.row(name, "\n".join(lines))


def _is_settled(order: Json) -> bool:
    done = order["state"] in {"confirmed", "refunded"}
    return done and {refund["state"] for refund in order["refunds"]} <= {"succeeded"}


def _claim(sale: Json) -> Json:
    return {"offer_id": sale["offers"][0]["id"]}
