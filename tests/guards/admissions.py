"""Guards of the entrance: tickets, the line, what is counted of those who come, proofs of work."""

from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import altcha
import httpx
import jwt
import pytest

from app.domain.admissions import AdmissionRules
from app.domain.errors import (
    InvalidTerms,
    NotInLine,
    ProofInvalid,
    TicketExpired,
    TicketInvalid,
    TicketMismatch,
    TicketMissing,
)
from app.domain.sales import SaleKind, SaleState, SaleTerms, check_terms
from app.gateways.dealer import Keys
from app.services import proofs, tickets
from app.services.tickets import Ticket
from tests.guards.claims import script
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import FLASH, Member, Sale

ADMISSIONS, TICKETS, PROOFS = (f"app.services.{name}" for name in ("admissions", "tickets", "proofs"))
CLAIMS = "app.services.claims"
READ = f"{TICKETS}.read_ticket"
USED = script("user and user ~= request")
(SPENT,) = cuts(f"{CLAIMS}._try", "want.ticket is not None and await is_spent(state, asked, want.ticket)")


def entering(condition: str, instead: str) -> Cut:
    """A condition of the script that keeps the line."""
    return Cut("enter.lua", condition, instead)


async def flash(world: World, *, stock: int = 9, admission: dict[str, Any] | None = None, **terms: Any) -> Sale:
    return await world.service.sale(
        stocks=[stock], **FLASH | {"member_limit": 9, "admission": admission or {}} | terms
    )


async def code(answer: Awaitable[httpx.Response]) -> str:
    return str((await answer).json().get("code"))


async def state(member: Member, sale: Sale) -> str:
    return str((await member.stand(sale)).json().get("state"))


@notices(
    *cuts("app.domain.sales.check_terms", "terms.admission != AdmissionRules() and terms.kind != SaleKind.FLASH")
)
async def only_a_flash_sale_has_an_entrance(world: World) -> None:
    now = world.service.clock()
    terms = SaleTerms(SaleKind.GROUP, SaleState.DRAFT, now, now + timedelta(hours=1), 2, 60, 60, 1, 1)
    check_terms(terms)
    with pytest.raises(InvalidTerms):
        check_terms(replace(terms, admission=AdmissionRules(per_address=1)))


@notices(
    *cuts(
        READ,
        "not (meant_for_us and isinstance(expires_at, int) and isinstance(ticket_id, str))",
        "owner != (member_id, sale_id)",
        "expires_at <= state.clock().timestamp()",
    ),
    Cut(READ, "if ticket is None:\n        raise TicketMissing", "ticket = ticket or ''"),
    Cut(READ, "claims['aud'] == AUDIENCE", "True"),
    Cut(READ, "claims['iss'] == ISSUER", "True"),
    Cut(READ, "isinstance(expires_at, int)", "True"),
    Cut(READ, "isinstance(ticket_id, str)", "True"),
    Cut(READ, "state.settings.key_for(PURPOSE)", "state.settings.key_for('access token')"),
)
async def only_our_own_tickets_are_believed_for_whom_they_are(world: World) -> None:
    now, key = int(world.service.clock().timestamp()), world.state.settings.key_for("admission ticket")
    me, sale = world.me.id, world.sale.id
    good = {"sub": me, "sale": sale, "jti": "tkt", "exp": now + 60, "aud": "kaituan-admission", "iss": "kaituan"}

    def read(claims: dict[str, Any], key: bytes = key) -> str:
        return tickets.read_ticket(world.state, jwt.encode(claims, key, "HS256"), me, sale)

    assert read(good) == "tkt"
    assert tickets.sign_ticket(world.state, me, sale, Ticket("tkt", now + 60)) == jwt.encode(good, key, "HS256")
    wrong = [good | {"aud": "kaituan-members"}, good | {"exp": float(now + 60)}, good | {"jti": 7}]
    wrong += [{name: value for name, value in good.items() if name != left} for left in good]
    for claims in wrong:
        with pytest.raises(TicketInvalid):
            read(claims)
    with pytest.raises(TicketInvalid):
        read(good | {"iss": "others"})  # PyJWT wants a text
    with pytest.raises(TicketInvalid):
        read(good, world.state.settings.key_for("access token"))
    for other in ({"sub": world.friend.id}, {"sale": "sal"}):
        with pytest.raises(TicketMismatch):
            read(good | other)
    with pytest.raises(TicketExpired):
        read(good | {"exp": now})
    with pytest.raises(TicketMissing):
        tickets.read_ticket(world.state, None, me, sale)


