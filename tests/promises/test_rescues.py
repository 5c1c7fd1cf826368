"""Groups that do not fill in time: everybody gets what they wished for, or their money."""

from typing import Any

import pytest

from tests.promises.test_group_buy import Seated, refunds, states
from tests.service import Member, Sale, Service

RESCUE = {"merge": True, "extend_seconds": 600, "flexible": True}


async def rescue_sale(service: Service, *, solo_price: int | None = 6900, **terms: Any) -> Sale:
    wanted: dict[str, Any] = {"group_size": 3, "rescue": RESCUE} | terms
    sale = await service.sale(publish=False, **wanted)
    if solo_price is not None:
        offer = {"sku_id": sale.body["offers"][0]["sku_id"], "solo_price": solo_price}
        assert (await service.ops("PATCH", f"sales/{sale.id}", {"offers": [offer]})).status_code == 200
    assert (await service.ops("POST", f"sales/{sale.id}/publish")).status_code == 200
    return sale


async def take_seat(
    member: Member, sale: Sale, group_id: str | None, *, pay: bool = True, **wish: Any
) -> dict[str, Any]:
    reply = await (member.join(sale, group_id, **wish) if group_id else member.open(sale, **wish))
    assert reply.status_code == 201, reply.text
    order: dict[str, Any] = reply.json()["order"]
    if pay:
        await member.pay(order["id"])
    return order


async def fill(service: Service, sale: Sale, *wishes: dict[str, Any]) -> tuple[str, Seated]:
    """A group whose members join with these wishes, and pay."""
    seated: Seated = []
    for wish in wishes:
        member = await service.member()
        group_id = seated[0][1]["group_id"] if seated else None
        seated.append((member, await take_seat(member, sale, group_id, **wish)))
    return seated[0][1]["group_id"], seated


async def pass_deadline(service: Service, seconds: float = 3601) -> None:
    service.clock.advance(seconds)
    await service.tick()


async def test_buying_alone_rather_than_not(service: Service) -> None:
    sale = await rescue_sale(service)
    group_id, seated = await fill(service, sale, {"on_unfilled": "solo"}, {})
    assert [order["amount"] for _, order in seated] == [6900, 4900]
    await pass_deadline(service)
    assert await states(seated) == ["confirmed", "refunded"]
    member, order = seated[0]
    now = await member.order(order["id"])
    assert (now["settled_price"], now["refunds"]) == (6900, [])
    alone = await service.group(now["group_id"])
    assert now["group_id"] != group_id
    assert (alone["state"], alone["size"], alone["paid"]) == ("succeeded", 1, 1)
    assert (await service.group(group_id))["state"] == "failed"
    assert await service.violations() == []


async def test_who_would_buy_alone_gets_the_difference_back_when_the_group_fills(service: Service) -> None:
    sale = await rescue_sale(service)
    _, seated = await fill(service, sale, {"on_unfilled": "solo", "quantity": 2}, {}, {})
    await service.tick()
    assert await states(seated) == ["confirmed"] * 3
    assert await refunds(seated) == [[("gap", "succeeded", 4000)], [], []]
    assert await service.violations() == []


async def test_members_move_to_a_group_that_lasts_longer(service: Service) -> None:
    sale = await rescue_sale(service)
    first, early = await fill(service, sale, {"on_unfilled": "merge"}, {"on_unfilled": "merge"})
    service.clock.advance(60)
    second, late = await fill(service, sale, {})
    service.clock.advance(3541)
    await service.tick()
    assert await states([*early, *late]) == ["confirmed"] * 3
    groups = [await service.group(group_id) for group_id in (first, second)]
    assert [group["state"] for group in groups] == ["merged", "succeeded"]
    assert groups[0]["merged_into"] == second
    assert [seat["number"] for seat in groups[1]["members"]] == [1, 2, 3]
    assert [(await member.order(order["id"]))["group_id"] for member, order in early] == [second] * 2
    assert await service.violations() == []


async def test_who_finds_no_room_is_refunded(service: Service) -> None:
    sale = await rescue_sale(service, group_size=4)
    merge = {"on_unfilled": "merge"}
    _, early = await fill(service, sale, merge, merge, merge)
    service.clock.advance(60)
    second, late = await fill(service, sale, {}, {})
    counts = (await service.group(second))["left"]
    service.clock.advance(3541)
    await service.tick()
    assert counts == 2
    assert await states(early) == ["confirmed", "confirmed", "refunded"]
    assert (await service.group(second))["state"] == "succeeded"
    assert await states(late) == ["confirmed"] * 2
    assert await service.violations() == []


