"""`python -m chaos.check LEDGER DATABASE_URL REDIS_URL`: a process of its own that compares what members and a
receiver of webhooks were told with what the database, Redis and the payment provider have. Prints one JSON object
of lists that should be empty.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import text

from app.config import Settings
from app.services import dealing
from app.services.invariants import ACTIVE, find_violations
from app.state import State, open_state
from chaos.ledger import Heard, Ledger, Name
from chaos.receiver import IS_WANTED

MONEY = {
    "captured, and neither seat nor refund": """
        SELECT id FROM payments WHERE state = 'captured' AND outcome IS NULL""",
    "paid at the provider, and not known to us": """
        SELECT sandbox_charges.id FROM sandbox_charges LEFT JOIN payments USING (id)
        WHERE sandbox_charges.state = 'paid' AND settles_at < now() - interval '20 seconds'
          AND (payments.captured_amount IS NULL OR payments.captured_amount <> paid_amount)""",
    "a refund that has not arrived": "SELECT id FROM refunds WHERE state <> 'succeeded'",
    "refunded by the provider otherwise than we promised": """
        SELECT payments.id FROM payments LEFT JOIN sandbox_refunds ON charge_id = payments.id
        WHERE payments.state = 'captured' GROUP BY payments.id, refunded_amount
        HAVING coalesce(sum(sandbox_refunds.amount), 0) <> refunded_amount""",
}
WANTED = f"SELECT id, type, subject FROM events WHERE {IS_WANTED} ORDER BY id"
"""Every event that the receiver of webhooks wants to hear of."""


async def check(ledger: Ledger, state: State) -> dict[str, list[str]]:
    """Everything that is not as it should be, by what it breaks."""
    orders = await rows(state, "SELECT sale_id, member_id, request_key, answer FROM orders")
    answers = {(sale_id, member_id, key): answer for sale_id, member_id, key, answer in orders}
    found = {
        "lost_acknowledgements": lost_acknowledgements(ledger, answers),
        "double_effects": double_effects(ledger, Counter(tuple(row[:3]) for row in orders)),
        "effects_of_refusals": effects_of_refusals(ledger, answers),
        "leaked_places": await leaked_places(state),
        "oversold": [],
        "undersold": [],
        "webhooks_astray": webhooks_astray(ledger.heard, await rows(state, WANTED)),
        "money_astray": [f"{what}: {row[0]}" for what, query in MONEY.items() for row in await rows(state, query)],
    }
    for rush in ledger.rushes:
        ((sold,),) = await rows(
            state,
            f"SELECT coalesce(sum(quantity), 0) FROM orders WHERE sale_id = :sale AND state IN ({ACTIVE})",
            sale=rush.id,
        )
        if sold != rush.stock:
            kind = "oversold" if sold > rush.stock else "undersold"
            found[kind].append(f"{rush.id}: {sold} of {rush.stock}")
    async with state.database.snapshot() as session:
        violations = await find_violations(session)
    found["violations"] = [f"{one.invariant} {one.subject}: {one.detail}" for one in violations]
    return found


def lost_acknowledgements(ledger: Ledger, answers: Mapping[Name, str]) -> list[str]:
    """Claims that were acknowledged and are not there as they were acknowledged."""
    return [" ".join(one.name) for one in ledger.intentions if one.answer and answers.get(one.name) != one.answer]


def double_effects(ledger: Ledger, made: Mapping[Name, int]) -> list[str]:
    """Keys that were told two things or made two orders, and orders nobody asked for."""
    asked = {one.name for one in ledger.intentions}
    sales = {one.sale_id for one in ledger.intentions}
    told = [f"{one.key} was told {one.otherwise}" for one in ledger.intentions if one.otherwise]
    return told + [
        f"{count} orders: {name}"
        for name, count in made.items()
        if name[0] in sales and (count > 1 or name not in asked)
    ]


def effects_of_refusals(ledger: Ledger, answers: Mapping[Name, str]) -> list[str]:
    """Orders of those who were told that they have none."""
    return [f"{one.refusal}: {one.key}" for one in ledger.intentions if one.refusal and one.name in answers]


def webhooks_astray(heard: Sequence[Heard], wanted: Sequence[tuple[int, str, str]]) -> list[str]:
    """Of the ids, types and subjects that should have been heard of: what was not, or not as it was; and what was
    heard of before something earlier of its subject.
    """
    known = {id_: (type_, subject) for id_, type_, subject in wanted}
    told, last = dict[int, dict[str, Any]](), dict[str, int]()
    found = []
    for one in heard:
        id_, event = one.webhook_id, one.event
        subject = event["subject"]
        if event["id"] != id_ or known.get(id_) != (event["type"], subject) or told.setdefault(id_, event) != event:
            found.append(f"{id_} was told as {event}")
        if last.setdefault(subject, id_) > id_:
            found.append(f"{id_} was told after {last[subject]}")
        last[subject] = id_
    return found + [f"{id_} was not told" for id_ in known if id_ not in told]


async def leaked_places(state: State) -> list[str]:
    """Counts in Redis that are not those of the rows: places that nobody has and nobody can get, or the reverse."""
    found = []
    for sale_id in [sale.id for sale in await dealing.compared_sales(state, state.clock())]:
        if await state.dealer.is_loaded(sale_id):  # else it will be loaded from the rows
            told, counted = await count_places(state, sale_id)
            found += [
                f"{name}: Redis {told.get(name)}, rows {number}"
                for name, number in counted.items()
                if told.get(name) != number
            ]
    return found


async def count_places(state: State, sale_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Units taken of each offer, seats held and paid of each running group: as Redis and as the rows count them."""
    async with state.database.snapshot() as session:
        image = await dealing.read_image(session, sale_id)
    told = await state.dealer.taken(sale_id, list(image.stocks))
    groups = await state.dealer.group_counts(sale_id, list(image.groups))
    told |= {f"{key} held": count.held for key, count in groups.items()}
    told |= {f"{key} paid": count.paid for key, count in groups.items()}
    counted = dict.fromkeys(image.stocks, 0)
    for key in image.groups:
        counted |= {f"{key} held": 0, f"{key} paid": 0}
    for claim in image.claims:
        counted[claim.offer_id] += len(claim.units)
        if claim.group_id in image.groups:
            counted[f"{claim.group_id} {'paid' if claim.paid else 'held'}"] += 1
    return told, counted


async def rows(state: State, query: str, **values: Any) -> list[Any]:
    """The rows of a query."""
    async with state.database.snapshot() as session:
        return list((await (await session.connection()).execute(text(query), values)).all())


async def main(ledger: str, database_url: str, redis_url: str) -> None:
    """Check, and print what was found."""
    with TemporaryDirectory() as data:
        settings = Settings(database_url=database_url, redis_url=redis_url, data=Path(data))
        async with open_state(settings) as state:
            sys.stdout.write(json.dumps(await check(Ledger.read(Path(ledger)), state)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
