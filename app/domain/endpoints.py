"""Endpoints: where events are sent, and which addresses nothing is sent to.

An address is read once, by one strict expression, and its parts go to the connection as they are: there is no
second reader that could see another host in it.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from app.domain.errors import InvalidTerms
from app.domain.machines import Table

Network = IPv4Network | IPv6Network
MAX_URL = 500
OLD_SECRET_LIVES = timedelta(hours=24)
"""How long the secret before the newest still signs."""
PORTS = {"http": 80, "https": 443}
FREE_PORTS = range(1024, 65536)
"""Those below belong to services that are not spoken to over HTTP."""
URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?:(?P<name>(?=[^/:]{1,253}(?:[/:]|$))[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)|\[(?P<six>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[!-\"$-\[\]-~]*)?"
)
"""No user, no fragment, no backslash, nothing but ASCII: readers of addresses differ in what they make of these."""
A_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""Where the last label is one, the whole is an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
UNICAST = IPv6Network("2000::/3")
NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # once 6to4 relays
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
"""What `is_global` of the standard library believes to be public, in one version of it or another; all of
https://www.iana.org/assignments/iana-ipv4-special-registry and its twin for IPv6.
"""


class EndpointState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    REMOVED = "removed"


ENDPOINT_TRANSITIONS: Table[EndpointState] = {
    EndpointState.ACTIVE: frozenset({EndpointState.PAUSED, EndpointState.DISABLED, EndpointState.REMOVED}),
    EndpointState.PAUSED: frozenset({EndpointState.ACTIVE, EndpointState.REMOVED}),
    EndpointState.DISABLED: frozenset({EndpointState.ACTIVE, EndpointState.REMOVED}),
    EndpointState.REMOVED: frozenset(),
}


class DisabledReason(StrEnum):
    GONE = "gone"
    """It answered 410."""
    FAILED = "failed"
    """The last retry of a delivery failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of an address: `host` is a name or an IP address without brackets, `path` goes up to the end."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str, *, plain: bool) -> Target:
    """The parts of an address that something may be sent to, if what it leads to may be connected to; `plain`:
    without encryption, too. Raises `InvalidTerms`.
    """
    match = URL.fullmatch(url)
    if match is None or len(url) > MAX_URL:
        raise InvalidTerms(
            field="url", reason="must be https://host:port/path in ASCII, without user, fragment or backslash"
        )
    scheme = match["scheme"].lower()
    if scheme == "http" and not plain:
        raise InvalidTerms(field="url", reason="must begin with https://")
    host = (match["name"] or match["six"]).lower()
    if (match["six"] or A_NUMBER.fullmatch(host.rpartition(".")[2])) and read_address(host) is None:
        raise InvalidTerms(field="url", reason="must be a name, or an IP address in its usual form")
    port = int(match["port"] or PORTS[scheme])
    if port not in PORTS.values() and port not in FREE_PORTS:
        raise InvalidTerms(field="url", reason="must have port 80, 443, or one from 1024")
    return Target(scheme, host, port, match["target"] or "/")


def read_address(host: str) -> IPv4Address | IPv6Address | None:
    """An IP address in its usual form; None for a name and for any other spelling."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def may_connect(address: str, listed: Collection[Network]) -> bool:
    """Whether something may be sent to this IP address: it is public, or in a network that was listed.

    Of IPv6 only what is global unicast is public: no IPv4 address in another dress, mapped, translated, tunnelled.
    """
    found = read_address(address)
    return found is not None and (any(found in network for network in listed) or _is_public(found))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in NOT_PUBLIC):
        return False
    if isinstance(address, IPv6Address) and address not in UNICAST:
        return False
    return address.is_global and not address.is_multicast


def wants(endpoint_id: str, types: Collection[str], type_: str, subject: str) -> bool:
    """Whether an endpoint is sent an event: of its types, or of all where it names none; and its own tests."""
    if type_ == TESTED:
        return subject == endpoint_id
    return not types or type_ in types


TESTED = "endpoint.tested"
"""The type of the event that only the endpoint it is about is sent."""
