"""Every guard of the code: its probe passes, and fails when the guard is taken out."""

from typing import Any

import pytest

from tests.guards import (
    admissions,
    bargains,
    chats,
    claims,
    communities,
    coupons,
    endpoints,
    envelopes,
    events,
    forecasts,
    growth,
    health,
    ledger,
    limits,
    lines,
    logins,
    messengers,
    money,
    orders,
    pages,
    people,
    pictures,
    posts,
    privacy,
    providers,
    pushes,
    reconciliations,
    referrals,
    reminders,
    rescues,
    rewards,
    robots,
    sales,
    segments,
    slots,
)
from tests.guards.cuts import GUARDS, Cut, Probe, run
from tests.guards.found import Found, find_guards
from tests.guards.world import World
from tests.tally import GUARD, NOTICED, UNDECIDED

AREAS = (
    admissions,
    bargains,
    chats,
    claims,
    communities,
    coupons,
    envelopes,
    endpoints,
    events,
    forecasts,
    growth,
    health,
    ledger,
    limits,
    lines,
    logins,
    messengers,
    money,
    orders,
    pages,
    people,
    pictures,
    posts,
    pushes,
    privacy,
    providers,
    reconciliations,
    referrals,
    reminders,
    rescues,
    rewards,
    robots,
    sales,
    segments,
    slots,
)
"""Importing them fills the registry."""
passed: set[tuple[Probe, tuple[Cut, ...]]] = set()
"""Probes that passed with every guard in its place, and which were down all the same."""


@pytest.mark.parametrize("guard", GUARDS, ids=": ".join)
async def test_guard(world: World, guard: tuple[str, str], record_property: Any) -> None:
    record_property(GUARD, UNDECIDED)
    for cut, probe in GUARDS[guard]:
        if (probe, cut.down) not in passed:
            if error := await run(world, probe, *cut.down):
                raise error
            passed.add((probe, cut.down))
        error = await run(world, probe, *cut.down, cut)
        assert error is not None, f"{probe.__name__} does not notice that this is out: {cut}"
    record_property(GUARD, NOTICED)


async def test_a_cut_that_changes_nothing_is_noticed_by_nobody(world: World) -> None:
    """The negative control: every function runs from its source written anew, with every guard in it."""
    anew = [Cut(function, text, text) for function, text in GUARDS]
    for area in AREAS:
        probe = next(probe for guard in GUARDS.values() for _, probe in guard if probe.__module__ == area.__name__)
        assert await run(world, probe, *anew) is None


def test_every_guard_in_the_code_has_a_probe() -> None:
    def has_probe(found: Found) -> bool:
        return any(
            function == found.function and (text in found.text or found.text in text) for function, text in GUARDS
        )

    assert [found for found in find_guards() if not has_probe(found)] == []
