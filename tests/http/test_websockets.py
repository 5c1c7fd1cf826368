"""Watching by WebSocket, as mini-programs do: what a stream of server-sent events brings."""

import json
import logging
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.routers.live import MESSAGES_AT_ONCE
from tests.http.watchers import joined, opened, talking, until_listened, watching
from tests.service import BARGAIN, Service

UNKNOWN = "0" * 32


async def heard(socket: ClientConnection) -> list[dict[str, Any]]:
    """Everything until it is closed."""
    return [json.loads(text) async for text in socket]


async def test_a_websocket_says_what_a_stream_says(service: Service) -> None:
    sale, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with watching(service, group_id) as stream, talking(service, f"/v1/groups/{group_id}/live") as socket:
        guests = [await joined(service, sale, group_id, name) for name in ("alice", "bob")]
        for member, order_id in [(leader, claim["order"]["id"]), *guests]:
            await member.pay(order_id)
        said, streamed = await heard(socket), await stream.rest()
    assert [(one["id"], one["event"], one["data"]) for one in said] == [
        (event.id, event.type, event.data) for event in streamed
    ]
    assert (said[0]["event"], said[-1]["event"], said[-1]["id"]) == ("snapshot", "end", None)
    assert socket.close_code == 1000


async def test_after_a_cut_come_the_changes_that_were_missed(service: Service) -> None:
    sale, _, claim = await opened(service)
    path = f"/v1/groups/{claim['group']['id']}/live"
    async with talking(service, path) as socket:
        snapshot = json.loads(await socket.recv())
    await joined(service, sale, claim["group"]["id"])
    async with talking(service, f"{path}?after={snapshot['id']}") as socket:
        missed = json.loads(await socket.recv())
    assert (missed["event"], missed["data"]["seat"]) == ("seat.held", 2)


async def test_a_bargain_is_watched_as_well(service: Service) -> None:
    sale = await service.sale(**BARGAIN)
    owner, friend = await service.members(2)
    bargain = await owner.bargain(sale)
    async with talking(service, f"/v1/bargains/{bargain['id']}/live") as socket:
        assert json.loads(await socket.recv())["event"] == "snapshot"
        assert (await friend.cut(bargain["id"])).is_success
        assert json.loads(await socket.recv())["event"] == "bargain.cut"


async def test_who_leaves_is_forgotten(service: Service) -> None:
    _, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with talking(service, f"/v1/groups/{group_id}/live") as socket:
        await socket.recv()
        await until_listened(service, group_id)
    await until_listened(service, group_id, 0)


async def test_who_talks_without_end_is_sent_away(service: Service) -> None:
    _, _, claim = await opened(service)
    async with talking(service, f"/v1/groups/{claim['group']['id']}/live") as socket:
        with suppress(ConnectionClosed):
            for _ in range(2 * MESSAGES_AT_ONCE):
                await socket.send("are you there?")
        await socket.wait_closed()
        assert socket.close_code == 1008


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v1/groups/grp_{UNKNOWN}/live", 404, "group_not_found"),
        (f"/v1/bargains/bgn_{UNKNOWN}/live", 404, "bargain_not_found"),
        ("/v1/groups/nothing/live", 422, "invalid_request"),
        (f"/v1/groups/grp_{UNKNOWN}/live?after=x", 422, "invalid_request"),
    ],
)
async def test_refusals_are_problems_and_nobodys_error(
    service: Service, path: str, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "uvicorn.error"), pytest.raises(InvalidStatus) as refused:
        async with talking(service, path):
            pass
    reply = refused.value.response
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(reply.body)["code"] == code
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
