"""A bargain: friends cut a price, and the owner buys at it. Every cut adds up, nobody helps twice."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from app.domain.bargains import draw_cuts
from app.models import Bargain, Event, Member
from docs.tables import DOCS
from tests.http.watchers import Stream
from tests.service import BARGAIN, Sale, Service, gather_limited
from tests.service import Member as Person

START, FLOOR = 9900, 4900


async def bargain_sale(service: Service, slots: int = 5, *, stock: int = 10, rules: Any = (), **terms: Any) -> Sale:
    return await service.sale(stocks=[stock], **BARGAIN | {"bargain": {"slots": slots} | dict(rules)} | terms)


async def shown(service: Service, bargain_id: str, viewer: Person | None = None) -> dict[str, Any]:
    path = f"/v1/bargains/{bargain_id}"
    reply = await (viewer.get(path) if viewer else service.http.get(path))
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def midnight(service: Service) -> datetime:
    """The beginning of the next day, by UTC."""
    return (service.clock() + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def verified(bargain: dict[str, Any]) -> str:
    """What the script in the documents says of a bargain."""
    script = [sys.executable, "-I", str(DOCS / "verify_bargain.py")]
    found = subprocess.run(script, input=json.dumps(bargain), capture_output=True, text=True, check=False)
    return (found.stdout + found.stderr).strip()


async def test_friends_cut_to_the_floor_and_the_owner_buys(service: Service) -> None:
    sale = await bargain_sale(service)
    owner, stranger, *friends = await service.members(7)
    bargain = await owner.bargain(sale)
    assert (bargain["price"], bargain["left"], bargain["seed"]) == (START, 5, None)
    assert (await owner.bargain(sale)) == bargain, "one that runs is found again"
    assert (await owner.cut(bargain["id"])).json()["code"] == "self_help"
    price = START
    for number, friend in enumerate(friends, start=1):
        reply = await friend.cut(bargain["id"])
        assert reply.status_code == 201, reply.text
        answer = reply.json()
        price -= answer["amount"]
        assert (answer["bargain"]["price"], answer["bargain"]["taken"]) == (price, number)
        again = (await friend.cut(bargain["id"])).json()
        assert (again["code"], again["amount"]) == ("already_helped", answer["amount"])
    assert price == FLOOR
    won = await shown(service, bargain["id"], owner)
    assert (won["state"], won["left"]) == ("won", 0)
    assert [cut["name"] for cut in won["cuts"]] == [friend.name for friend in friends]
    assert {cut["name"] for cut in (await shown(service, bargain["id"]))["cuts"]} <= {
        "m***2",
        "m***3",
        "m***4",
        "m***5",
        "m***6",
    }
    assert (await stranger.cut(bargain["id"])).json()["state"] == "won"
    assert (await stranger.buy_at(bargain["id"])).json()["code"] == "not_your_bargain"

    reply = await owner.buy_at(bargain["id"], key="once")
    assert reply.status_code == 201, reply.text
    order = reply.json()["order"]
    assert (order["unit_price"], order["amount"], order["bargain_id"]) == (FLOOR, FLOOR, bargain["id"])
    assert (await owner.buy_at(bargain["id"], key="once")).text == reply.text
    assert (await owner.buy_at(bargain["id"])).json()["state"] == "ordered"
    await owner.pay(order["id"])
    assert (await owner.order(order["id"]))["state"] == "confirmed"
    bought = await shown(service, bargain["id"])
    assert bought["state"] == "bought"
    assert verified(bought) == "as promised"
    wrong = [cut | {"amount": cut["amount"] + 1} for cut in bought["cuts"]]
    for lie in ({"seed_hash": "0" * 64}, {"cuts": wrong}, {"price": FLOOR + 1}):
        assert verified(bought | lie).startswith("not as promised"), lie
    assert (await owner.buy_at(bargain["id"], key="once")).text == reply.text
    mine = (await owner.get("/v1/bargains", params={"sale_id": sale.id})).json()["items"]
    assert [(item["id"], item["state"], item["owner_name"]) for item in mine] == [
        (bargain["id"], "bought", owner.name)
    ]
    assert (await owner.get("/v1/bargains", params={"state": "cutting"})).json()["items"] == []
    assert (await stranger.get("/v1/bargains")).json()["items"] == []
    assert await service.violations() == []


async def test_a_hundred_cut_at_once_and_each_once(service: Service) -> None:
    """Each sends its help twice, side by side; somebody watches."""
    sale = await bargain_sale(service, 100)
    owner = await service.member("owner")
    friends = await service.members(105)
    bargain = await owner.bargain(sale)
    async with service.http.stream("GET", f"/v1/bargains/{bargain['id']}/live") as stream:
        events = aiter(Stream(stream))
        assert (await anext(events)).data["price"] == START
        replies = await gather_limited(friend.cut(bargain["id"]) for friend in [*friends, *friends])
        seen = [await anext(events)]
        while seen[-1].type != "bargain.won":
            seen.append(await anext(events))
    cut = [reply.json() for reply in replies if reply.status_code == 201]
    refused = [reply.json() for reply in replies if reply.status_code != 201]
    assert len(cut) == 100
    assert {problem["code"] for problem in refused} <= {"already_helped", "bargain_closed"}
    assert sum(problem["code"] == "already_helped" for problem in refused) >= 100 - 5

    async with service.state.database.snapshot() as session:
        rows = await session.exec(select(Event).where(Event.bargain_id == bargain["id"]).order_by(col(Event.id)))
        history = rows.all()
        row = await session.get_one(Bargain, bargain["id"])
    cuts = [event for event in history if event.type == "bargain.cut"]
    price = START
    for number, event in enumerate(cuts, start=1):
        price -= event.data["amount"]
        assert (event.data["number"], event.data["price"]) == (number, price)
        assert (price == FLOOR) == (number == 100), "the floor is reached with the last help, and not before"
    assert [event.data["amount"] for event in cuts] == draw_cuts(row.seed, START - FLOOR, 100)
    assert len({event.member_id for event in cuts}) == 100
    assert [event.data["price"] for event in seen if event.type == "bargain.cut"] == [
        event.data["price"] for event in cuts
    ]
    assert sorted(answer["amount"] for answer in cut) == sorted(event.data["amount"] for event in cuts)
    assert history[-1].type == "bargain.won"
    assert verified(await shown(service, bargain["id"])) == "as promised"
    assert await service.violations() == []


async def test_cuts_and_the_purchase_race(service: Service) -> None:
    """A cut is before the order, and lowers what is paid, or after it, and is refused."""
    sale = await bargain_sale(service, 40)
    owner, *friends = await service.members(41)
    bargain_id = (await owner.bargain(sale))["id"]
    helping = [friend.cut(bargain_id) for friend in friends]
    buying = [owner.buy_at(bargain_id, key=f"{number}") for number in (1, 1, 2, 2)]
    replies = await gather_limited([*helping[:20], *buying, *helping[20:]])
    orders = {reply.json()["order"]["id"]: reply.json()["order"] for reply in replies[20:24] if reply.is_success}
    (order,) = orders.values()
    cut = [reply.json()["amount"] for reply in (*replies[:20], *replies[24:]) if reply.status_code == 201]
    assert order["unit_price"] == START - sum(cut)
    bargain = await shown(service, bargain_id)
    assert (bargain["state"], bargain["price"]) == ("ordered", order["unit_price"])
    assert await service.violations() == []
    await owner.pay(order["id"])
    assert verified(await shown(service, bargain_id)) == "as promised"
    assert await service.violations() == []


@pytest.mark.parametrize("way", ["cancelled", "expired"])
async def test_an_order_that_is_not_paid_gives_the_price_back(service: Service, way: str) -> None:
    sale = await bargain_sale(service, 2, stock=1)
    owner, *friends = await service.members(3)
    bargain_id = (await owner.bargain(sale))["id"]
    prices = []
    for friend in friends:
        prices.append((await friend.cut(bargain_id)).json()["bargain"]["price"])
        order = (await owner.buy_at(bargain_id)).json()["order"]
        assert order["unit_price"] == prices[-1]
        assert (await friend.cut(bargain_id)).json()["code"] == "already_helped"
        if way == "cancelled":
            assert (await owner.post(f"/v1/orders/{order['id']}/cancel")).status_code == 200
        else:
            service.clock.advance(601)
            await service.tick()
        assert (await owner.order(order["id"]))["state"] == way
        bargain = await shown(service, bargain_id)
        assert (bargain["state"], bargain["price"]) == ("won" if friend is friends[-1] else "cutting", prices[-1])
        assert await service.left(sale) == [1]
    assert prices[-1] == FLOOR
    assert await service.violations() == []
    service.clock.advance(3600)
    await service.tick()
    assert (await shown(service, bargain_id))["state"] == "expired"
    assert (await owner.buy_at(bargain_id)).json()["code"] == "bargain_closed"
    assert await service.violations() == []


async def test_time_runs_out_for_bargains_but_not_for_orders(service: Service) -> None:
    sale = await bargain_sale(service)
    late, idle, payer, friend = await service.members(4)
    kept, lost, paid = [(await owner.bargain(sale))["id"] for owner in (late, idle, payer)]
    amount = (await friend.cut(paid)).json()["amount"]
    service.clock.advance(3500)
    orders = [(await owner.buy_at(id_)).json()["order"] for owner, id_ in ((late, kept), (payer, paid))]
    service.clock.advance(200)
    assert (await friend.cut(lost)).json()["state"] == "expired"
    assert (await idle.buy_at(lost)).json()["state"] == "expired"
    await service.tick()
    assert (await shown(service, lost))["seed"] is not None
    await payer.pay(orders[1]["id"])
    assert (await payer.order(orders[1]["id"]))["state"] == "confirmed", (
        "later than the bargain, but within the hold"
    )
    assert orders[1]["amount"] == START - amount
    service.clock.advance(500)
    await service.tick()
    states = [(await shown(service, id_))["state"] for id_ in (kept, lost, paid)]
    assert states == ["expired", "expired", "bought"]
    assert await service.violations() == []


async def test_a_refund_does_not_bring_the_price_back(service: Service) -> None:
    sale = await bargain_sale(service)
    owner = await service.member()
    bargain = await owner.bargain(sale)
    order = (await owner.buy_at(bargain["id"])).json()["order"]
    assert order["unit_price"] == START
    await owner.pay(order["id"])
    assert (
        await service.ops("POST", f"orders/{order['id']}/refund", **{"idempotency-key": "x"})
    ).status_code == 200
    await service.tick()
    assert (await shown(service, bargain["id"]))["state"] == "bought"
    assert (await owner.bargain(sale))["id"] != bargain["id"], "but one may begin again"
    assert await service.violations() == []


async def test_helps_have_a_daily_limit(service: Service) -> None:
    service.clock.advance((midnight(service) - service.clock()).total_seconds() + 3600)
    sale = await bargain_sale(service, rules={"daily_helps": 2}, group_ttl_seconds=2 * 86_400)
    friend, *owners = await service.members(7)
    ids = [(await owner.bargain(sale))["id"] for owner in owners]
    replies = await gather_limited(friend.cut(id_) for id_ in ids)
    assert sorted(reply.status_code for reply in replies) == [201, 201, 409, 409, 409, 409]
    codes = {(reply.json()["code"], reply.json()["limit"]) for reply in replies if reply.status_code == 409}
    assert codes == {("help_limit", 2)}
    sale_of_another = await bargain_sale(service)
    assert (await friend.cut((await owners[0].bargain(sale_of_another))["id"])).status_code == 201
    service.clock.advance((midnight(service) - service.clock()).total_seconds())
    refused = [id_ for id_, reply in zip(ids, replies, strict=True) if reply.status_code == 409]
    again = [(await friend.cut(id_)).status_code for id_ in refused]
    assert again == [201, 201, 409, 409], "tomorrow is another day"
    assert await service.violations() == []


async def test_new_members_may_weigh_more(service: Service) -> None:
    rules = {"weight": 2, "new_member_days": 7, "new_member_weight": 3}
    sale = await bargain_sale(service, 7, rules=rules)
    owner, old, new, last = await service.members(4)
    async with service.state.database.transaction() as session:
        long_ago = service.clock() - timedelta(days=8)
        await session.exec(update(Member).where(col(Member.id).in_([old.id, last.id])).values(created_at=long_ago))
    bargain_id = (await owner.bargain(sale))["id"]
    taken = [len((await friend.cut(bargain_id)).json()["bargain"]["cuts"]) for friend in (new, old)]
    assert taken == [3, 5]
    doubles = await gather_limited(last.cut(bargain_id) for _ in range(5))
    assert sorted(reply.status_code for reply in doubles) == [201, 409, 409, 409, 409]
    bargain = await shown(service, bargain_id, last)
    assert (bargain["state"], bargain["price"], [cut["you"] for cut in bargain["cuts"]]) == (
        "won",
        FLOOR,
        [False] * 5 + [True] * 2,
    )
    assert await service.violations() == []


async def test_bargains_end_with_their_sale(service: Service) -> None:
    sale = await bargain_sale(service)
    owner, friend = await service.members(2)
    bargain = await owner.bargain(sale)
    await service.ops("POST", f"sales/{sale.id}/pause")
    for reply in (await friend.cut(bargain["id"]), await owner.buy_at(bargain["id"])):
        assert reply.json()["code"] == "sale_paused"
    assert (await owner.post(f"/v1/sales/{sale.id}/bargains", {"offer_id": sale.offer})).json()[
        "code"
    ] == "sale_paused"
    await service.ops("POST", f"sales/{sale.id}/resume")
    await service.ops("POST", f"sales/{sale.id}/end")
    assert (await friend.cut(bargain["id"])).json()["code"] == "sale_ended"
    await service.tick()
    assert (await shown(service, bargain["id"]))["state"] == "expired"
    assert await service.violations() == []


async def test_what_is_sold_out_leaves_the_price_as_it_is(service: Service) -> None:
    sale = await bargain_sale(service, stock=1)
    first, second, friend = await service.members(3)
    ids = [(await owner.bargain(sale))["id"] for owner in (first, second)]
    await friend.cut(ids[1])
    order = (await first.buy_at(ids[0])).json()["order"]
    assert (await second.buy_at(ids[1])).json()["code"] == "sold_out"
    bargain = await shown(service, ids[1])
    assert (bargain["state"], bargain["taken"]) == ("cutting", 1)
    await first.post(f"/v1/orders/{order['id']}/cancel")
    assert (await second.buy_at(ids[1])).json()["order"]["unit_price"] == bargain["price"]
    assert await service.violations() == []


async def test_a_bargain_sale_has_rules_and_a_start_price(service: Service) -> None:
    good = (await bargain_sale(service)).body
    offer = good["offers"][0]
    for change, field in (
        ({"bargain": None}, "bargain"),
        ({"kind": "flash"}, "bargain"),
        ({"offers": [offer | {"list_price": None}]}, "list_price"),
        ({"offers": [offer | {"list_price": 4904}]}, "list_price"),
    ):
        reply = await service.ops("POST", "sales", good | change)
        assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (422, "invalid_terms", field)
    draft = await bargain_sale(service, publish=False)
    reply = await service.ops("PATCH", f"sales/{draft.id}", {"bargain": {"slots": 7, "daily_helps": 1}})
    assert reply.json()["bargain"] == {
        "slots": 7,
        "daily_helps": 1,
        "weight": 1,
        "new_member_days": 0,
        "new_member_weight": 1,
    }
    await service.ops("POST", f"sales/{draft.id}/publish")
    reply = await service.ops("PATCH", f"sales/{draft.id}", {"bargain": {"slots": 6}})
    assert reply.json()["code"] == "sale_not_editable"
    member = await service.member()
    for reply in (await member.open(draft), await member.buy(draft)):
        assert reply.json()["code"] == "wrong_kind"


async def test_a_bargain_is_watched_as_a_group_is(service: Service) -> None:
    sale = await bargain_sale(service, 3)
    owner, *friends = await service.members(3)
    bargain_id = (await owner.bargain(sale))["id"]
    path = f"/v1/bargains/{bargain_id}/changes"
    first = (await service.http.get(path)).json()
    assert (first["bargain"]["price"], first["changes"], first["final"]) == (START, [], False)
    async with service.http.stream("GET", f"/v1/bargains/{bargain_id}/live") as stream:
        events = Stream(stream)
        assert [event.type for event in await events.take(1)] == ["snapshot"]
        amounts = [(await friend.cut(bargain_id)).json()["amount"] for friend in friends]
        order = (await owner.buy_at(bargain_id)).json()["order"]
        await owner.post(f"/v1/orders/{order['id']}/cancel")
        order = (await owner.buy_at(bargain_id)).json()["order"]
        await owner.pay(order["id"])
        rest = await events.rest()
    assert [event.type for event in rest] == [
        *["bargain.cut"] * 2,
        *("bargain.ordered", "bargain.reopened", "bargain.ordered", "bargain.bought", "end"),
    ]
    assert [event.data["amount"] for event in rest[:2]] == amounts
    assert rest[1].data["price"] == START - sum(amounts) == order["amount"]
    assert rest[-1].data == {"state": "bought"}
    found = (await service.http.get(path, params={"after": first["after"]})).json()
    assert [change["type"] for change in found["changes"]] == [event.type for event in rest[:-1]]
    assert (found["final"], found["bargain"]["state"]) == (True, "bought")
    nothing = await service.http.get(f"/v1/bargains/bgn_{'0' * 32}/changes")
    assert nothing.json()["code"] == "bargain_not_found"
    assert await service.violations() == []
