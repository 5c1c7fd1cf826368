"""The entrance of a flash sale: tickets that buy once, a line that only moves on, limits that are counted once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import altcha
import httpx
import pytest

from app.domain.admissions import AdmissionState
from app.gateways.dealer import Keys
from app.models import new_id
from app.schemas.admissions import AdmissionCreate, AdmissionPublic
from app.services import admissions, dealing
from app.services.queues import LOOK_SECONDS, Waiter
from app.services.tickets import Ticket, sign_ticket
from app.state import State, open_state
from tests.http.refusals import check_refusal
from tests.service import FLASH, TICKET_SECONDS, Clock, Member, Sale, Service, gather_limited


async def flash_sale(
    service: Service, stock: int = 5, *, admission: dict[str, Any] | None = None, **terms: Any
) -> Sale:
    return await service.sale(stocks=[stock], **FLASH | {"admission": admission or {}} | terms)


async def flush_line(service: Service, sale: Sale) -> None:
    """Have Redis forget the sale, as after an accident."""
    pipe = service.state.dealer.pipe
    names = await pipe.call("KEYS", Keys(sale.id).terms.replace("terms", "*").replace("[", "\\["))
    await pipe.call("UNLINK", *names)


def is_waiting(reply: httpx.Response) -> bool:
    return bool(reply.json()["state"] == "waiting")


async def test_one_enters_gets_a_ticket_and_buys_with_it(service: Service) -> None:
    sale = await flash_sale(service)
    member = await service.member()
    entered = await member.enter(sale)
    assert entered.status_code == 200, entered.text
    admission = AdmissionPublic.model_validate_json(entered.text)
    assert (admission.state, admission.position, admission.left) == (AdmissionState.ADMITTED, 0, 5)
    assert admission.ticket_expires_at is not None
    lasts = (admission.ticket_expires_at - service.clock()).total_seconds()
    assert 118 < lasts <= 120
    assert "retry-after" not in entered.headers
    bought = await member.buy(sale, ticket=admission.ticket)
    assert bought.status_code == 201, bought.text
    await member.pay(bought.json()["order"]["id"])
    assert (await member.order(bought.json()["order"]["id"]))["state"] == "confirmed"
    assert await service.violations() == []


async def test_a_call_without_a_good_ticket_touches_nothing(service: Service) -> None:
    sale, other = await flash_sale(service, member_limit=5), await flash_sale(service)
    member, friend = await service.members(2)
    used = member.ticket(sale)
    assert (await member.buy(sale, ticket=used)).status_code == 201
    good = member.ticket(sale)
    content, _, signature = good.rpartition(".")
    forged = sign_ticket(
        service.state, member.id, sale.id, Ticket(new_id("tkt"), int(service.clock().timestamp()) - 1)
    )
    pipe = service.state.dealer.pipe
    kept = [await pipe.call("HGETALL", name) for name in (Keys(sale.id).claims, Keys(sale.id).tickets)]
    refused = {
        None: "ticket_missing",
        "text": "ticket_invalid",
        ".." * 50: "ticket_invalid",
        f"{content}.{signature[::-1]}": "ticket_invalid",
        member.token: "ticket_invalid",
        friend.ticket(sale): "ticket_mismatch",
        member.ticket(other): "ticket_mismatch",
        forged: "ticket_expired",
        used: "ticket_used",
    }
    for ticket, code in refused.items():
        reply = await member.buy(sale, ticket=ticket)
        assert reply.status_code == 403, reply.text
        check_refusal(reply, code)
    assert await service.left(sale) == [4]
    assert kept == [await pipe.call("HGETALL", name) for name in (Keys(sale.id).claims, Keys(sale.id).tickets)]
    assert (await member.buy(sale, ticket=good)).status_code == 201
    assert await service.violations() == []


async def test_the_same_request_gets_its_answer_whatever_became_of_its_ticket(service: Service) -> None:
    sale = await flash_sale(service)
    member = await service.member()
    ticket = member.ticket(sale)
    first = await member.buy(sale, ticket=ticket, key="once")
    assert first.status_code == 201
    for other in (ticket, member.ticket(sale), None, "text"):
        again = await member.buy(sale, ticket=other, key="once")
        assert (again.status_code, again.text) == (201, first.text)
    service.clock.advance(TICKET_SECONDS + 1)
    assert (await member.buy(sale, ticket=ticket, key="once")).text == first.text
    check_refusal(await member.buy(sale, ticket=ticket, key="another"), "ticket_expired")
    await flush_line(service, sale)
    assert (await member.buy(sale, ticket=ticket, key="once")).text == first.text


async def test_a_refusal_does_not_use_a_ticket_up(service: Service) -> None:
    sale = await flash_sale(service, stock=1, member_limit=2)
    first, second = await service.members(2)
    order = (await first.buy(sale)).json()["order"]
    ticket = second.ticket(sale)
    check_refusal(await second.buy(sale, ticket=ticket), "sold_out")
    await first.post(f"/v1/orders/{order['id']}/cancel")
    assert (await second.buy(sale, ticket=ticket)).status_code == 201
    assert await service.violations() == []


async def test_a_ticket_buys_once_however_often_it_is_sent_at_once(service: Service) -> None:
    sale = await flash_sale(service, stock=50, member_limit=50)
    member = await service.member()
    ticket = member.ticket(sale)
    replies = await gather_limited(member.buy(sale, ticket=ticket) for _ in range(40))
    assert sorted(reply.status_code for reply in replies) == [201] + [403] * 39
    assert {reply.json()["code"] for reply in replies if reply.status_code == 403} == {"ticket_used"}
    assert await service.left(sale) == [49]
    assert await service.violations() == []


async def test_the_rows_know_a_used_ticket_when_redis_has_forgotten_it(service: Service) -> None:
    sale = await flash_sale(service, member_limit=5)
    member = await service.member()
    ticket = member.ticket(sale)
    assert (await member.buy(sale, ticket=ticket)).status_code == 201
    for _ in range(2):
        await flush_line(service, sale)
        check_refusal(await member.buy(sale, ticket=ticket), "ticket_used")
        assert await service.left(sale) == [4]
    assert (await member.buy(sale)).status_code == 201
    assert await service.violations() == []


async def test_people_are_let_in_at_the_rate_of_the_sale(service: Service) -> None:
    sale = await flash_sale(service, admission={"admit_per_second": 1})
    members = await service.members(30)
    entered = [(await member.enter(sale)).json() for member in members]
    waiting = [admission for admission in entered if admission["state"] == "waiting"]
    assert waiting
    assert [admission["position"] for admission in waiting] == sorted(
        admission["position"] for admission in waiting
    )
    assert all(
        admission["expected_wait_seconds"] >= 1 and admission["ask_again_seconds"] >= 1 for admission in waiting
    )
    assert all(admission["ticket"] is None for admission in waiting)
    again = (await members[-1].enter(sale)).json()
    assert again["position"] <= entered[-1]["position"]
    service.clock.advance(30)
    states = [(await member.stand(sale)).json() for member in members]
    assert [admission["state"] for admission in states] == ["admitted"] * 30
    assert (await members[-1].buy(sale, ticket=states[-1]["ticket"])).status_code == 201


async def test_nobody_is_let_in_before_it_opens(service: Service) -> None:
    opens_at = service.clock() + timedelta(seconds=60)
    sale = await flash_sale(service, admission={"admit_per_second": 1}, opens_at=opens_at.isoformat())
    members = await service.members(30)
    for position, member in enumerate(members):
        admission = await member.enter(sale)
        assert is_waiting(admission)
        assert admission.json()["position"] == position
        assert datetime.fromisoformat(admission.json()["opens_at"]) == opens_at
        assert position < admission.json()["expected_wait_seconds"] <= 62 + position
        assert 1 <= int(admission.headers["retry-after"]) <= 10
    check_refusal(await members[0].buy(sale), "sale_not_open")
    service.clock.advance(61)
    assert (await members[0].stand(sale)).json()["state"] == "admitted"
    assert is_waiting(await members[-1].stand(sale))
    service.clock.advance(30)
    assert (await members[-1].stand(sale)).json()["state"] == "admitted"


async def test_a_paused_sale_lets_nobody_in(service: Service) -> None:
    sale = await flash_sale(service, admission={"admit_per_second": 1})
    members = await line_up(service, sale)
    await service.ops("POST", f"sales/{sale.id}/pause")
    before = [(await member.stand(sale)).json() for member in members]
    assert {admission["state"] for admission in before} == {"waiting"}
    service.clock.advance(60)
    after = [(await member.stand(sale)).json() for member in members]
    assert [admission["position"] for admission in after] == [admission["position"] for admission in before]
    await service.ops("POST", f"sales/{sale.id}/resume")
    assert is_waiting(await members[-1].stand(sale))
    service.clock.advance(60)
    assert (await members[-1].stand(sale)).json()["state"] == "admitted"


async def test_a_member_has_one_ticket_at_a_time(service: Service) -> None:
    sale = await flash_sale(service, member_limit=3, admission={"ticket_seconds": 30})
    member = await service.member()
    tickets = [(await member.enter(sale)).json()["ticket"] for _ in range(3)]
    tickets += [reply.json()["ticket"] for reply in await gather_limited(member.stand(sale) for _ in range(20))]
    assert len(set(tickets)) == 1
    check_refusal(await member.buy(sale, ticket=tickets[0], quantity=9), "order_limit")
    assert (await member.stand(sale)).json()["ticket"] == tickets[0]
    assert (await member.buy(sale, ticket=tickets[0])).status_code == 201
    second = (await member.stand(sale)).json()["ticket"]
    assert second != tickets[0]
    service.clock.advance(15)
    assert (await member.stand(sale)).json()["ticket"] == second
    service.clock.advance(16)
    third = (await member.stand(sale)).json()["ticket"]
    assert third != second
    check_refusal(await member.buy(sale, ticket=second), "ticket_expired")
    assert (await member.buy(sale, ticket=third)).status_code == 201


async def test_gone_and_held_are_told_as_they_are(service: Service) -> None:
    sale = await flash_sale(service, stock=2)
    first, second, late = await service.members(3)
    orders = [(await member.buy(sale)).json()["order"]["id"] for member in (first, second)]
    gone = await late.enter(sale)
    admission = gone.json()
    assert (admission["state"], admission["left"], admission["held"], admission["ticket"]) == ("gone", 0, 2, None)
    assert gone.headers["retry-after"] == str(admission["ask_again_seconds"])
    await first.post(f"/v1/orders/{orders[0]}/cancel")
    assert (await late.stand(sale)).json()["state"] == "admitted"
    assert (await late.buy(sale)).status_code == 201


async def test_all_is_paid_and_nothing_will_come_back(service: Service) -> None:
    sale = await flash_sale(service, stock=1)
    first, late = await service.members(2)
    await first.pay((await first.buy(sale)).json()["order"]["id"])
    admission = await late.enter(sale)
    assert (admission.json()["state"], admission.json()["held"], admission.json()["ask_again_seconds"]) == (
        "gone",
        0,
        None,
    )
    assert "retry-after" not in admission.headers


async def test_a_sale_that_is_over_is_closed_to_all(service: Service) -> None:
    sale = await flash_sale(service, closes_at=(service.clock() + timedelta(seconds=60)).isoformat())
    member, late = await service.members(2)
    await member.enter(sale)
    service.clock.advance(61)
    assert [(await one.enter(sale)).json()["state"] for one in (member, late)] == ["closed", "closed"]
    await service.tick()
    assert [(await one.stand(sale)).json()["state"] for one in (member, late)] == ["closed", "closed"]


async def test_who_is_not_in_line_is_told_so(service: Service) -> None:
    flash, group, member = await flash_sale(service), await service.sale(), await service.member()
    check_refusal(await member.stand(flash), "not_in_line")
    check_refusal(await member.stand(group), "wrong_kind")
    check_refusal(await member.enter(group), "wrong_kind")
    nowhere = Sale(f"sal_{'0' * 32}", [], {})
    check_refusal(await member.enter(nowhere), "sale_not_found")


async def line_up(service: Service, sale: Sale, count: int = 40) -> list[Member]:
    """So many members in line, in order: with one let in each second the last ones wait for longer than a test."""
    members = await service.members(count)
    for member in members:
        assert (await member.enter(sale)).status_code == 200
    return members


async def waits(member: Member, sale: Sale) -> asyncio.Task[httpx.Response]:
    """A member on the line, seen to wait there."""
    lines = member.service.state.queues
    before = len(lines[sale.id]._turns) if sale.id in lines else 0
    waiting = asyncio.create_task(member.stand(sale, wait=30))
    while sale.id not in lines or len(lines[sale.id]._turns) <= before:
        assert not waiting.done(), waiting.result().text
        await asyncio.sleep(0.01)
    return waiting


async def test_who_waits_is_told_when_the_turn_comes_and_nobody_else(service: Service) -> None:
    sale = await flash_sale(service, admission={"admit_per_second": 1})
    members = await line_up(service, sale)
    near, far = await waits(members[19], sale), await waits(members[-1], sale)
    service.clock.advance(20)
    admission = (await near).json()
    assert (admission["state"], bool(admission["ticket"])) == ("admitted", True)
    assert not far.done()
    service.clock.advance(20)
    assert (await far).json()["state"] == "admitted"


async def test_gone_reaches_all_who_wait_when_the_last_unit_is_sold(service: Service) -> None:
    sale = await flash_sale(service, stock=2, admission={"admit_per_second": 1})
    members = await line_up(service, sale)
    waiting = [await waits(member, sale) for member in members[30:]]
    buyers = await service.members(2)
    assert [(await buyer.buy(sale)).status_code for buyer in buyers] == [201, 201]
    told = [reply.json() for reply in await asyncio.gather(*waiting)]
    assert {(admission["state"], admission["left"], admission["held"]) for admission in told} == {("gone", 0, 2)}


async def test_the_end_reaches_all_who_wait(service: Service) -> None:
    sale = await flash_sale(service, admission={"admit_per_second": 1})
    members = await line_up(service, sale)
    waiting = await waits(members[-1], sale)
    await service.ops("POST", f"sales/{sale.id}/end")
    assert (await waiting).json()["state"] == "closed"


async def test_a_wait_that_ends_tells_how_far_one_has_come(service: Service) -> None:
    sale = await flash_sale(service, admission={"admit_per_second": 1})
    members = await line_up(service, sale)
    before = (await members[-1].stand(sale)).json()
    admission = (await members[-1].stand(sale, wait=2 * LOOK_SECONDS)).json()
    assert admission["state"] == "waiting"
    assert admission["position"] <= before["position"]


async def test_who_leaves_is_not_waited_for(service: Service) -> None:
    sale = await flash_sale(service, admission={"admit_per_second": 1})
    members = await line_up(service, sale)
    line = service.state.queues
    leaving = [await waits(member, sale) for member in members[30:]]
    for one in leaving:
        one.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    while line[sale.id]._task is not None:
        await asyncio.sleep(0.05)
    assert line[sale.id]._turns == []
    assert service.state.live.connections == 0


async def test_members_are_counted_once_by_device_and_address(service: Service) -> None:
    sale = await flash_sale(service, admission={"per_device": 2, "per_address": 4})
    members = await service.members(6)
    check_refusal(await members[0].enter(sale), "device_missing")
    for member in (members[0], members[1], members[0], members[1]):
        assert (await member.enter(sale, device="one")).status_code == 200
    refused = check_refusal(await members[2].enter(sale, device="one"), "device_limit")
    assert refused["limit"] == 2
    check_refusal(await members[2].stand(sale), "not_in_line")
    for member in members[2:4]:
        assert (await member.enter(sale, device=member.id)).status_code == 200
    assert check_refusal(await members[4].enter(sale, device="two"), "address_limit")["limit"] == 4
    assert (await members[0].enter(sale, device="other")).status_code == 200, "who is in line is in line"
    elsewhere = members[4].headers | {"x-forwarded-for": "2001:db8::1"}
    path, body = f"/v1/sales/{sale.id}/admission", {"device": "two"}
    assert (await service.http.post(path, json=body, headers=elsewhere)).status_code == 200


async def test_one_network_of_ipv6_is_one_address(service: Service) -> None:
    sale = await flash_sale(service, admission={"per_address": 1})
    codes = []
    for number, address in enumerate(
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:10.0.0.1", "10.0.0.1")
    ):
        member = await service.member(f"m{number}")
        headers = member.headers | {"x-forwarded-for": address}
        codes.append(
            (await service.http.post(f"/v1/sales/{sale.id}/admission", json={}, headers=headers)).status_code
        )
    assert codes == [200, 403, 200, 200, 403]


def solve(challenge: dict[str, Any]) -> str:
    """What an ALTCHA widget does."""
    asked = altcha.Challenge.from_dict(challenge)
    solution = altcha.solve_challenge(asked)
    assert solution is not None
    return altcha.Payload(asked, solution).to_base64()


async def test_a_proof_of_work_lets_one_in_once(service: Service) -> None:
    sale, plain = await flash_sale(service, admission={"proof_of_work": 50}), await flash_sale(service)
    member, friend = await service.members(2)
    path = f"/v1/sales/{sale.id}/admission/challenge"
    check_refusal(await member.get(f"/v1/sales/{plain.id}/admission/challenge"), "proof_not_wanted")
    check_refusal(await member.enter(sale), "proof_missing")
    challenge = (await member.get(path)).json()
    proof = solve(challenge)
    check_refusal(await friend.enter(sale, proof=proof), "proof_invalid")
    wrong = altcha.Payload.from_base64(proof)
    wrong.solution.counter += 1
    easier = altcha.Payload.from_base64(proof)
    easier.challenge.parameters.key_prefix = ""
    for forged in (wrong.to_base64(), easier.to_base64(), "text", "e30="):
        check_refusal(await member.enter(sale, proof=forged), "proof_invalid")
    check_refusal(await member.stand(sale), "not_in_line")
    for again in (proof, proof, None):
        assert (await member.enter(sale, **{"proof": again} if again else {})).status_code == 200
    late = solve((await friend.get(path)).json())
    service.clock.advance(301)
    check_refusal(await friend.enter(sale, proof=late), "proof_invalid")


async def test_a_proof_that_was_used_is_worth_nothing(service: Service) -> None:
    """Its member has lost their number, and Redis remembers the proof."""
    sale = await flash_sale(service, admission={"proof_of_work": 5})
    member = await service.member()
    proof = solve((await member.get(f"/v1/sales/{sale.id}/admission/challenge")).json())
    assert (await member.enter(sale, proof=proof)).status_code == 200
    await service.state.dealer.pipe.call("UNLINK", Keys(sale.id).line)
    check_refusal(await member.enter(sale, proof=proof), "proof_used")


async def test_a_flush_loses_the_order_of_the_line_and_nothing_else(service: Service) -> None:
    sale = await flash_sale(service, stock=3, member_limit=1, admission={"admit_per_second": 1})
    members = await service.members(6)
    tickets = []
    for member in members:
        await member.enter(sale)
        service.clock.advance(1)
        tickets.append((await member.stand(sale)).json()["ticket"])
    assert all(tickets[:5])
    assert (await members[0].buy(sale, ticket=tickets[0])).status_code == 201
    late = await line_up(service, sale)
    waiting = await waits(late[-1], sale)
    await flush_line(service, sale)
    check_refusal(await waiting, "not_in_line")
    check_refusal(await members[3].stand(sale), "not_in_line")
    check_refusal(await members[0].buy(sale, ticket=tickets[0]), "ticket_used", "member_limit")
    bought = [
        await member.buy(sale, ticket=ticket) for member, ticket in zip(members[1:3], tickets[1:3], strict=True)
    ]
    assert [reply.status_code for reply in bought] == [201, 201]
    assert (await members[3].enter(sale)).json()["state"] == "gone"
    assert await service.left(sale) == [0]
    assert await service.violations() == []


@dataclass(slots=True)
class Desk:
    """One process, as its members reach it."""

    state: State
    clock: Clock

    async def enter(self, member: Member, sale: Sale) -> AdmissionPublic:
        return await admissions.enter(self.state, member.id, sale.id, AdmissionCreate(), "127.0.0.1")

    async def stand(self, member: Member, sale: Sale, wait: float = 0) -> AdmissionPublic:
        return await admissions.look(self.state, member.id, sale.id, Waiter(), wait)


@asynccontextmanager
async def another_process(service: Service) -> AsyncIterator[Desk]:
    clock = Clock(service.clock.offset_seconds)
    async with open_state(service.state.settings, clock) as state:
        yield Desk(state, clock)


async def test_two_processes_have_one_line(service: Service) -> None:
    sale = await flash_sale(service, stock=1, admission={"admit_per_second": 1})
    members = await service.members(40)
    here = Desk(service.state, service.clock)
    async with another_process(service) as there:
        entered = await gather_limited(
            (here, there)[number % 2].enter(member, sale) for number, member in enumerate(members)
        )
        positions = sorted(
            admission.position or 0 for admission in entered if admission.state == AdmissionState.WAITING
        )
        assert len(set(positions)) == len(positions)
        for member in members[:4]:
            assert (await here.enter(member, sale)).position == (await there.enter(member, sale)).position
        last = max(zip(entered, members, strict=True), key=lambda one: one[0].position or 0)[1]
        waiting = asyncio.create_task(there.stand(last, sale, 20))
        await asyncio.sleep(LOOK_SECONDS)
        assert (await members[0].buy(sale)).status_code == 201
        assert (await waiting).state == AdmissionState.GONE
    assert await service.violations() == []


async def test_a_position_never_moves_back(service: Service) -> None:
    """Also when many come at once, and the clock of one process runs ahead and then behind."""
    sale = await flash_sale(service, stock=100, admission={"admit_per_second": 1})
    members = await service.members(40)
    here = Desk(service.state, service.clock)

    async def follow(number: int, member: Member) -> list[int]:
        seen = []
        for turn in range(number, number + 10):
            desk = (here, there)[turn % 2]
            admission = await (desk.enter(member, sale) if turn % 3 else desk.stand(member, sale, 0.01))
            assert admission.position is not None
            seen.append(admission.position)
        return seen

    async with another_process(service) as there:
        positions: list[list[int]] = [[(await here.enter(member, sale)).position or 0] for member in members]
        for skew in (0.0, 2.5, -4.0, 1.0, -60.0):
            there.clock.offset_seconds = service.clock.offset_seconds + skew
            told = await gather_limited(follow(number, member) for number, member in enumerate(members))
            positions = [before + seen for before, seen in zip(positions, told, strict=True)]
            service.clock.advance(0.7)
    assert all(one == sorted(one, reverse=True) for one in positions)
    assert positions[-1][0] > positions[-1][-1] > 0, "it moves, and not at a leap"


async def test_everybody_is_served_to_the_last_unit(service: Service) -> None:
    """A small rush: members stand in line, wait, buy with their ticket; the rest learn that all is gone."""
    sale = await flash_sale(service, stock=10, member_limit=1, admission={"admit_per_second": 200})
    members = await service.members(40)

    async def play(member: Member) -> str:
        admission = (await member.enter(sale)).json()
        while admission["state"] == "waiting":
            before = admission["position"]
            admission = (await member.stand(sale, wait=20)).json()
            assert admission["position"] is None or admission["position"] <= before
        if admission["state"] == "admitted":
            reply = await member.buy(sale, ticket=admission["ticket"])
            return "bought" if reply.status_code == 201 else str(reply.json()["code"])
        return str(admission["state"])

    outcomes = await gather_limited(play(member) for member in members)
    assert outcomes.count("bought") == 10
    assert set(outcomes) <= {"bought", "gone", "sold_out"}
    assert await service.left(sale) == [0]
    assert await service.violations() == []


async def test_entering_is_limited_as_claims_are(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.limiting import Limiter  # noqa: PLC0415

    sale = await flash_sale(service, admission={"proof_of_work": 5})
    member = await service.member()
    monkeypatch.setattr(service.state, "member_claims", Limiter(0.001, burst=2))
    check_refusal(await member.enter(sale), "proof_missing")
    assert (await member.get(f"/v1/sales/{sale.id}/admission/challenge")).status_code == 200
    check_refusal(await member.enter(sale), "rate_limited")
    check_refusal(await member.get(f"/v1/sales/{sale.id}/admission/challenge"), "rate_limited")


async def test_the_rules_of_entry_are_kept_once_published(service: Service) -> None:
    draft = await flash_sale(service, admission={"admit_per_second": 5}, publish=False)
    changed = await service.ops("PATCH", f"sales/{draft.id}", {"admission": {"per_device": 2}})
    shown = changed.json()["admission"]
    assert (shown["admit_per_second"], shown["per_device"], shown["ticket_seconds"]) == (None, 2, 120)
    await service.ops("POST", f"sales/{draft.id}/publish")
    refused = await service.ops("PATCH", f"sales/{draft.id}", {"admission": {}})
    assert (refused.status_code, refused.json()["field"]) == (409, "admission")
    assert (await service.http.get(f"/v1/sales/{draft.id}")).json()["admission"] == shown
    for terms in ({"kind": "group", "group_size": 2}, {"kind": "bargain", "bargain": {"slots": 2}}):
        wrong = await service.ops("POST", "sales", draft.body | terms)
        assert (wrong.status_code, wrong.json()["field"]) == (422, "admission")
    for admission in ({"admit_per_second": 0}, {"ticket_seconds": 4}, {"other": 1}):
        assert (await service.ops("POST", "sales", draft.body | {"admission": admission})).status_code == 422


async def test_a_ticket_buys_while_redis_is_away(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.domain.errors import DealerUnavailable  # noqa: PLC0415

    sale = await flash_sale(service, member_limit=5)
    member = await service.member()
    first, second = member.ticket(sale), member.ticket(sale)
    assert (await member.buy(sale, ticket=first)).status_code == 201

    async def away(*_: Any, **__: Any) -> Any:
        raise DealerUnavailable

    with monkeypatch.context() as patch:
        for name in ("deal", "enter", "is_known", "check_left"):
            patch.setattr(service.state.dealer, name, away)
        key = uuid4().hex
        bought = await member.buy(sale, ticket=second, key=key)
        assert bought.status_code == 201, bought.text
        assert (await member.buy(sale, ticket=second, key=key)).text == bought.text
        for ticket in (first, second):
            check_refusal(await member.buy(sale, ticket=ticket), "ticket_used")
        check_refusal_away = await member.enter(sale)
        assert (check_refusal_away.status_code, check_refusal_away.json()["code"]) == (503, "dealer_unavailable")
    await dealing.reload(service.state, sale.id)
    check_refusal(await member.buy(sale, ticket=second), "ticket_used")
    assert await service.left(sale) == [3]
    assert await service.violations() == []