@notices(*cuts(f"{CLAIMS}._claim", "wish.kind == SaleKind.FLASH"))
async def a_flash_sale_is_bought_in_with_a_ticket(world: World) -> None:
    sale = await flash(world)
    assert await code(world.me.buy(sale, ticket=None)) == "ticket_missing"
    assert (await world.me.buy(sale)).status_code == 201


@notices(replace(USED, down=(SPENT,)))
async def a_ticket_is_used_by_one_request(world: World) -> None:
    sale = await flash(world)
    ticket, key = world.me.ticket(sale), uuid4().hex
    first = await world.me.buy(sale, ticket=ticket, key=key)
    assert first.status_code == 201
    assert await code(world.me.buy(sale, ticket=ticket)) == "ticket_used"
    assert (await world.me.buy(sale, ticket=ticket, key=key)).text == first.text


@notices(SPENT)
async def a_ticket_that_redis_has_forgotten_is_used_all_the_same(world: World) -> None:
    sale = await flash(world)
    ticket = world.me.ticket(sale)
    assert (await world.me.buy(sale, ticket=ticket)).status_code == 201
    await world.state.dealer.pipe.call("UNLINK", Keys(sale.id).tickets)
    assert await code(world.me.buy(sale, ticket=ticket)) == "ticket_used"


@notices(Cut(f"{CLAIMS}._ticket", "await state.dealer.is_known(asked.sale_id, asked.member_id)", "False"))
async def an_answer_outlives_its_ticket(world: World) -> None:
    sale = await flash(world)
    key = uuid4().hex
    first = await world.me.buy(sale, key=key)
    await world.service.tick()
    assert (await world.me.buy(sale, key=key, ticket=None)).text == first.text


@notices(*cuts(f"{ADMISSIONS}._shown", "stand.number == 0 and found != AdmissionState.CLOSED"))
async def who_is_not_in_line_has_no_position(world: World) -> None:
    assert await code(world.me.stand(await flash(world))) == NotInLine.code


@notices(
    entering("number > 0 and number <= admitted", "number > 0"),
    entering("moved = rate and math.min(came, admitted + rate * (now - at) / 1000) or came", "moved = came"),
    entering("now = math.max(now, at)", "now = now"),
)
async def people_are_let_in_by_and_by_and_nobody_before_it_opens(world: World) -> None:
    clock = world.service.clock
    opens_at = (clock() + timedelta(seconds=60)).isoformat()
    early = await flash(world, admission={"admit_per_second": 1000}, opens_at=opens_at)
    slow = await flash(
        world, admission={"admit_per_second": 1}, opens_at=(clock() - timedelta(hours=1)).isoformat()
    )
    people = await world.service.members(12)
    for member in people:
        await member.enter(slow)
        assert (await member.enter(early)).json()["state"] == "waiting"
    await world.state.dealer.pipe.call("HSET", Keys(slow.id).line, "#admitted", 2, "#at", _ms(clock()))
    assert [await state(member, slow) for member in people[:2]] == ["admitted"] * 2
    assert await state(people[-1], slow) == "waiting"
    at = (await people[-1].stand(slow)).json()["position"]
    clock.advance(-30)
    assert (await people[-1].stand(slow)).json()["position"] == at


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


@notices(
    entering("if phase == 'selling' then", "if true then"),
    entering("number <= admitted and phase == 'selling'", "number <= admitted"),
)
async def a_paused_sale_lets_nobody_in(world: World) -> None:
    sale = await flash(world, admission={"admit_per_second": 5})
    first, second = await world.service.members(2)
    await first.enter(sale)
    world.service.clock.advance(1)
    assert await state(first, sale) == "admitted"
    await world.service.ops("POST", f"sales/{sale.id}/pause")
    await second.enter(sale)
    world.service.clock.advance(9)
    assert [await state(member, sale) for member in (first, second)] == ["waiting"] * 2
    line = await world.state.dealer.pipe.call("HGET", Keys(sale.id).line, "#admitted")
    assert float(line) == 1.0


