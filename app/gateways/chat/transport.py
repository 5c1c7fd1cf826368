"""The way to the chat platforms: to a platform's own hosts and nowhere else, without redirects and without proxies.

The secrets of many platforms are part of an address, so addresses are not logged.
"""

import logging
from collections.abc import Collection
from typing import Any

import httpx

from app.gateways.chat.platform import ChatRefused

TIMEOUT_SECONDS = 10


class ChatHttp:
    """Connections to all platforms. `stand_in_url` is where stand-ins play them, in development and tests."""

    def __init__(self, stand_in_url: str = "", transport: httpx.AsyncBaseTransport | None = None) -> None:
        logging.getLogger("httpx").addFilter(_WITHOUT_ADDRESSES)
        self._transport = transport or httpx.AsyncHTTPTransport()
        self._stand_in_url = stand_in_url.rstrip("/")

    def to(self, hosts: Collection[str]) -> httpx.AsyncClient:
        """A client for one platform, which is cheap to make and need not be closed. Its requests raise
        `ChatRefused` for any address that is not `https` at one of these hosts.
        """
        limited = _Limited(self._transport, frozenset(hosts), self._stand_in_url)
        return httpx.AsyncClient(transport=limited, timeout=TIMEOUT_SECONDS, trust_env=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


class _Limited(httpx.AsyncBaseTransport):
    """Requests to these hosts go through, or to their stand-ins."""

    def __init__(self, transport: httpx.AsyncBaseTransport, hosts: frozenset[str], stand_in_url: str) -> None:
        self._transport = transport
        self._hosts = hosts
        self._stand_in_url = stand_in_url

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme != "https" or url.host not in self._hosts or url.port is not None or url.userinfo:
            raise ChatRefused("an address that is not the platform's")
        if not self._stand_in_url:
            return await self._transport.handle_async_request(request)
        aside = httpx.URL(f"{self._stand_in_url}/{url.host}{url.raw_path.decode('ascii')}")
        headers = httpx.Headers(request.headers.raw)
        headers["host"] = aside.netloc.decode("ascii")
        return await self._transport.handle_async_request(
            httpx.Request(
                request.method, aside, headers=headers, stream=request.stream, extensions=request.extensions
            )
        )


class _WithoutAddresses(logging.Filter):
    """Of an address that is logged only the host is left."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_host(argument) for argument in record.args)
        return True


def _host(argument: Any) -> Any:
    return f"{argument.scheme}://{argument.host}/…" if isinstance(argument, httpx.URL) else argument


_WITHOUT_ADDRESSES = _WithoutAddresses()
