"""Requests to the addresses of others: sent only where the address that was checked is the one connected to.

The name is resolved, every address it has is checked, and the connection is made to one of these; the name is used
for TLS and Host alone. No redirect is followed, no proxy is asked, no cookie is kept.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

import httpcore
import httpx

from app.domain.deliveries import MAX_ANSWER
from app.domain.endpoints import Network, Target, may_connect

TIMEOUT_SECONDS = 15
CONNECT_SECONDS = 5
"""For each address of a name."""
CONNECTIONS, IDLE_CONNECTIONS, IDLE_SECONDS = 200, 50, 30
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefused(Exception):
    """A name leads, perhaps among others, to an address that nothing is sent to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status with the beginning of the body, or an error."""

    status: int | None
    error: str | None
    body: str
    retry_after: str | None
    duration_ms: int


class Webhooks:
    """Sends requests to public addresses, and to those of the networks that are listed."""

    def __init__(self, networks: Collection[Network]) -> None:
        self.backend = _CheckedBackend(networks)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=CONNECTIONS,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=self.backend,
        )

    async def post(self, target: Target, headers: dict[str, str], body: bytes) -> Answer:
        """Send a body, and read up to `MAX_ANSWER` bytes of the answer; never for longer than `TIMEOUT_SECONDS`."""
        began, status, error, retry_after, read = monotonic(), None, None, None, b""
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._pool.stream(
                    "POST", url, headers=[("host", target.authority), *headers.items()], content=body
                ) as reply,
            ):
                status, retry_after = reply.status, _header(reply, b"retry-after")
                async for part in reply.aiter_stream():
                    read += part
                    if len(read) >= MAX_ANSWER:
                        break
        except (TimeoutError, httpcore.TimeoutException):
            error = "no answer in time"
        except AddressRefused:
            error = "leads to an address that nothing is sent to"
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, UnicodeError) as failure:
            error = f"{type(failure).__name__}: {failure}".partition("\n")[0][:200]
        return Answer(
            status=status,
            error=error if status is None else None,
            body=_printable(read[:MAX_ANSWER]),
            retry_after=retry_after,
            duration_ms=round((monotonic() - began) * 1000),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to what it has checked."""

    def __init__(self, networks: Collection[Network]) -> None:
        self.resolve: Resolve = _resolve
        self._networks = networks
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self.resolve(host, port)
        if not all(may_connect(address, self._networks) for address in addresses):
            raise AddressRefused
        for address in addresses[:-1]:
            try:
                return await self._sockets.connect_tcp(
                    address, port, CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._sockets.connect_tcp(addresses[-1], port, CONNECT_SECONDS, local_address, socket_options)


async def _resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name. Raises `OSError` when it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _header(reply: httpcore.Response, wanted: bytes) -> str | None:
    for name, value in reply.headers:
        if name.lower() == wanted:
            return value.decode("latin-1")
    return None


def _printable(body: bytes) -> str:
    """A text that any database takes, whatever was sent."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for letter in body.decode(errors="replace")
    )
