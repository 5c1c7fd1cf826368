"""The entrance of a flash sale: how the line moves, and how long one has to wait."""

import math
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network

MAX_ADMIT_PER_SECOND = 10_000
MAX_PROOF_OF_WORK = 10_000_000
MAX_MEMBERS_APART = 100_000
MIN_TICKET_SECONDS, MAX_TICKET_SECONDS = 5, 600
TICKET_SECONDS = 120
ASK_AGAIN_SECONDS = 5
"""How soon to ask again where nobody knows when something will change."""
LONGEST_PAUSE_SECONDS = 10
IPV6_NETWORK_BITS = 64
"""Who has an IPv6 address has all of its network."""


class AdmissionState(StrEnum):
    """How it stands with somebody who wants to buy in a flash sale."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    GONE = "gone"
    CLOSED = "closed"


class Phase(StrEnum):
    """How it stands with the sale itself."""

    EARLY = "early"
    SELLING = "selling"
    PAUSED = "paused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """Who is let in, and how fast. None: as many as come."""

    admit_per_second: int | None = None
    proof_of_work: int | None = None
    """The largest number a client may have to try."""
    per_device: int | None = None
    per_address: int | None = None
    """How many members may stand in line from one device, and from one address."""
    ticket_seconds: int = TICKET_SECONDS


def admission_state(phase: Phase, left: int, *, has_ticket: bool) -> AdmissionState:
    """How it stands with somebody in line, by what there is for them."""
    if phase == Phase.CLOSED:
        return AdmissionState.CLOSED
    if left == 0:
        return AdmissionState.GONE
    return AdmissionState.ADMITTED if has_ticket else AdmissionState.WAITING


def people_before(number: int, admitted: int) -> int:
    """How many of those in line are let in before the one with this number, when so many have been."""
    return max(0, number - 1 - admitted)


def expected_wait(number: int, admitted: int, rate: int | None, until_open: float) -> int:
    """Seconds until a number has its turn, rounded up, if nobody leaves and the sale opens in so many."""
    moving = 0 if rate is None else max(0, number - admitted) / rate
    return math.ceil(max(0.0, until_open) + moving)


def ask_again(state: AdmissionState, wait_seconds: int, held: int) -> int | None:
    """When to ask again, for clients that cannot wait on the line; None when there is nothing to wait for."""
    match state:
        case AdmissionState.WAITING:
            return min(max(1, wait_seconds // 2), LONGEST_PAUSE_SECONDS)
        case AdmissionState.GONE if held:
            return ASK_AGAIN_SECONDS
    return None


def network_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the network of an IPv6 address."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ip_network((found, IPV6_NETWORK_BITS), strict=False))
    return str(found)