async def test_one_moves_once_and_not_beside_oneself(service: Service) -> None:
    sale = await rescue_sale(service)
    merge = {"on_unfilled": "merge"}
    _, early = await fill(service, sale, merge)
    member, order = early[0]
    service.clock.advance(60)
    await take_seat(member, sale, None)
    service.clock.advance(60)
    await fill(service, sale, {})
    service.clock.advance(3481)
    await service.tick()
    moved = await member.order(order["id"])
    assert moved["state"] == "refunded", "the only sibling with one seat taken is the one they sit in"
    assert await service.violations() == []


async def test_a_moved_seat_is_dealt_no_more(service: Service) -> None:
    """The counters of both groups are right at once, and after the worker has compared them."""
    sale = await rescue_sale(service, group_size=4, rescue=RESCUE | {"merge": True})
    _, early = await fill(service, sale, {"on_unfilled": "merge"})
    service.clock.advance(60)
    second, late = await fill(service, sale, {})
    service.clock.advance(3541)
    await service.tick()
    counts = (await service.state.dealer.group_counts(sale.id, [second]))[second]
    assert (counts.held, counts.paid) == (0, 2)
    for _ in range(2):
        member = await service.member()
        late.append((member, await take_seat(member, sale, second)))
    assert await states([*early, *late]) == ["confirmed"] * 4
    assert await service.violations() == []


async def test_a_group_is_given_more_time_once(service: Service) -> None:
    sale = await rescue_sale(service)
    extend = {"on_unfilled": "extend"}
    group_id, seated = await fill(service, sale, {}, extend)
    await pass_deadline(service)
    group = await service.group(group_id)
    assert (group["state"], group["paid"], group["left"]) == ("open", 1, 2)
    assert group["extended_at"] is not None
    assert await states(seated) == ["refunded", "paid"]
    assert group["members"][0]["leader"], "who waits leads"
    for _ in range(2):
        member = await service.member()
        seated.append((member, await take_seat(member, sale, group_id)))
    assert await states(seated[1:]) == ["confirmed"] * 3
    other, waiting = await fill(service, sale, extend)
    await pass_deadline(service)
    assert (await service.group(other))["state"] == "open"
    await pass_deadline(service, 601)
    assert (await service.group(other))["state"] == "failed"
    assert await states(waiting) == ["refunded"]
    assert await service.violations() == []


async def test_spare_units_fill_the_group(service: Service) -> None:
    sale = await rescue_sale(service, stocks=[10], order_limit=3)
    group_id, seated = await fill(service, sale, {"quantity": 3, "min_quantity": 1}, {})
    assert await service.left(sale) == [6]
    await pass_deadline(service)
    group = await service.group(group_id)
    assert (group["state"], group["paid"], group["extra"], group["covered"]) == ("succeeded", 2, 1, 0)
    assert await states(seated) == ["confirmed"] * 2
    member, order = seated[0]
    now = await member.order(order["id"])
    assert (now["quantity"], now["settled_quantity"]) == (3, 2)
    assert await refunds(seated) == [[("gap", "succeeded", 4900)], []]
    assert await service.left(sale) == [7], "what was not needed can be bought again"
    assert await service.violations() == []


async def test_spare_units_go_back_when_the_group_fills_by_itself(service: Service) -> None:
    sale = await rescue_sale(service, stocks=[5], order_limit=3)
    _, seated = await fill(service, sale, {"quantity": 3, "min_quantity": 1}, {})
    last = await service.member()
    assert (await last.join(sale, seated[0][1]["group_id"], quantity=2)).json()["code"] == "sold_out"
    seated.append((last, await take_seat(last, sale, seated[0][1]["group_id"])))
    await service.tick()
    assert await states(seated) == ["confirmed"] * 3
    assert await refunds(seated) == [[("gap", "succeeded", 9800)], [], []]
    assert await service.left(sale) == [2]
    buyer = await service.member()
    assert (await buyer.open(sale, quantity=2)).status_code == 201
    assert await service.violations() == []


