"""A draw: nobody is faster than anybody, nobody can know the order before, and everybody can compute it after."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from app.domain.draws import hash_seed
from app.domain.errors import Busy
from app.models import Entry, Event
from app.models import Sale as SaleRow
from app.services import claims, lines
from app.workers import lines as worker
from tests.service import FLASH, Member, Sale, Service, gather_limited

VERIFY = Path(__file__).parents[2] / "docs" / "verify_draw.py"
SCRIPT = VERIFY.read_text()


async def drawn_sale(service: Service, stock: int = 3, **terms: Any) -> Sale:
    """A sale that is drawn in an hour."""
    draws_at = (service.clock() + timedelta(hours=1)).isoformat()
    return await service.sale(stocks=[stock], **FLASH | {"allocation": "draw", "draws_at": draws_at} | terms)


async def enter(member: Member, sale: Sale, **body: Any) -> dict[str, Any]:
    """Enter the draw."""
    reply = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer} | body)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def entry_of(member: Member, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as its member sees it now."""
    reply = await member.get(f"/v1/entries/{entry['id']}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def proof(service: Service, sale: Sale) -> dict[str, Any]:
    reply = await service.http.get(f"/v1/sales/{sale.id}/draw")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def draw(service: Service) -> None:
    """Let the time of the draw come."""
    service.clock.advance(3600)
    await service.tick()


async def crowd(service: Service, sale: Sale, count: int) -> list[tuple[Member, dict[str, Any]]]:
    """So many members, all entered."""
    members = await service.members(count)
    return list(zip(members, await gather_limited(enter(member, sale) for member in members), strict=True))


async def in_order(entered: list[tuple[Member, dict[str, Any]]]) -> list[tuple[Member, dict[str, Any]]]:
    """Members with their entries as they are now, as they were drawn."""
    now = [(member, await entry_of(member, entry)) for member, entry in entered]
    return sorted(now, key=lambda one: one[1]["rank"])


async def test_winners_get_a_hold_and_the_others_a_number(service: Service) -> None:
    sale = await drawn_sale(service, stock=3)
    entered = await crowd(service, sale, 8)
    assert [entry["state"] for _, entry in entered] == ["waiting"] * 8
    assert {entry["position"] for _, entry in entered} == {None}
    await draw(service)
    drawn = await in_order(entered)
    assert [entry["rank"] for _, entry in drawn] == list(range(1, 9))
    assert [entry["state"] for _, entry in drawn] == ["offered"] * 3 + ["waiting"] * 5
    assert [entry["position"] for _, entry in drawn] == [None] * 3 + [1, 2, 3, 4, 5]
    assert set((await proof(service, sale))["winners"]) == {entry["id"] for _, entry in drawn[:3]}
    for member, entry in drawn[:3]:
        order = await member.order(entry["order_id"])
        assert (order["state"], order["quantity"], order["offer_id"]) == ("held", 1, sale.offer)
    assert await service.left(sale) == [0]
    assert await service.violations() == []


async def test_who_does_not_pay_makes_room_for_the_next(service: Service) -> None:
    sale = await drawn_sale(service, stock=2)
    entered = await crowd(service, sale, 4)
    await draw(service)
    (winner, won), (late, lapsing), (third, waiting), (last, _) = await in_order(entered)
    await winner.pay(won["order_id"])
    await service.tick()
    service.clock.advance(301)
    await service.tick()
    states = [await entry_of(member, entry) for member, entry in entered]
    assert sorted(entry["state"] for entry in states) == ["lapsed", "offered", "taken", "waiting"]
    assert (await entry_of(late, lapsing))["state"] == "lapsed"
    now = await entry_of(third, waiting)
    assert (now["state"], now["rank"]) == ("offered", 3)
    await third.pay(now["order_id"])
    await service.ops("POST", f"sales/{sale.id}/end")
    await service.tick()
    assert (await entry_of(third, waiting))["state"] == "taken"
    reply = await last.get(f"/v1/sales/{sale.id}/entries")
    assert [entry["state"] for entry in reply.json()["items"]] == ["lost"]
    assert await service.violations() == []


async def test_a_cancelled_hold_goes_to_the_next_and_not_to_who_is_fast(service: Service) -> None:
    sale = await drawn_sale(service, stock=1)
    entered = await crowd(service, sale, 2)
    passer_by = await service.member()
    await draw(service)
    (winner, won), (reserve, waiting) = await in_order(entered)
    assert (await winner.post(f"/v1/orders/{won['order_id']}/cancel")).status_code == 200
    assert (await passer_by.buy(sale)).json()["code"] == "sold_out", "it is kept for the line"
    await service.tick()
    assert (await entry_of(winner, won))["state"] == "lapsed"
    assert (await entry_of(reserve, waiting))["state"] == "offered"
    assert await service.violations() == []


async def test_nobody_buys_before_the_draw_and_everybody_after_when_some_is_left(service: Service) -> None:
    sale = await drawn_sale(service, stock=3)
    member, other = await service.members(2)
    refused = (await other.buy(sale)).json()
    assert (refused["status"], refused["code"]) == (409, "sale_is_drawn")
    entry = await enter(member, sale)
    service.clock.advance(3600)
    assert (await other.buy(sale)).json()["code"] == "sale_is_drawn"
    late = await other.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer})
    assert late.json()["code"] == "draw_closed"
    await service.tick()
    assert (await entry_of(member, entry))["state"] == "offered"
    await service.tick()
    waits = await other.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer})
    assert (waits.json()["code"], waits.json()["left"]) == ("not_sold_out", 2)
    assert (await other.buy(sale)).status_code == 201
    assert await service.violations() == []


