"""A price ladder: five pay one after the other, the price falls, and everybody gets back the gap."""

from app.demo.client import Json, Member
from app.demo.scenes.scene import Scene, money

STEPS = [(2, 6000), (3, 5000), (5, 4500)]
SEATS = 5


async def play(scene: Scene) -> None:
    """Fill a group of five, paying in turn; then every seat has cost the same."""
    sale = await scene.sale(
        "阶梯团 · 明前龙井",
        group_size=SEATS,
        min_size=STEPS[0][0],
        group_ttl_seconds=60,
        price=STEPS[0][1],
        ladder=[{"heads": heads, "price": price} for heads, price in STEPS[1:]],
    )
    group_id, seats = "", []
    for member in await scene.members(SEATS):
        answer = await _claim(member, sale, group_id)
        group_id, order = answer["group"]["id"], answer["order"]
        await scene.pay(member, order["id"])
        seats.append((member, order))
        (shown,) = (await scene.get(f"/v1/groups/{group_id}"))["prices"]
        more = (
            f"{shown['heads_to_next']} more and everyone pays {money(shown['next_price'])}"
            if shown["next_price"]
            else "the last step is reached"
        )
        scene.note(f"{member.name} joined and paid {money(order['amount'])}: {more}")
    group = await scene.get(f"/v1/groups/{group_id}")
    scene.expect("the group", "succeeded", group["state"])
    last = STEPS[-1][1]
    for member, order in seats:
        now = await scene.until(f"/v1/orders/{order['id']}", _is_settled, member)
        back = sum(refund["amount"] for refund in now["refunds"])
        scene.expect(f"what {member.name} paid in the end", last, order["amount"] - back)
        scene.row(member.name, f"paid {money(order['amount'])}, got back {money(back)}")
    scene.row("each has paid", money(last))


async def _claim(member: Member, sale: Json, group_id: str) -> Json:
    claim, key = {"offer_id": sale["offers"][0]["id"]}, f"{member.token[-12:]}-claim"
    return await (member.join(group_id, claim, key) if group_id else member.open_group(sale["id"], claim, key))


def _is_settled(order: Json) -> bool:
    refunds = [refund["state"] for refund in order["refunds"]]
    owed = (order["unit_price"] - (order["settled_price"] or 0)) * order["quantity"]
    return order["state"] == "confirmed" and (not owed or bool(refunds)) and set(refunds) <= {"succeeded"}