async def test_the_merchant_covers_a_seat_and_says_so(service: Service) -> None:
    sale = await rescue_sale(service, group_size=4, rescue={"cover_seats": 1})
    covered, seated = await fill(service, sale, {}, {}, {})
    short, others = await fill(service, sale, {}, {})
    await pass_deadline(service)
    group = await service.group(covered)
    assert (group["state"], group["paid"], group["covered"]) == ("succeeded", 3, 1)
    assert len(group["members"]) == 3, "nobody is invented"
    assert (await service.group(short))["state"] == "failed"
    assert await states([*seated, *others]) == [*["confirmed"] * 3, *["refunded"] * 2]
    assert await service.violations() == []


async def test_a_covered_seat_lowers_no_price(service: Service) -> None:
    sale = await rescue_sale(
        service, group_size=4, min_size=3, ladder=[(4, 3900)], solo_price=None, rescue={"cover_seats": 2}
    )
    _, seated = await fill(service, sale, {}, {})
    await pass_deadline(service)
    assert [(await member.order(order["id"]))["settled_price"] for member, order in seated] == [4900] * 2
    assert await service.violations() == []


async def test_who_has_not_paid_has_no_wish(service: Service) -> None:
    sale = await rescue_sale(service)
    group_id, seated = await fill(service, sale, {"on_unfilled": "extend"})
    idle = await service.member()
    service.clock.advance(3400)
    order = await take_seat(idle, sale, group_id, pay=False, on_unfilled="extend")
    await pass_deadline(service, 201)
    assert (await idle.order(order["id"]))["state"] == "expired"
    assert (await service.group(group_id))["paid"] == 1
    assert await states(seated) == ["paid"]
    assert await service.violations() == []


async def test_money_that_comes_after_a_move_goes_back(service: Service) -> None:
    """Somebody has started two payments; the second is captured when the order is in another group."""
    sale = await rescue_sale(service)
    _, early = await fill(service, sale, {"on_unfilled": "merge"})
    service.clock.advance(60)
    twice = await service.member()
    first = await take_seat(twice, sale, None, pay=False, on_unfilled="merge")
    urls = [await twice.start_payment(first["id"]) for _ in range(2)]
    await service.http.post(urls[0], json={})
    await service.http.post(urls[1], json={"delay_seconds": 4000})
    await service.deliver()
    service.clock.advance(60)
    _, late = await fill(service, sale, {})
    service.clock.advance(3541)
    await service.tick()
    assert await states([*early, (twice, first), *late]) == ["confirmed"] * 3
    service.clock.advance(600)
    await service.tick()
    assert await refunds([(twice, first)]) == [[("duplicate", "succeeded", 4900)]]
    assert await service.violations() == []


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"on_unfilled": "merge"}, "on_unfilled"),
        ({"on_unfilled": "extend"}, "on_unfilled"),
        ({"on_unfilled": "solo"}, "on_unfilled"),
        ({"quantity": 2, "min_quantity": 1}, "min_quantity"),
    ],
)
async def test_a_sale_offers_what_it_says(service: Service, wish: dict[str, Any], field: str) -> None:
    sale = await service.sale()
    member = await service.member()
    reply = await member.open(sale, **wish)
    assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (422, "choice_not_offered", field)
    assert await service.left(sale) == [100]


async def test_a_wish_is_part_of_the_request(service: Service) -> None:
    sale = await rescue_sale(service)
    member = await service.member()
    order = (await member.open(sale, key="k", on_unfilled="solo")).json()["order"]
    assert (order["on_unfilled"], order["unit_price"]) == ("solo", 6900)
    assert (await member.open(sale, key="k", on_unfilled="solo")).json()["order"] == order
    assert (await member.open(sale, key="k")).json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"rescue": {"cover_seats": 3}}, "rescue"),
        ({"kind": "flash", "group_size": 1, "rescue": {"merge": True}}, "rescue"),
    ],
)
async def test_rules_that_cannot_work_are_refused(service: Service, terms: dict[str, Any], field: str) -> None:
    sale = await service.sale(publish=False)
    reply = await service.ops("POST", "sales", sale.body | terms)
    assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (422, "invalid_terms", field)
    offers = [sale.body["offers"][0] | {"solo_price": 4899}]
    reply = await service.ops("POST", "sales", sale.body | {"offers": offers})
    assert (reply.status_code, reply.json()["field"]) == (422, "solo_price")
