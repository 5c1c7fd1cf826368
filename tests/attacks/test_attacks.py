"""Every attack of the list, on both databases. None may succeed, and none may leave an invariant broken.

In the manner of ACIDRain: whatever takes or gives back something is called a hundred times in the same moment, with
the same key and with others, by one member and by many, by one session and by two.
"""

from typing import Any

import pytest

from tests.attacks import book, desk, money, pages, places
from tests.attacks.arena import ATTACKS, Arena, gather_crowd
from tests.attacks.forgetful import ForgetfulDealer
from tests.races.test_places import UNIT_KEY, remove_key
from tests.service import Service
from tests.tally import ATTACK, REPELLED, SUCCEEDED, UNDECIDED

AREAS = (book, desk, money, pages, places)
"""Importing them fills the list."""
CALLS = 100


@pytest.fixture(scope="module")
async def shared_arena(shared_service: Service) -> Arena:
    """One crowd per database, for all attacks."""
    return await gather_crowd(shared_service, CALLS)


@pytest.fixture
def arena(shared_arena: Arena) -> Arena:
    """The same, with a clock that is right."""
    shared_arena.service.clock.offset_seconds = 0
    return shared_arena


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack_is_repelled(arena: Arena, name: str, record_property: Any) -> None:
    record_property(ATTACK, UNDECIDED)
    outcome = await ATTACKS[name](arena)
    violations = await arena.service.violations()
    stolen = outcome.stolen or violations
    record_property(ATTACK, SUCCEEDED if stolen else REPELLED if outcome.served else UNDECIDED)
    assert not stolen, f"the attacker wanted: {ATTACKS[name].__doc__} {violations}"
    assert outcome.served, "the attack was not repelled but not heard"


@pytest.mark.parametrize("has_key", [True, False], ids=["with key", "negative control: without key"])
async def test_the_list_can_see_an_attack_that_succeeds(own_service: Service, *, has_key: bool) -> None:
    """The dealer forgets now and then, so that the key of the units alone stands against overselling."""
    arena = await gather_crowd(own_service, 40)
    own_service.state.dealer = ForgetfulDealer(own_service.state.dealer, UNIT_KEY)
    if not has_key:
        await remove_key(own_service, UNIT_KEY)
    outcome = await places.buy_the_last_units(arena)
    assert outcome.stolen is not has_key
    assert bool(await own_service.violations()) is not has_key


def test_every_attack_says_what_the_attacker_wants() -> None:
    assert all(attack.__doc__ for attack in ATTACKS.values())
