"""Who claims, and what they send: requests as bytes, by members who may, each with a fresh Idempotency-Key."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, cycle
from time import time

import jwt

from app.config import Settings
from app.services.sessions import AUDIENCE
from app.services.tokens import ALGORITHM, ISSUER
from bench.load import Arrival, Script, Unexpected
from bench.rows import Sale, seeded_id

ID_LENGTH = 36
JSON = b"\r\ncontent-type: application/json\r\ncontent-length: "
KEY = b"\r\nidempotency-key: 2f1c7a90-5b3e-4d68-"


def mint(first: int, last: int) -> list[bytes]:
    """Headers with the access tokens of seeded members, as `app/services/sessions.py` makes them.

    A hundred thousand members do not log in one by one here.
    """
    settings, now = Settings(), int(time())
    key = settings.key_for("access token")
    claims = {"iat": now, "exp": now + settings.access_token_seconds, "aud": AUDIENCE, "iss": ISSUER}
    return [
        b"\r\nauthorization: Bearer "
        + jwt.encode({"sub": seeded_id("mem", number), **claims}, key, algorithm=ALGORITHM).encode()
        for number in range(first, last)
    ]


class Claimants:
    """Members in an order that does not follow their ids, round and round."""

    def __init__(self, headers: list[bytes]) -> None:
        shuffled = headers.copy()
        random.Random(20261111).shuffle(shuffled)  # noqa: S311 - the same order in every run
        self._headers: Iterator[bytes] = cycle([b" HTTP/1.1\r\nhost: bench" + header + KEY for header in shuffled])
        self._keys = count()

    def post(self, path: bytes, rest: bytes) -> bytes:
        """A request by the next member: what came before `rest` is ready, but for the key."""
        return b"".join((path, next(self._headers), b"%d" % next(self._keys), rest))


def post_as(header: bytes, path: str, body: bytes, *, key: str = "") -> bytes:
    """A POST by the member whose header this is."""
    named = f"\r\nidempotency-key: {key}".encode() if key else b""
    start = b"POST %b HTTP/1.1\r\nhost: bench" % path.encode()
    return b"%b%b%b%b%d\r\n\r\n%b" % (start, header, named, JSON, len(body), body)


def plain_post(path: str, body: bytes) -> bytes:
    """A POST by nobody in particular, as an endpoint without credentials wants it."""
    return post_as(b"", path, body)


def plain_get(path: str, *headers: str) -> bytes:
    """A GET by nobody in particular."""
    return "".join(
        [f"GET {path} HTTP/1.1\r\nhost: bench\r\n", *(f"{line}\r\n" for line in headers), "\r\n"]
    ).encode()


def always(request: bytes) -> Script:
    """Ask the same again and again."""
    return lambda _reply: request


def claim_body(sale: Sale) -> bytes:
    """What a claim on the sale's offer sends."""
    return b'{"offer_id":"%b","quantity":1}' % sale.offer_id.encode()


def _opening(sale: Sale) -> tuple[bytes, bytes]:
    """What a request to open a group begins and ends with."""
    body = claim_body(sale)
    return b"POST /v1/sales/%b/groups" % sale.id.encode(), b"%b%d\r\n\r\n%b" % (JSON, len(body), body)


def _seats(reply: bytes) -> bytes:
    """What a request to join the group in this answer begins with."""
    return f"POST /v1/groups/{id_in(reply, b'grp_')}/seats".encode()


def opening(claimants: Claimants, sale: Sale, *, mention: bytes = b"") -> Script:
    """Open one group after the other. Every reply must have `mention` in it."""
    path, rest = _opening(sale)

    def script(reply: bytes) -> bytes:
        if mention not in reply and reply:
            raise Unexpected(f"no {mention.decode()} in {reply!r}")
        return claimants.post(path, rest)

    return script


def filling(claimants: Claimants, sale: Sale, joins: int = 2) -> Script:
    """Open a group, have it joined so often, open the next."""
    path, rest = _opening(sale)
    left, seats = -1, b""

    def script(reply: bytes) -> bytes:
        nonlocal left, seats
        if left == joins:
            seats = _seats(reply)
        if left > 0:
            left -= 1
            return claimants.post(seats, rest)
        left = joins
        return claimants.post(path, rest)

    return script


def arriving(claimants: Claimants, sale: Sale, joins: int = 2) -> Callable[[], Arrival]:
    """The same mix for requests that do not wait for each other: the next claim joins a group that was opened, or
    opens one when there is none to join.
    """
    path, rest = _opening(sale)
    free: deque[bytes] = deque()

    def opened(reply: bytes) -> None:
        free.extend([_seats(reply)] * joins)

    def arrival() -> Arrival:
        if free:
            return claimants.post(free.popleft(), rest), None
        return claimants.post(path, rest), opened

    return arrival


def id_in(reply: bytes, prefix: bytes) -> str:
    """The first id of this kind in a reply. Raises `Unexpected` when there is none."""
    at = reply.find(prefix)
    if at < 0:
        raise Unexpected(f"no {prefix.decode()} in {reply!r}")
    return reply[at : at + ID_LENGTH].decode()