@notices(
    entering("phase == 'selling' and left > 0", "phase == 'selling'"),
    entering("ARGV[3] == '1' and phase ~= 'closed'", "ARGV[3] == '1'"),
)
async def nobody_is_let_in_where_nothing_is_left(world: World) -> None:
    sale = await flash(world, stock=1)
    assert (await world.me.buy(sale)).status_code == 201
    assert (await world.friend.enter(sale)).json()["state"] == "gone"
    tickets = await world.state.dealer.pipe.call("HKEYS", Keys(sale.id).tickets)
    assert world.friend.id.encode() not in tickets
    await world.service.ops("POST", f"sales/{sale.id}/end")
    late = await world.service.member()
    assert (await late.enter(sale)).json()["state"] == "closed"
    assert await world.state.dealer.pipe.call("HGET", Keys(sale.id).line, late.id) is None


@notices(
    entering("ends * 1000 <= tonumber(ARGV[1])", "true"),
    entering("or call('HEXISTS', tickets, 'used:' .. ticket) == 1", ""),
    entering("if ends * 1000 <= tonumber(ARGV[1]) or", "if"),
)
async def a_member_has_one_ticket_at_a_time(world: World) -> None:
    sale = await flash(world, admission={"ticket_seconds": 30})

    async def ticket() -> str:
        return str((await world.me.enter(sale)).json()["ticket"])

    first = await ticket()
    assert await ticket() == first
    assert (await world.me.buy(sale, ticket=first)).status_code == 201
    second = await ticket()
    assert second != first
    world.service.clock.advance(31)
    assert await ticket() != second


@notices(
    *cuts(f"{ADMISSIONS}.enter", "rules.per_device is not None and body.device is None"),
    entering("if count(KEYS[4], ARGV[5]) then", "if false then"),
    entering("if count(KEYS[5], ARGV[6]) then", "if false then"),
    entering("if number == 0 and ARGV[3] == '1'", "if ARGV[3] == '1'"),
)
async def members_are_counted_where_they_come_from(world: World) -> None:
    by_device = await flash(world, admission={"per_device": 1})
    by_address = await flash(world, admission={"per_address": 1})
    assert await code(world.me.enter(by_device)) == "device_missing"
    for sale, refusal in ((by_device, "device_limit"), (by_address, "address_limit")):
        for _ in range(2):
            assert (await world.me.enter(sale, device="one")).status_code == 200
        assert await code(world.friend.enter(sale, device="one")) == refusal


def solve(challenge: dict[str, Any]) -> str:
    asked = altcha.Challenge.from_dict(challenge)
    solution = altcha.solve_challenge(asked)
    assert solution is not None
    return altcha.Payload(asked, solution).to_base64()


@notices(
    *cuts(
        f"{PROOFS}.read_proof",
        "not altcha.verify_solution(proof, state.settings.key_for(PURPOSE)).verified",
        "asked.data != {'member': member_id, 'sale': sale_id}",
        "(asked.expires_at or 0) <= state.clock().timestamp()",
    ),
    Cut(f"{PROOFS}.read_proof", "state.settings.key_for(PURPOSE)", "b'known'"),
)
async def a_proof_is_solved_by_its_member_in_time(world: World) -> None:
    me, sale = world.me.id, world.sale.id
    proof = solve(proofs.make_challenge(world.state, me, sale, 20).model_dump())
    assert proofs.read_proof(world.state, proof, me, sale)
    wrong = altcha.Payload.from_base64(proof)
    wrong.solution.counter += 1
    for forged, member_id, sale_id in (
        (wrong.to_base64(), me, sale),
        (proof, world.friend.id, sale),
        (proof, me, "sal"),
    ):
        with pytest.raises(ProofInvalid):
            proofs.read_proof(world.state, forged, member_id, sale_id)
    world.service.clock.advance(301)
    with pytest.raises(ProofInvalid):
        proofs.read_proof(world.state, proof, me, sale)


@notices(
    entering("if ARGV[7] == 'missing' then", "if false then"),
    entering("ARGV[7] ~= '' and not call('SET', KEYS[6], '1', 'NX', 'PX', ARGV[7])", "false"),
)
async def a_proof_is_needed_and_is_spent(world: World) -> None:
    sale = await flash(world, admission={"proof_of_work": 5})
    assert await code(world.me.enter(sale)) == "proof_missing"
    challenge = await world.me.get(f"/v1/sales/{sale.id}/admission/challenge")
    proof = solve(challenge.json())
    assert (await world.me.enter(sale, proof=proof)).status_code == 200
    await world.state.dealer.pipe.call("UNLINK", Keys(sale.id).line)
    assert await code(world.me.enter(sale, proof=proof)) == "proof_used"
