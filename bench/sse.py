"""The live yardstick: server-sent events as FastAPI's documentation teaches them.

Every client is an async generator that waits for the shared change and yields it; FastAPI writes it out for each.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI, status
from fastapi.sse import EventSourceResponse

from app.schemas.groups import Change
from bench.answers import CHANGE, frozen

app = FastAPI(lifespan=frozen)


class Board:
    """The last change, and the word that there is a new one."""

    def __init__(self) -> None:
        self.change = CHANGE
        self.changed = asyncio.Event()


board = Board()


@app.post("/changes", status_code=status.HTTP_201_CREATED)
async def post_change(change: Change) -> Change:
    board.change = change
    board.changed.set()
    board.changed = asyncio.Event()
    return change


@app.get("/v1/groups/{group_id}/live", response_class=EventSourceResponse)
async def watch_group(group_id: str) -> AsyncIterator[Change]:  # noqa: ARG001 - there is one group
    while True:
        changed = board.changed
        yield board.change
        await changed.wait()