async def test_one_enters_once_and_may_leave(service: Service) -> None:
    sale = await drawn_sale(service, stock=2)
    member = await service.member()
    entries = await gather_limited(enter(member, sale) for _ in range(20))
    assert len({entry["id"] for entry in entries}) == 1
    other_wish = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer, "quantity": 2})
    assert other_wish.json()["code"] == "already_in_line"
    for _ in range(2):
        left = await member.post(f"/v1/entries/{entries[0]['id']}/leave")
        assert (left.status_code, left.json()["state"]) == (200, "left")
    again = await enter(member, sale, quantity=2)
    assert again["id"] != entries[0]["id"]
    await draw(service)
    assert (await entry_of(member, again))["rank"] == 1
    assert (await entry_of(member, entries[0]))["rank"] is None
    assert await service.violations() == []


async def test_the_seed_is_committed_to_and_told_after(service: Service) -> None:
    sale = await drawn_sale(service)
    await crowd(service, sale, 2)
    async with service.state.database.snapshot() as session:
        seed = (await session.get_one(SaleRow, sale.id)).seed
        told = (await session.exec(select(Event).where(col(Event.sale_id) == sale.id))).all()
    assert seed
    shown = (await service.http.get(f"/v1/sales/{sale.id}")).text
    before = await proof(service, sale)
    everything = json.dumps([event.model_dump(mode="json") for event in told]) + shown + json.dumps(before)
    everything += (await service.ops("GET", "sales")).text + (
        await service.ops("PATCH", f"sales/{sale.id}", {})
    ).text
    assert seed not in everything
    assert before["seed_hash"] == json.loads(shown)["seed_hash"] == hash_seed(bytes.fromhex(seed))
    assert (before["seed"], before["entries"], before["winners"]) == (None, [], [])
    await draw(service)
    after = await proof(service, sale)
    assert (after["seed"], after["seed_hash"]) == (seed, before["seed_hash"])
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["seed"] == seed


Change = Callable[[dict[str, Any]], Any]
CHANGES: dict[str, Change] = {
    "weight": lambda found: found["entries"][0].update(weight=2),
    "quantity": lambda found: found["entries"][0].update(quantity=3),
    "an entry less": lambda found: found["entries"].pop(),
    "an entry more": lambda found: found["entries"].append(
        found["entries"][0] | {"id": "ent_" + "0" * 32, "rank": 7}
    ),
    "an entry of somebody else": lambda found: found["entries"][0].update(id="ent_" + "0" * 32),
    "seed": lambda found: found.update(seed="00" * 32),
    "winners": lambda found: found["winners"].reverse() or found["winners"].pop(),
    "ranks": lambda found: found["entries"][0].update(rank=99),
}


async def verify(found: dict[str, Any], *arguments: str) -> tuple[int, str]:
    """What the script in docs says of a draw."""
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, str(VERIFY), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await run.communicate(json.dumps(found).encode())
    return run.returncode or 0, output.decode() + errors.decode()


