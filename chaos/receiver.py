"""A merchant's receiver of webhooks: it notes what it accepts, and does not accept everything."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.operators import Scope
from app.services.operators import create_key
from bench.servers import free_port
from chaos.ledger import Heard, Ledger
from chaos.processes import RECEIVER, World

TYPES = ["refund.created", "refund.failed", "refund.submitted", "refund.succeeded"]
"""What it wants to hear of: a refund has several events, which have to arrive in their order."""
IS_WANTED = f"type IN ({', '.join(map(repr, TYPES))})"
"""The same, of a row of events."""
FAILING = 0.1
"""Share of the events that it answers with 500, once."""


class Receiver:
    """What it accepts is in the ledger, in its order."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.port = free_port()
        self.secret = ""
        self.forged = 0
        """Requests that were not signed as they should be."""
        self.requests = 0
        self._ledger = ledger
        self._random = random.Random(seed)
        self._failed: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://{RECEIVER}:{self.port}/"

    def app(self) -> FastAPI:
        """It, as an application."""
        app = FastAPI()

        @app.post("/")
        async def receive(request: Request) -> Response:
            return Response(status_code=self.answer(await request.body(), dict(request.headers)))

        return app

    def answer(self, body: bytes, headers: dict[str, str]) -> int:
        """Take an event, or not. Returns the status to answer with."""
        self.requests += 1
        try:
            event = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return httpx.codes.UNAUTHORIZED
        id_ = headers["webhook-id"]
        if id_ not in self._failed and self._random.random() < FAILING:
            self._failed.add(id_)
            return httpx.codes.INTERNAL_SERVER_ERROR
        self._ledger.heard.append(Heard(int(id_), event))
        return httpx.codes.NO_CONTENT

    async def subscribe(self, world: World) -> None:
        """Have an operator enter its address at the service."""
        async with world.rows.open() as state:
            key = await create_key(state, "chaos", [Scope.EVENTS])
        async with httpx.AsyncClient(base_url=world.apis[0].url, headers={"x-api-key": key}) as http:
            reply = await http.post("/v1/ops/endpoints", json={"url": self.url, "types": TYPES})
        reply.raise_for_status()
        self.secret = reply.json()["secret"]


@asynccontextmanager
async def receiving(ledger: Ledger, seed: int) -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver(ledger, seed)
    server = uvicorn.Server(
        uvicorn.Config(receiver.app(), host=RECEIVER, port=receiver.port, log_level="error", access_log=False)
    )
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield receiver
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving
