"""Typed faces of the scripts in `lua/`, and the loading of a sale."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from app.batching import Batches
from app.domain.admissions import AdmissionRules, Phase
from app.domain.errors import (
    AddressLimit,
    AlreadyInGroup,
    Busy,
    DealerUnavailable,
    DeviceLimit,
    GroupClosed,
    GroupFull,
    KaituanError,
    MemberLimit,
    ProofMissing,
    ProofUsed,
    SaleEnded,
    SaleNotOpen,
    SalePaused,
    SoldOut,
    TicketUsed,
)
from app.gateways.dealer.images import CHUNK, Claim, SaleImage, chunks, merge, milliseconds, pack
from app.gateways.dealer.keys import Keys
from app.gateways.dealer.pipe import Part, Pipe, Send

LUA = Path(__file__).parent / "lua"
WATCH_KEY = "kaituan:watch"
"""The one key without an end: the worker owns it."""
REQUEST_TTL_MS = 3_600_000
CLOSED_TTL_MS = 600_000
"""How long a closed group is remembered, so that claims on their way to it are refused without a load."""
LOADING_MS = 5_000
"""How long a sale waits for a loader of which nothing is heard: its process is dead."""
RENEW_SECONDS = 1.0
REMEMBER_SECONDS = 0.2
"""How long an offer is taken for sold out, unless something is given back: so late another process may see that."""
LOADING_WAIT_SECONDS = 5.0
IN_FLIGHT = timedelta(seconds=30)
"""A claim that was dealt this long ago and has no order is dead: its process did not live to commit."""


SIMPLE_REFUSALS: dict[str, type[KaituanError]] = {
    error.code: error for error in (SaleEnded, SalePaused, GroupClosed, GroupFull, AlreadyInGroup, TicketUsed)
}


class Script:
    """A file of `lua/`, called by its hash; a server that does not know it yet is sent the text."""

    def __init__(self, name: str) -> None:
        self.text = (LUA / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


DEAL, RELEASE, AMEND, KNOWN = Script("deal"), Script("release"), Script("amend"), Script("known")
EXTEND_GROUP = Script("extend_group")
CLOSE_GROUP, FORGET, SETTLE = Script("close_group"), Script("forget"), Script("settle")
LOCK, WRITE, UNLOCK, UNSURE = Script("lock"), Script("write"), Script("unlock"), Script("unsure")
ENTER = Script("enter")
LINE = Script("line")


class Refused(Exception):
    """The dealer refuses. `known`: the member ever had an order in this sale, so that the same request may have
    been answered before.
    """

    def __init__(self, refusal: KaituanError, *, known: bool) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.known = known


class Unloaded(Exception):
    """The sale, offer or group is not in Redis; load the sale and ask again."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a member asks for. `new_deadline_at` opens the group `group_id`; None joins it. In a flash sale with the
    id of a ticket.
    """

    sale_id: str
    order_id: str
    member_id: str
    offer_id: str
    quantity: int
    group_id: str
    new_deadline_at: datetime | None
    request_key: str
    in_line: bool = False
    """Whether it is the member's turn in the line: then nothing is kept from them."""
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who wants to get in line, from where (None: nobody counts that), and with which proof of work: its nonce, or
    '' for none. `proof_seconds` is how long a proof is kept from being used again; None when none is needed.
    """

    device: str | None
    address: str | None
    proof: str
    proof_seconds: int | None


@dataclass(frozen=True, slots=True)
class Stand:
    """How a line stands, and with it a member: their number (0: not in line), and their ticket once they have had
    their turn. `admitted` of those who `came` were let in, lowest numbers first; `left` and `taken` are units.
    """

    phase: Phase
    number: int
    admitted: int
    came: int
    left: int
    taken: int
    ticket: str
    ticket_expires_at: int


class PaidOrder(Protocol):
    """What the dealer has to know of a paid order, as its row says it."""

    id: str
    offer_id: str
    group_id: str
    seat_number: int
    quantity: int
    settled_quantity: int | None
    moved_from: str | None


@dataclass(frozen=True, slots=True)
class Loading:
    """The right to load a sale, on the connection it was begun on."""

    token: str
    connection: int
    in_flight: list[Claim]
    """Claims that were dealt a moment ago and may not have their rows yet."""
    at_once: bool
    """Whether nobody else was at it: who was may have taken some of these away."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a sale was loaded: when, in which version, whether it knows everybody who bought, how many transactions
    had taken undealt places; and of how many offers and groups Redis believes that people wait for them.
    """

    at: datetime
    version: str
    sure: bool
    undealt: int
    lines: int


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Seats of a group: `held` wait for a payment, `paid` have one."""

    size: int
    held: int
    paid: int