async def test_the_script_draws_the_same_winners_and_sees_what_was_changed(service: Service) -> None:
    assert len(SCRIPT.splitlines()) <= 20
    sale = await drawn_sale(service, stock=3, order_limit=2)
    members = await service.members(6)
    await gather_limited(enter(member, sale, quantity=1 + number % 2) for number, member in enumerate(members))
    committed = (await proof(service, sale))["seed_hash"]
    await draw(service)
    found = await proof(service, sale)
    code, output = await verify(found, committed)
    assert (code, output.split()) == (0, found["winners"]), output
    for name, change in CHANGES.items():
        changed = json.loads(json.dumps(found))
        change(changed)
        code, output = await verify(changed)
        assert code == 1, name
        assert "NOT AS PUBLISHED" in output, name
    code, output = await verify(found, "0" * 64)
    assert (code, output.strip()) == (1, "NOT AS PUBLISHED: seed"), "another seed than the one committed to"


async def test_a_party_is_served_whole_or_passed_over(service: Service) -> None:
    sale = await drawn_sale(service, stock=4, order_limit=3)
    members = await service.members(4)
    entered = [(member, await enter(member, sale, quantity=3)) for member in members]
    single = await service.member()
    entered.append((single, await enter(single, sale)))
    await draw(service)
    drawn = await in_order(entered)
    threes = [entry["state"] for _, entry in drawn if entry["quantity"] == 3]
    assert threes == ["offered", "waiting", "waiting", "waiting"]
    assert (await entry_of(*entered[-1]))["state"] == "offered", "one fits beside three, whoever is before them"
    assert await service.violations() == []


async def test_who_lost_before_has_more_chances_up_to_the_limit(service: Service) -> None:
    community = (await drawn_sale(service, stock=1)).body["community_id"]
    member, stranger = await service.members(2)
    weights = []
    for _ in range(4):
        sale = await drawn_sale(service, stock=1, community_id=community, max_weight=3)
        weights.append((await enter(member, sale))["weight"])
        others = await crowd(service, sale, 1)
        await draw(service)
        ours = await entry_of(member, (await member.get(f"/v1/sales/{sale.id}/entries")).json()["items"][0])
        for holder, entry in ((member, ours), (others[0][0], await entry_of(*others[0]))):
            if entry["state"] == "offered":
                await holder.pay(entry["order_id"])
        await service.tick()
        await service.ops("POST", f"sales/{sale.id}/end")
        won = ours["state"] == "offered"
        weights.append("won" if won else "lost")
    expected, losses = [], 0
    for number, outcome in enumerate(weights):
        if number % 2 == 0:
            expected.append(min(1 + losses, 3))
        else:
            expected.append(outcome)
            losses = 0 if outcome == "won" else losses + 1
    assert weights == expected
    assert (await enter(stranger, await drawn_sale(service, community_id=community, max_weight=3)))["weight"] == 1
    assert await service.violations() == []


