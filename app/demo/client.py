"""The service as its members see it: HTTP, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import httpx

AT_ONCE = 20
"""Requests under way at the same time."""
PATIENCE_SECONDS = 20.0
"""How long a request is repeated while the service cannot answer it."""
TRANSIENT = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
Json = dict[str, Any]


class Refused(Exception):
    """The service said no, and why."""

    def __init__(self, status: int, problem: Json, request: str, *, repeated: bool) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", "no code"))
        self.repeated = repeated
        super().__init__(f"{request} was answered {status} {self.code}")


@dataclass(slots=True)
class Service:
    """One running service, how often it asked for patience, and when it was last heard."""

    http: httpx.AsyncClient
    gate: asyncio.Semaphore
    heard_at: float
    put_off: int = 0

    @property
    def is_away(self) -> bool:
        """Nothing was heard of it for longer than anybody waits."""
        return asyncio.get_running_loop().time() - self.heard_at > PATIENCE_SECONDS

    async def call(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        key: str | None = None,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Json:
        """The answer to a request. A 503 or a lost connection leaves the outcome open, so the same request is
        repeated with the same Idempotency-Key. Raises `Refused`, `httpx.TransportError`.
        """
        sent = {"authorization": f"Bearer {token}"} if token else {}
        sent |= {"idempotency-key": key} if key else {}
        sent |= headers or {}
        clock = asyncio.get_running_loop().time
        give_up_at, repeated = clock() + patience, False
        while True:
            pause = 1.0
            try:
                async with self.gate:
                    reply = await self.http.request(method, url, headers=sent, json=body)
            except httpx.TransportError:
                if clock() >= give_up_at or self.is_away:
                    raise
            else:
                self.heard_at = clock()
                if reply.status_code not in TRANSIENT or clock() >= give_up_at:
                    return _read(reply, repeated=repeated)
                pause = _retry_after(reply)
            self.put_off += 1
            repeated = True
            await asyncio.sleep(pause)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who logged in, and what they do."""

    service: Service
    name: str
    token: str = field(repr=False)

    async def open_group(self, sale_id: str, claim: Json, key: str) -> Json:
        """Open a group in a sale. Raises `Refused`."""
        return await self._post(f"/v1/sales/{sale_id}/groups", claim, key)

    async def join(self, group_id: str, claim: Json, key: str) -> Json:
        """Take a seat; with the key of an earlier claim, ask for its answer again. Raises `Refused`."""
        return await self._post(f"/v1/groups/{group_id}/seats", claim, key)

    async def invite(self, group_id: str, channel: str) -> Json:
        """Make a link to a group, to share on a channel. Raises `Refused`."""
        return await self._post("/v1/invites", {"group_id": group_id, "channel": channel}, None)

    async def tap(self, invite_url: str) -> Json:
        """Open somebody's link. Raises `Refused`."""
        return await self.service.call("GET", _path(invite_url), headers={"accept": "application/json"})

    async def start_payment(self, order_id: str) -> Json:
        """Ask where to pay. Raises `Refused`."""
        return await self._post(f"/v1/orders/{order_id}/payments", {"provider": "sandbox"}, token_hex(8))

    async def pay(self, pay_url: str, **wish: object) -> None:
        """Pay at the sandbox cashier, and let it misbehave as wished. Raises `Refused`."""
        await self._once("paid", self.service.call("POST", _path(pay_url), body=wish))

    async def cancel(self, order_id: str) -> None:
        """Leave before paying. Raises `Refused`."""
        await self._once("cancelled", self._post(f"/v1/orders/{order_id}/cancel", None, None))

    async def _once(self, done: str, call: Coroutine[Any, Any, Json]) -> None:
        """A call that takes no key: when its first answer was lost, "done already" is the answer."""
        try:
            await call
        except Refused as refusal:
            if not (refusal.repeated and refusal.problem.get("state") == done):
                raise

    async def _post(self, path: str, body: Json | None, key: str | None) -> Json:
        return await self.service.call("POST", path, token=self.token, key=key, body=body)


async def log_in(service: Service, code: str, name: str) -> Member:
    """Log a member in as the development provider allows. Raises `Refused`."""
    body = {"provider": "dev", "code": code, "name": name}
    session = await service.call("POST", "/v1/sessions", body=body)
    return Member(service, name, session["access_token"])


@asynccontextmanager
async def open_service(url: str, at_once: int = AT_ONCE) -> AsyncIterator[Service]:
    """The service at this address, for the time of the context. Raises `httpx.InvalidURL`."""
    async with httpx.AsyncClient(
        base_url=url,
        # Longer than a long poll takes.
        timeout=httpx.Timeout(30, connect=5),
        # Let idle connections go before the server does, or a request would now and then meet a closed one.
        limits=httpx.Limits(max_connections=None, keepalive_expiry=2),
        trust_env=False,
    ) as http:
        yield Service(http, asyncio.Semaphore(at_once), asyncio.get_running_loop().time())


def _path(link: str) -> str:
    """Links name the address members know, e.g. one outside a container; this run keeps to its own."""
    return httpx.URL(link).raw_path.decode()


def _read(reply: httpx.Response, *, repeated: bool) -> Json:
    try:
        found = reply.json()
    except ValueError:
        found = None
    if reply.is_success and isinstance(found, dict):
        return found
    problem = found if isinstance(found, dict) else {}
    raise Refused(reply.status_code, problem, f"{reply.request.method} {reply.request.url.path}", repeated=repeated)


def _retry_after(reply: httpx.Response) -> float:
    try:
        return min(max(float(reply.headers["retry-after"]), 0.1), 5.0)
    except (KeyError, ValueError):
        return 1.0