NOBODY_NEW = Newcomer(device=None, address=None, proof="", proof_seconds=None)


class Dealer:
    """Typed faces of the scripts in `lua/`. Raises `DealerUnavailable` when Redis does not answer."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.sold_without: Counter[str] = Counter()
        """How often this process sold from the rows while Redis was away, by sale: until Redis has learnt of it,
        the sale is loaded before it is dealt.
        """
        self.sold_out: dict[str, tuple[int, float]] = {}
        """What was left of offers that could not give what was asked for, and until when that is remembered."""
        self._known: Batches[tuple[str, str], tuple[str, str], bool] = Batches(self._ask_known)
        self._doubtful = False
        """Whether this is not the server, or not in the state, that a worker compared with the rows last."""
        self._vouched: set[str] = set()
        """Sales that were loaded since that is doubtful."""
        self._connection = 0
        """The number of the connection; a new one may lead to another server."""
        pipe.greet = self._greet

    async def check_left(self, sale_id: str, offer_id: str, quantity: int, member_id: str) -> None:
        """Refuse from memory: that an offer could not give so much is remembered for a moment. The member is only
        looked up, together with all others: Redis may know them. Raises `Refused`, `DealerUnavailable`.
        """
        left, until = self.sold_out.get(offer_id, (quantity, 0.0))
        if left < quantity and monotonic() < until and not self._is_doubtful(sale_id):
            known = await self._known.ask((sale_id, member_id), (sale_id, member_id))
            if not known and not self._is_doubtful(sale_id):  # it may have become so meanwhile
                raise Refused(SoldOut(left=left), known=False)

    async def deal(self, request: ClaimRequest, now: datetime) -> tuple[Claim, bool]:
        """Take the places of a claim, or refuse and take none.

        Returns the claim, and whether this request had it before: the same `request_key` is dealt the same
        places, under the order id it had first. Raises `Refused`; `Unloaded` when the sale must be loaded first;
        `DealerUnavailable`.
        """
        keys = Keys(request.sale_id)
        names = (
            *(keys.terms, keys.claims, keys.pending, keys.purchases),
            *(keys.offer(request.offer_id), keys.units(request.offer_id), keys.request(request.request_key)),
            *(keys.group(request.group_id), keys.seats(request.group_id), keys.former, keys.lines),
            *(() if request.ticket is None else (keys.tickets,)),
        )
        deadline = "" if request.new_deadline_at is None else milliseconds(request.new_deadline_at)
        arguments = (
            *(milliseconds(now), request.order_id, request.member_id, request.offer_id, request.quantity),
            *(request.group_id, deadline, REQUEST_TTL_MS, int(request.in_line)),
            *(() if request.ticket is None else (request.ticket,)),
        )
        try:
            verdict, *rest = await self.pipe.call("EVALSHA", DEAL.sha, len(names), *names, *arguments)
        except (RedisError, OSError):
            verdict, *rest = await self._run(DEAL, names, arguments)  # it may run twice
        if verdict in {b"taken", b"again"}:
            return Claim.unpacked(*rest), verdict == b"again"
        if verdict == b"unloaded" or self._is_doubtful(request.sale_id):  # what was taken, the rows may refuse
            raise Unloaded
        refusal = _refusal(verdict.decode(), rest[1:])
        if isinstance(refusal, SoldOut):
            self.sold_out[request.offer_id] = refusal.left, monotonic() + REMEMBER_SECONDS
        raise Refused(refusal, known=rest[0] == b"1")

    async def enter(
        self,
        sale_id: str,
        offer_ids: Collection[str],
        rules: AdmissionRules,
        member_id: str,
        new_ticket: tuple[str, int],
        now: datetime,
        newcomer: Newcomer | None = None,
    ) -> Stand:
        """See how the line of a sale stands, for a member or ('') for nobody; a `newcomer` is put in line first,
        once. `new_ticket` is the id and the end of the ticket to give, should one be due.

        Raises `Unloaded` when the sale must be loaded first, `ProofMissing`, `ProofUsed`, `DeviceLimit`,
        `AddressLimit`, `DealerUnavailable`.
        """
        keys, new = Keys(sale_id), newcomer or NOBODY_NEW
        per_device = rules.per_device if new.device is not None else None
        per_address = rules.per_address if new.address is not None else None
        proof: Part = ""
        if new.proof_seconds is not None:
            proof = new.proof_seconds * 1000 if new.proof else "missing"
        names = (
            *(keys.terms, keys.line, keys.tickets),
            *(keys.origin("device", new.device or ""), keys.origin("address", new.address or "")),
            *(keys.proof(new.proof), keys.lines, *(keys.offer(offer_id) for offer_id in offer_ids)),
        )
        arguments: tuple[Part, ...] = (
            *(milliseconds(now), member_id, int(newcomer is not None), _or_empty(rules.admit_per_second)),
            *(_or_empty(per_device), _or_empty(per_address), proof, *new_ticket, *offer_ids),
        )
        verdict, *rest = await self._run(ENTER, names, arguments)
        match verdict:
            case b"line":
                phase, number, admitted, came, left, taken, ticket, ends = rest
                return Stand(Phase(phase.decode()), number, admitted, came, left, taken, ticket.decode(), ends)
            case b"unloaded":
                raise Unloaded
        raise _admission_refusal(verdict.decode(), rest)

    async def unspend(self, sale_id: str, ticket: str) -> None:
        """Let a ticket buy that was dealt with and bought nothing. The key of orders refuses it a second order."""
        await self._twice("HDEL", Keys(sale_id).tickets, f"used:{ticket}")

    async def is_known(self, sale_id: str, member_id: str) -> bool:
        """Whether a member may ever have had an order in a sale. Looked up together with all others who are
        refused. Raises `DealerUnavailable`.
        """
        return await self._known.ask((sale_id, member_id), (sale_id, member_id)) or self._is_doubtful(sale_id)

    async def forget_member(self, sale_ids: Sequence[str], member_id: str) -> None:
        """Let a member stand in no line of these sales, and be counted nowhere. What they bought stays dealt."""
        came_from = f"from:{member_id}"
        for some in chunks(list(sale_ids)):
            keys = [Keys(sale_id) for sale_id in some]
            counted = await self._all([("HGET", of.line, came_from) for of in keys])
            commands: list[tuple[Part, ...]] = []
            for of, sets in zip(keys, counted, strict=True):
                commands += [("HDEL", of.line, member_id, came_from), ("HDEL", of.tickets, member_id)]
                commands += [("SREM", name, member_id) for name in (sets or b"").decode().split()]
            await self._all(commands)

    def learnt(self, sale_id: str, sold_without: int) -> None:
        """Redis has learnt what was sold without it, when it had been so often."""
        if self.sold_without[sale_id] == sold_without:
            del self.sold_without[sale_id]

    async def release(self, sale_id: str, order_id: str, offer_id: str, group_id: str) -> bool:
        """Give back the places of an order; False when it holds none, or the sale is being loaded."""
        self.sold_out.pop(offer_id, None)
        keys = Keys(sale_id)
        names = (
            *(keys.claims, keys.pending, keys.purchases, keys.offer(offer_id), keys.units(offer_id)),
            *(keys.group(group_id), keys.seats(group_id), keys.former, keys.terms, keys.loading),
        )
        return bool(await self._run(RELEASE, names, (order_id, CLOSED_TTL_MS)))

    async def amend(self, sale_id: str, order: PaidOrder) -> bool:
        """Bring what is known of an order in line with its row: that it is paid, where its seat is, how many of its
        units it keeps. False when it was, or the order holds nothing, or the sale is being loaded.
        """
        keys, group_id = Keys(sale_id), order.group_id
        former = order.moved_from or group_id
        names = (
            *(keys.claims, keys.group(group_id), keys.seats(group_id), keys.group(former), keys.seats(former)),
            *(keys.offer(order.offer_id), keys.units(order.offer_id), keys.terms, keys.loading),
        )
        if order.settled_quantity is not None:
            self.sold_out.pop(order.offer_id, None)
        keep = order.settled_quantity or order.quantity
        return bool(await self._run(AMEND, names, (order.id, group_id, order.seat_number, keep)))

    async def extend_group(self, sale_id: str, group_id: str, deadline_at: datetime) -> None:
        """Deal seats of a group until a later deadline."""
        await self._run(EXTEND_GROUP, (Keys(sale_id).group(group_id),), (milliseconds(deadline_at),))

    async def close_group(self, sale_id: str, group_id: str) -> None:
        """Deal no more seats of a group."""
        keys = Keys(sale_id)
        await self._run(CLOSE_GROUP, (keys.group(group_id), keys.seats(group_id)), (CLOSED_TTL_MS,))

    async def forget(self, sale_id: str) -> None:
        """Have the sale loaded from the rows before the next claim on it."""
        self.sold_out.clear()
        keys = Keys(sale_id)
        await self._run(FORGET, (keys.terms, keys.loading), ())

    async def is_loaded(self, sale_id: str) -> bool:
        """Whether claims on this sale can be dealt."""
        return bool(await self._twice("EXISTS", Keys(sale_id).terms))

    async def loaded(self, sale_id: str) -> Loaded | None:
        """How a sale was loaded; None when it is not."""
        fields = "loaded", "version", "sure", "undealt", "lines"
        at, version, sure, undealt, lines = await self._twice("HMGET", Keys(sale_id).terms, *fields)
        if at is None or version is None:
            return None
        loaded_at = datetime.fromtimestamp(int(at) / 1000, UTC)
        return Loaded(loaded_at, version.decode(), sure == b"1", int(undealt), int(lines or 0))

    async def add_line(self, sale_id: str, id_: str) -> None:
        """Keep what comes free of an offer or a group for those who wait for it."""
        keys = Keys(sale_id)
        await self._run(LINE, (keys.terms, keys.lines, keys.loading), ("add", id_))

    async def set_lines(self, sale_id: str, ids: Sequence[str]) -> None:
        """Keep what comes free of these offers and groups, and of no others."""
        keys = Keys(sale_id)
        await self._run(LINE, (keys.terms, keys.lines, keys.loading), ("replace", *ids))

    async def make_unsure(self, sale_id: str) -> None:
        """Take no member for unknown until the sale is loaded for good."""
        await self._run(UNSURE, (Keys(sale_id).terms,), ())

    async def taken(self, sale_id: str, offer_ids: Sequence[str]) -> dict[str, int]:
        """Units taken of offers, live, by id; offers that Redis does not know, or not any more, are left out."""
        keys = Keys(sale_id)
        commands: list[tuple[Part, ...]] = [("HGET", keys.offer(id_), "taken") for id_ in offer_ids]
        loaded, *rows = await self._all([("EXISTS", keys.terms), *commands])
        return {id_: int(row) for id_, row in zip(offer_ids, rows, strict=True) if row is not None and loaded}

    async def group_counts(self, sale_id: str, group_ids: Sequence[str]) -> dict[str, GroupCounts]:
        """The live counts of groups, by id; groups that Redis does not know are left out."""
        keys = Keys(sale_id)
        rows = await self._all([("HMGET", keys.group(id_), "size", "held", "paid") for id_ in group_ids])
        return {
            id_: GroupCounts(*map(int, row)) for id_, row in zip(group_ids, rows, strict=True) if row[0] is not None
        }

    async def overdue(self, sale_id: str, now: datetime, limit: int = CHUNK) -> list[Claim]:
        """Claims dealt more than `IN_FLIGHT` ago that nobody has looked at since."""
        keys = Keys(sale_id)
        until = milliseconds(now - IN_FLIGHT)
        ids = await self._twice("ZRANGEBYSCORE", keys.pending, "-inf", until, "LIMIT", 0, limit)
        return await self._claims(keys, ids)

    async def settle(self, sale_id: str, order_ids: Iterable[str]) -> list[str]:
        """Stop watching claims that have their orders. Returns those that are not known any more."""
        keys, lost = Keys(sale_id), []
        for ids in chunks(list(order_ids)):
            lost += [id_.decode() for id_ in await self._run(SETTLE, (keys.pending, keys.claims), tuple(ids))]
        return lost

    async def ping(self) -> None:
        """Raise `DealerUnavailable` when Redis does not answer."""
        await self._twice("PING")

    async def server(self) -> str:
        """Which server this is, and how many keys it evicted since it started."""
        return _server(await self._twice("INFO"))

    async def is_noted(self, server: str) -> bool:
        """Whether a worker has compared this server with the rows: else it was restarted, replaced or emptied, or
        had to evict keys, and its data may be old, or not all there.
        """
        noted = await self._twice("HGET", WATCH_KEY, "server")
        return noted is not None and noted.decode() == server

    async def note(self, server: str) -> None:
        """Note, in its own data, which server was compared: a flush takes the note away."""
        await self._twice("HSET", WATCH_KEY, "server", server)

    async def compared_at(self, sale_id: str) -> datetime | None:
        """When a sale was compared with the rows last; None when nobody knows."""
        compared = await self._twice("GET", Keys(sale_id).compared)
        return None if compared is None else datetime.fromtimestamp(int(compared) / 1000, UTC)

    async def note_compared(self, sale_id: str, now: datetime) -> None:
        """Note that a sale was compared with the rows as they are now. Only a load begins that."""
        await self._twice("SET", Keys(sale_id).compared, milliseconds(now), "XX", "KEEPTTL")

    @asynccontextmanager
    async def loading(self, sale_id: str, now: datetime) -> AsyncIterator[Loading | None]:
        """Stop dealing for a sale, with the right to load it for the time of the context.

        Yields what `write` needs; None when somebody else has just loaded it. Raises `Busy` when somebody else is
        at it for too long.
        """
        keys, token = Keys(sale_id), token_hex(8)
        names = keys.terms, keys.loading
        give_up_at = asyncio.get_running_loop().time() + LOADING_WAIT_SECONDS
        at_once = True
        while not await self._run(LOCK, names, (token, LOADING_MS)):
            connection, at_once = self._connection, False
            if asyncio.get_running_loop().time() > give_up_at:
                raise Busy
            await asyncio.sleep(0.02)
            if await self.is_loaded(sale_id):
                if connection == self._connection:
                    self._vouched.add(sale_id)
                yield None
                return
        connection = self._connection
        renewing = asyncio.create_task(self._renew(keys, token))
        try:
            since = milliseconds(now - IN_FLIGHT)
            ids = await self._twice("ZRANGEBYSCORE", keys.pending, since, "+inf")
            yield Loading(token, connection, await self._claims(keys, ids), at_once)
        finally:
            renewing.cancel()
            await self._run(UNLOCK, (keys.loading,), (token,))

    async def write(
        self, loading: Loading, image: SaleImage, in_flight: Sequence[Claim], now: datetime, *, sure: bool
    ) -> bool:
        """Replace what Redis has of a sale by its rows and the claims in flight, and deal again.

        False when the loading was overtaken: the sale changed meanwhile, or Redis did, and it has to be loaded once
        more. Until it is `sure`, Redis may not know everybody who bought.
        """
        keys = Keys(image.sale_id)
        merged = await asyncio.to_thread(merge, image, in_flight)
        for commands in pack(keys, image, merged, now, sure=sure and loading.at_once):
            written = await self._run(WRITE, (keys.loading,), (loading.token, LOADING_MS, *_flat(commands)))
            if not written or loading.connection != self._connection:
                return False
        self._vouched.add(image.sale_id)
        return True

    async def _renew(self, keys: Keys, token: str) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(DealerUnavailable):
                await self._run(WRITE, (keys.loading,), (token, LOADING_MS))

    async def _ask_known(self, members: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether members, named with a sale, ever had an order in it."""
        known: dict[tuple[str, str], bool] = {}
        for sale_id in {sale_id for sale_id, _ in members}:
            keys, ids = Keys(sale_id), [member_id for named, member_id in members if named == sale_id]
            told = await self._run(KNOWN, (keys.terms, keys.purchases, keys.former), tuple(ids))
            known |= {(sale_id, member_id): bool(one) for member_id, one in zip(ids, told, strict=True)}
        return [known[member] for member in members]

    def _is_doubtful(self, sale_id: str) -> bool:
        """Whether Redis may not know everybody who bought in a sale."""
        return (self._doubtful and sale_id not in self._vouched) or sale_id in self.sold_without

    async def _greet(self, send: Send) -> None:
        """A new connection may lead to another server: restarted with older data, or a stale replica."""
        self._connection += 1
        noted = await send("HGET", WATCH_KEY, "server")
        self._doubtful = noted is None or noted.decode() != _server(await send("INFO"))
        self._vouched.clear()
        self.sold_out.clear()

    async def _claims(self, keys: Keys, ids: list[bytes]) -> list[Claim]:
        claims = []
        for some in chunks(ids):
            packed = await self._twice("HMGET", keys.claims, *some)
            found = [(id_, claim) for id_, claim in zip(some, packed, strict=True) if claim is not None]
            if len(found) < len(some):
                gone = set(some) - {id_ for id_, _ in found}
                await self._twice("ZREM", keys.pending, *gone)
            claims += [Claim.unpacked(id_, claim) for id_, claim in found]
        return claims

    async def _run(self, script: Script, keys: tuple[str, ...], arguments: tuple[Part, ...]) -> Any:
        """Run a script; every one of them may run twice."""
        try:
            return await self._twice("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except DealerUnavailable as error:
            if not isinstance(error.__cause__, ResponseError) or not str(error.__cause__).startswith("NOSCRIPT"):
                raise
        return await self._twice("EVAL", script.text, len(keys), *keys, *arguments)

    async def _twice(self, *parts: Part) -> Any:
        """Send an idempotent command, and once more when its answer was lost."""
        try:
            return await self.pipe.call(*parts)
        except OSError:
            return await self._once(*parts)
        except RedisError as error:
            raise DealerUnavailable from error

    async def _once(self, *parts: Part) -> Any:
        try:
            return await self.pipe.call(*parts)
        except (RedisError, OSError) as error:
            raise DealerUnavailable from error

    async def _all(self, commands: list[tuple[Part, ...]]) -> list[Any]:
        try:
            return await self.pipe.calls(commands)
        except (RedisError, OSError) as error:
            raise DealerUnavailable from error


def _flat(commands: Iterable[tuple[Part, ...]]) -> Iterator[Part]:
    for command in commands:
        yield len(command)
        yield from command


def _server(info: bytes) -> str:
    told = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    return f"{told['run_id']} {told['evicted_keys']}"


def _or_empty(number: int | None) -> Part:
    return "" if number is None else number


def _admission_refusal(verdict: str, rest: list[bytes]) -> KaituanError:
    match verdict:
        case "device_limit":
            return DeviceLimit(limit=int(rest[0]))
        case "address_limit":
            return AddressLimit(limit=int(rest[0]))
        case "proof_used":
            return ProofUsed()
    return ProofMissing()


def _refusal(verdict: str, rest: list[bytes]) -> KaituanError:
    detail = int(rest[0]) if rest else 0
    match verdict:
        case "sale_not_open":
            return SaleNotOpen(opens_at=datetime.fromtimestamp(detail / 1000, UTC).isoformat())
        case "sold_out":
            return SoldOut(left=detail)
        case "member_limit":
            return MemberLimit(limit=detail)
    return SIMPLE_REFUSALS[verdict]()