async def test_a_process_that_dies_between_claim_and_mark(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await drawn_sale(service, stock=1)
    entered = await crowd(service, sale, 3)
    with monkeypatch.context() as patch:

        async def die(*_: object) -> bool:
            raise Busy

        patch.setattr(lines, "settle", die)
        patch.setattr(worker, "settle", die)
        await draw(service)
    first = (await in_order(entered))[0]
    assert first[1]["state"] == "called"
    assert await service.left(sale) == [0], "its order was made"
    await service.tick()
    now = await entry_of(*first)
    assert now["state"] == "offered"
    assert len((await first[0].get("/v1/orders")).json()["items"]) == 1
    assert await service.violations() == []


async def test_a_process_that_dies_before_the_claim(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = await drawn_sale(service, stock=1)
    entered = await crowd(service, sale, 2)
    with monkeypatch.context() as patch:

        async def die(*_: object) -> bytes:
            raise Busy

        patch.setattr(claims, "award", die)
        await draw(service)
        first = (await in_order(entered))[0]
        assert first[1]["state"] == "called"
        refused = await first[0].post(f"/v1/entries/{first[1]['id']}/leave")
        assert (refused.json()["code"], refused.json()["state"]) == ("entry_not_waiting", "called")
        assert (await (await service.member()).buy(sale)).json()["code"] == "sold_out"
    await service.tick()
    assert (await entry_of(*first))["state"] == "offered"
    assert await service.violations() == []


async def test_redis_may_be_emptied_at_any_time(service: Service) -> None:
    sale = await drawn_sale(service, stock=1)
    entered = await crowd(service, sale, 2)
    passer_by = await service.member()
    flush: list[Callable[[], Awaitable[Any]]] = [
        lambda: service.state.dealer.pipe.call("FLUSHALL"),
        lambda: service.state.dealer.forget(sale.id),
    ]
    await flush[0]()
    assert (await passer_by.buy(sale)).json()["code"] == "sale_is_drawn"
    await draw(service)
    (winner, won), (reserve, waiting) = await in_order(entered)
    for empty in flush:
        await empty()
        assert (await passer_by.buy(sale)).json()["code"] == "sold_out"
    await winner.post(f"/v1/orders/{won['order_id']}/cancel")
    await flush[0]()
    assert (await passer_by.buy(sale)).json()["code"] == "sold_out", "loaded with its line"
    await service.tick()
    assert (await entry_of(reserve, waiting))["state"] == "offered"
    assert await service.violations() == []


async def test_workers_side_by_side_draw_and_serve_once(service: Service) -> None:
    sale = await drawn_sale(service, stock=5)
    entered = await crowd(service, sale, 12)
    service.clock.advance(3600)
    for _ in range(4):
        await asyncio.gather(*(worker.run_once(service.state, service.clock()) for _ in range(4)))
    drawn = await in_order(entered)
    assert [entry["state"] for _, entry in drawn] == ["offered"] * 5 + ["waiting"] * 7
    async with service.state.database.snapshot() as session:
        told = await session.exec(select(Event.type).where(Event.sale_id == sale.id, Event.type == "sale.drawn"))
        assert len(told.all()) == 1
    assert await service.violations() == []


async def test_a_sale_that_ends_before_its_draw_tells_everybody(service: Service) -> None:
    sale = await drawn_sale(service)
    entered = await crowd(service, sale, 2)
    await service.ops("POST", f"sales/{sale.id}/end")
    await draw(service)
    assert [(await entry_of(*one))["state"] for one in entered] == ["lost", "lost"]
    assert (await proof(service, sale))["seed"] is None
    assert await service.violations() == []


async def test_terms_of_a_draw(service: Service) -> None:
    sale = await drawn_sale(service)
    for terms, field in (
        ({"kind": "group", "group_size": 3}, "allocation"),
        ({"draws_at": None}, "draws_at"),
        ({"allocation": "fastest"}, "draws_at"),
        ({"draws_at": sale.body["opens_at"]}, "draws_at"),
        ({"draws_at": sale.body["closes_at"]}, "draws_at"),
    ):
        reply = await service.ops("POST", "sales", sale.body | terms)
        assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (422, "invalid_terms", field)
    change = await service.ops("PATCH", f"sales/{sale.id}", {"draws_at": sale.body["closes_at"]})
    assert (change.json()["code"], change.json()["field"]) == ("sale_not_editable", "draws_at")
    plain = await service.sale(**FLASH)
    assert (await service.http.get(f"/v1/sales/{plain.id}/draw")).json()["code"] == "draw_not_found"
    other = await service.member()
    assert (
        await (await service.member()).get(f"/v1/entries/{(await enter(other, sale))['id']}")
    ).status_code == 404


async def test_entries_while_it_is_drawn_are_in_it_or_refused(service: Service) -> None:
    """Whoever was told that they entered has a rank."""
    sale = await drawn_sale(service, stock=2)
    members = await service.members(30)
    service.clock.advance(3599.9)

    async def try_to_enter(member: Member) -> str | None:
        reply = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer})
        return reply.json()["id"] if reply.status_code == 201 else None

    async def draw_it() -> None:
        for _ in range(10):
            await worker.run_once(service.state, service.clock())
            await asyncio.sleep(0.02)

    entered, _ = await asyncio.gather(gather_limited(map(try_to_enter, members)), draw_it())
    await service.tick()
    service.clock.advance(1)
    await service.tick()
    async with service.state.database.snapshot() as session:
        rows = (await session.exec(select(Entry).where(Entry.sale_id == sale.id))).all()
    ids = {id_ for id_ in entered if id_}
    assert {row.id for row in rows if row.rank is not None and row.line_id == sale.id} == ids & {
        row.id for row in rows if row.line_id == sale.id
    }
    assert {row.id for row in rows} == ids
    assert await service.violations() == []
