"""A bargain: friends cut a price all at once, the owner buys on the way down; another is cut to the floor, ordered,
cancelled, and bought at the same price. Somebody watches by long poll.
"""

import asyncio
from hashlib import sha256

from app.demo.client import Json, Member, Refused
from app.demo.scenes.scene import Scene, money, together

START, FLOOR = 9900, 4900
SLOTS = 12
ON_THE_WAY = 5


async def play(scene: Scene) -> None:
    """Two owners, twelve friends."""
    sale = await scene.sale(
        "砍价 · 明前龙井",
        kind="bargain",
        price=FLOOR,
        list_price=START,
        group_ttl_seconds=600,
        bargain={"slots": SLOTS},
    )
    eager, patient, *friends = await scene.members(SLOTS + 2)
    await _buy_on_the_way(scene, sale, eager, friends[:ON_THE_WAY], friends[-1])
    await _cut_to_the_floor(scene, sale, patient, friends)


async def _buy_on_the_way(scene: Scene, sale: Json, owner: Member, friends: list[Member], late: Member) -> None:
    bargain = await _start(scene, sale, owner)
    scene.expect("cutting one's own price", "403 self_help", await scene.refusal(_help(scene, owner, bargain)))
    for friend in friends:
        answer = await _help(scene, friend, bargain)
        scene.note(f"{friend.name} cut {money(answer['amount'])}: now {money(answer['bargain']['price'])}")
    price = (await scene.get(_path(bargain)))["price"]
    order = await _order(scene, owner, bargain)
    scene.expect("the price on the way", price, order["amount"])
    scene.expect("cutting what is ordered", "409 bargain_closed", await scene.refusal(_help(scene, late, bargain)))
    await scene.pay(owner, order["id"])
    scene.expect("the first bargain", "bought", (await scene.get(_path(bargain)))["state"])
    scene.row(f"{owner.name}, {len(friends)} helps of {SLOTS}", f"bought at {money(order['amount'])}")


async def _cut_to_the_floor(scene: Scene, sale: Json, owner: Member, friends: list[Member]) -> None:
    bargain = await _start(scene, sale, owner)
    watching = asyncio.create_task(_watch(scene, bargain))
    twice = await together(_try(scene, friend, bargain) for friend in [*friends, *friends])
    cut = [amount for amount in twice if amount is not None]
    scene.note(f"{len(friends)} friends helped at the same moment, each of them twice: {len(cut)} cuts")
    scene.expect("helps that counted", len(friends), len(cut))
    won = await scene.get(_path(bargain))
    scene.expect("start less cuts", won["price"], START - sum(cut))
    scene.expect("the price with the last help", FLOOR, won["price"])
    promised = sha256(won["seed"].encode()).hexdigest() if won["seed"] else None
    scene.expect("the seed is the one that was promised", bargain["seed_hash"], promised)
    order = await _order(scene, owner, bargain)
    await owner.cancel(order["id"])
    back = await scene.get(_path(bargain))
    scene.expect("after the order was cancelled", ("won", FLOOR), (back["state"], back["price"]))
    scene.note(f"{owner.name} ordered and cancelled: the price is still {money(back['price'])}")
    order = await _order(scene, owner, bargain)
    scene.expect("the second order's price", FLOOR, order["amount"])
    await scene.pay(owner, order["id"])
    seen = await watching
    prices = [change["price"] for change in seen if change["type"] == "bargain.cut"]
    scene.expect("prices a watcher saw", [START - sum(cuts) for cuts in _sums(won)], prices)
    scene.expect("the last a watcher saw", "bargain.bought", seen[-1]["type"])
    scene.row(f"{owner.name}, all {SLOTS} helps", f"bought at {money(order['amount'])}, after a cancelled order")
    scene.row("a watcher saw", f"{len(prices)} cuts, {len(seen)} changes")
    scene.row("helps a second time", f"{len(twice) - len(cut)} tried, 0 counted")


async def _start(scene: Scene, sale: Json, owner: Member) -> Json:
    body = {"offer_id": sale["offers"][0]["id"]}
    bargain = await scene.post(owner, f"/v1/sales/{sale['id']}/bargains", body)
    scene.note(f"{owner.name} bargains: from {money(START)} to {money(FLOOR)} in {SLOTS} cuts")
    return bargain


async def _help(scene: Scene, friend: Member, bargain: Json) -> Json:
    return await scene.post(friend, f"{_path(bargain)}/cuts")


async def _try(scene: Scene, friend: Member, bargain: Json) -> int | None:
    """What a help has cut; None when it was refused."""
    try:
        return int((await _help(scene, friend, bargain))["amount"])
    except Refused:
        return None


async def _order(scene: Scene, owner: Member, bargain: Json) -> Json:
    answer = await scene.post(owner, f"{_path(bargain)}/orders")
    return dict(answer["order"])


async def _watch(scene: Scene, bargain: Json) -> list[Json]:
    """Every change from the beginning to the end."""
    seen: list[Json] = []
    found: Json = {"after": 0, "final": False}
    while not found["final"]:
        found = await scene.get(f"{_path(bargain)}/changes?after={found['after']}&wait=10")
        seen += found["changes"]
    return seen


def _sums(bargain: Json) -> list[list[int]]:
    amounts = [cut["amount"] for cut in bargain["cuts"]]
    return [amounts[:count] for count in range(1, len(amounts) + 1)]


def _path(bargain: Json) -> str:
    return f"/v1/bargains/{bargain['id']}"
