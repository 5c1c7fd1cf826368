"""Watching a group fill: by server-sent events, and by long poll."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

import pytest

from app.routers.problems import BODY_LIMIT_BYTES
from tests.http.refusals import check_refusal, unchanged
from tests.http.watchers import FOREVER_SECONDS, Stream, joined, opened, poll, until_listened, watching
from tests.service import Service


async def test_snapshot_first_then_every_change_until_the_end(service: Service) -> None:
    sale, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with watching(service, group_id) as stream:
        [snapshot] = await stream.take(1)
        assert snapshot.type == "snapshot"
        assert (snapshot.data["held"], snapshot.data["paid"], snapshot.data["left"]) == (1, 0, 2)
        guests = [await joined(service, sale, group_id, name) for name in ("alice", "欧阳娜娜")]
        seen = await stream.take(3)
        assert [(event.type, event.data["seat"]) for event in seen] == [
            ("seat.held", 2),
            ("seat.held", 3),
            ("group.filled", None),
        ]
        for member, order_id in [(leader, claim["order"]["id"]), *guests]:
            await member.pay(order_id)
        seen += await stream.rest()
    assert [event.type for event in seen[3:]] == ["seat.paid"] * 3 + ["group.succeeded", "end"]
    assert [event.data["seat"] for event in seen[3:6]] == [1, 2, 3]
    assert (seen[-1].id, seen[-1].data) == (None, {"state": "succeeded"})
    ids = [snapshot.id or 0, *(event.id or 0 for event in seen[:-1])]
    assert ids == sorted(set(ids))
    assert [event.data["id"] for event in seen[:-1]] == ids[1:]
    last = seen[-2].data["group"]
    assert (last["state"], last["held"], last["paid"], last["left"]) == ("succeeded", 0, 3, 0)


async def test_names_are_masked_for_everybody_who_watches(service: Service) -> None:
    sale, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with watching(service, group_id) as stream:
        [snapshot] = await stream.take(1)
        await joined(service, sale, group_id, "欧阳娜娜")
        [held] = await stream.take(1)
    assert [seat["name"] for seat in held.data["group"]["members"]] == ["L***e", "欧**娜"]
    polled = await leader.get(f"/v1/groups/{group_id}/changes?after=0")
    for text in (json.dumps(snapshot.data), json.dumps(held.data, ensure_ascii=False), polled.text):
        assert "leader" not in text.replace("leader_name", "").replace('"leader":', "").replace(
            "leader_changed", ""
        )
        assert "欧阳娜娜" not in text
        assert leader.id not in text
    assert [seat["name"] for seat in (await leader.get(f"/v1/groups/{group_id}")).json()["members"]] == [
        "Leonore",
        "欧阳娜娜",
    ]


async def test_after_a_cut_come_exactly_the_changes_that_were_missed(service: Service) -> None:
    sale, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with watching(service, group_id) as stream:
        await stream.take(1)
        member, order_id = await joined(service, sale, group_id)
        [known] = await stream.take(1)

    assert (await member.post(f"/v1/orders/{order_id}/cancel")).status_code == 200
    await joined(service, sale, group_id)
    await leader.pay(claim["order"]["id"])
    async with watching(service, group_id, known.id) as stream:
        missed = await stream.take(3)
        assert [event.type for event in missed] == ["seat.released", "seat.held", "seat.paid"]
        await joined(service, sale, group_id)
        missed += await stream.take(2)
    assert [event.type for event in missed[3:]] == ["seat.held", "group.filled"]

    # From every point of the way the same story goes on.
    everything = (await poll(service, group_id, after=0))["changes"]
    assert [change["id"] for change in everything[-5:]] == [event.id for event in missed]
    for place in range(len(everything)):
        async with watching(service, group_id, everything[place]["id"]) as stream:
            rest = await stream.take(len(everything) - place - 1) if place < len(everything) - 1 else []
        assert [event.id for event in rest] == [change["id"] for change in everything[place + 1 :]]


async def test_stream_of_a_group_that_is_over_ends_at_once(service: Service) -> None:
    _, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    before = (await poll(service, group_id))["after"]
    assert (await leader.post(f"/v1/orders/{claim['order']['id']}/cancel")).status_code == 200
    async with watching(service, group_id) as stream:
        assert [event.type for event in await stream.rest()] == ["snapshot", "end"]
    async with watching(service, group_id, before) as stream:
        assert [event.type for event in await stream.rest()] == ["seat.released", "group.failed", "end"]
    newest = (await poll(service, group_id))["after"]
    async with watching(service, group_id, newest) as stream:
        assert [(event.type, event.data) for event in await stream.rest()] == [("end", {"state": "failed"})]


async def test_deadline_ends_the_stream(service: Service) -> None:
    sale, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    await joined(service, sale, group_id)
    await leader.pay(claim["order"]["id"])
    async with watching(service, group_id) as stream:
        await stream.take(1)
        service.clock.advance(3601)
        await service.tick()
        seen = await stream.rest()
    assert {event.type for event in seen[:-1]} == {"group.failed", "seat.released"}
    assert [event.data["seat"] for event in seen if event.type == "seat.released"] in ([1, 2], [2, 1])
    assert (seen[-1].type, seen[-1].data) == ("end", {"state": "failed"})
    assert seen[-2].data["group"]["fail_reason"] == "deadline"


async def test_everybody_sees_the_same(service: Service) -> None:
    sale, leader, claim = await opened(service, group_size=5)
    group_id = claim["group"]["id"]

    async def watch() -> list[tuple[int | None, str]]:
        async with watching(service, group_id) as stream:
            return [(event.id, event.type) async for event in stream]

    async def wait() -> list[tuple[int | None, str]]:
        seen: list[tuple[int | None, str]] = []
        found = await poll(service, group_id)
        while not found["final"]:
            found = await poll(service, group_id, after=found["after"], wait=FOREVER_SECONDS)
            seen += [(change["id"], change["type"]) for change in found["changes"]]
        return seen

    watchers = [asyncio.create_task(one()) for one in [watch] * 4 + [wait] * 4]
    await until_listened(service, group_id, len(watchers))
    known = (await poll(service, group_id))["after"]
    guests = await asyncio.gather(*(joined(service, sale, group_id) for _ in range(4)))
    for member, order_id in [(leader, claim["order"]["id"]), *guests]:
        await member.pay(order_id)
    async with asyncio.timeout(FOREVER_SECONDS):
        stories = await asyncio.gather(*watchers)
    changes = (await poll(service, group_id, after=known))["changes"]
    types = [*["seat.held"] * 4, "group.filled", *["seat.paid"] * 5, "group.succeeded"]
    assert [change["type"] for change in changes] == types
    everything = [(change["id"], change["type"]) for change in changes]
    assert stories == [[(known, "snapshot"), *everything, (None, "end")]] * 4 + [everything] * 4


async def test_leader_who_leaves_hands_over(service: Service) -> None:
    sale, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    await joined(service, sale, group_id, "second")
    async with watching(service, group_id) as stream:
        await stream.take(1)
        assert (await leader.post(f"/v1/orders/{claim['order']['id']}/cancel")).status_code == 200
        seen = await stream.take(2)
    assert {(event.type, event.data["seat"]) for event in seen} == {
        ("seat.released", 1),
        ("group.leader_changed", 2),
    }
    assert [(seat["number"], seat["leader"]) for seat in seen[-1].data["group"]["members"]] == [(2, True)]


async def test_poll_without_after_is_the_group_as_it_is(service: Service) -> None:
    sale, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    found = await poll(service, group_id, wait=FOREVER_SECONDS)
    assert (found["changes"], found["final"], found["group"]["left"]) == ([], False, 2)
    await joined(service, sale, group_id)
    later = await poll(service, group_id, after=found["after"])
    assert [(change["type"], change["seat"]) for change in later["changes"]] == [("seat.held", 2)]
    assert later["after"] == later["changes"][-1]["id"] > found["after"]
    assert later["group"] == later["changes"][-1]["group"]


async def test_poll_that_does_not_wait_brings_what_there_is(service: Service) -> None:
    _, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    known = (await poll(service, group_id))["after"]
    for query in ({"wait": 0}, {}, {"wait": 0.01}):
        async with unchanged(service):
            found = await poll(service, group_id, after=known, **query)
        assert (found["changes"], found["after"], found["final"]) == ([], known, False)
    whole = await poll(service, group_id, after=0)
    assert [change["type"] for change in whole["changes"]] == ["group.opened", "seat.held"]


async def test_waiting_poll_wakes_when_something_happens(service: Service) -> None:
    sale, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    known = (await poll(service, group_id))["after"]
    waiting = asyncio.create_task(poll(service, group_id, after=known, wait=FOREVER_SECONDS))
    await until_listened(service, group_id)
    assert not waiting.done()
    await joined(service, sale, group_id)
    found = await waiting
    assert [(change["type"], change["seat"]) for change in found["changes"]] == [("seat.held", 2)]
    assert found["after"] > known


async def test_waiting_poll_hears_nothing_of_other_groups(service: Service) -> None:
    sale, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    known = (await poll(service, group_id))["after"]
    waiting = asyncio.create_task(poll(service, group_id, after=known, wait=FOREVER_SECONDS))
    await until_listened(service, group_id)
    assert (await (await service.member()).open(sale)).status_code == 201
    assert (await poll(service, group_id, after=known))["changes"] == []
    assert not waiting.done()
    await joined(service, sale, group_id)
    assert len((await waiting)["changes"]) == 1


async def test_poll_of_a_group_that_is_over_does_not_wait_for_more(service: Service) -> None:
    _, leader, claim = await opened(service)
    group_id = claim["group"]["id"]
    assert (await leader.post(f"/v1/orders/{claim['order']['id']}/cancel")).status_code == 200
    whole = await poll(service, group_id, after=0, wait=FOREVER_SECONDS)
    assert [change["type"] for change in whole["changes"]][-2:] == ["seat.released", "group.failed"]
    again = await poll(service, group_id, after=whole["after"], wait=FOREVER_SECONDS)
    assert (again["changes"], again["final"]) == ([], True)


async def test_change_whose_word_was_lost_is_seen(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sale, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    known = (await poll(service, group_id))["after"]
    waiting = asyncio.create_task(poll(service, group_id, after=known, wait=FOREVER_SECONDS))
    await until_listened(service, group_id)

    async def say_nothing(_group_ids: Iterable[str]) -> None:
        pass

    monkeypatch.setattr(service.state.live, "announce", say_nothing)
    await joined(service, sale, group_id)
    assert [(change["type"], change["seat"]) for change in (await waiting)["changes"]] == [("seat.held", 2)]


async def test_who_stops_watching_is_forgotten(service: Service) -> None:
    sale, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with watching(service, group_id) as stream:
        await stream.take(1)
        await until_listened(service, group_id)
    await until_listened(service, group_id, 0)
    await joined(service, sale, group_id)


async def test_an_id_from_the_future_begins_anew(service: Service) -> None:
    """A client remembers an id of a database that was set back."""
    sale, _, claim = await opened(service)
    group_id = claim["group"]["id"]
    async with watching(service, group_id, after=2**53) as stream:
        (snapshot,) = await stream.take(1)
        assert snapshot.type == "snapshot"
    path = f"/v1/groups/{group_id}/changes"
    found = (await service.http.get(path, params={"after": 2**53})).json()
    assert (found["changes"], found["after"]) == ([], snapshot.id)
    await joined(service, sale, group_id)
    found = (await service.http.get(path, params={"after": found["after"]})).json()
    assert [change["type"] for change in found["changes"]] == ["seat.held"]


async def test_what_becomes_of_an_order_later_is_no_change_of_its_group(service: Service) -> None:
    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opening = (await leader.open(sale)).json()
    joining = (await friend.join(sale, opening["group"]["id"])).json()
    await leader.pay(opening["order"]["id"])
    await friend.pay(joining["order"]["id"])
    path = f"/v1/groups/{opening['group']['id']}/changes"
    before = (await service.http.get(path, params={"after": 0})).json()
    assert (before["final"], before["changes"][-1]["type"]) == (True, "group.succeeded")
    reply = await service.ops("POST", f"orders/{opening['order']['id']}/refund", **{"idempotency-key": "x"})
    assert reply.status_code == 200
    after = (await service.http.get(path, params={"after": before["after"]})).json()
    assert (after["changes"], after["final"], after["group"]["left"]) == ([], True, 0)
    assert after["group"]["leader_name"] == before["group"]["leader_name"]


async def test_stream_outlives_a_body_that_never_ends(service: Service) -> None:
    sale, _, claim = await opened(service)
    group_id, joining = claim["group"]["id"], asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT_BYTES // 1024 + 2):
            yield b" " * 1024
        joining.set()

    async with asyncio.timeout(FOREVER_SECONDS):
        path = f"/v1/groups/{group_id}/live"
        async with service.http.stream("GET", path, content=body()) as reply:
            stream = Stream(reply)
            assert [event.type for event in await stream.take(1)] == ["snapshot"]
            await joining.wait()
            await joined(service, sale, group_id)
            assert [event.type for event in await stream.take(1)] == ["seat.held"]


async def test_group_there_is_not(service: Service) -> None:
    unknown = f"/v1/groups/grp_{'0' * 32}"
    for path in (f"{unknown}/live", f"{unknown}/changes", f"{unknown}/changes?after=0&wait=30"):
        async with unchanged(service):
            check_refusal(await service.http.get(path), "group_not_found")
