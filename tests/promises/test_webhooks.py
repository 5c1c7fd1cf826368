"""Events out: every one arrives, in the order of its subject, with the id it has in the feed, whatever happens."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.deliveries import RETRY_AFTER
from app.gateways import webhooks
from app.gateways.webhooks import Webhooks
from app.models import Endpoint, Event
from app.services.transactions import transaction
from app.workers import deliveries, endpoints
from tests.receivers import Receiver, Reply, receiving
from tests.service import Service

DAY = 86_400
LONGER = 1.2
"""So much longer than the table says one waits, and any retry is due."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def endpoint(service: Service, url: str, *types: str) -> dict[str, Any]:
    """A new endpoint, with its secret."""
    reply = await service.ops("POST", "endpoints", {"url": url, "types": list(types)})
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def happen(service: Service, *what: tuple[str, str]) -> list[int]:
    """Have these events happen, each (type, subject) in a transaction of its own; their ids."""
    ids = []
    for type_, subject in what:
        async with transaction(service.state, service.clock()) as work:
            data: dict[str, Any] = {"amount": 4900} if type_ == "order.paid" else {}
            work.record(type_, subject, **data)
        ids.append(work.events[0].id or 0)
    return ids


async def orders(service: Service, count: int, subjects: int = 1) -> list[int]:
    """So many events of orders that take turns."""
    return await happen(service, *[("order.paid", f"ord_{number % subjects}") for number in range(count)])


async def shown(service: Service, made: dict[str, Any]) -> dict[str, Any]:
    reply = await service.ops("GET", f"endpoints/{made['id']}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def delivery(service: Service, made: dict[str, Any], event_id: int) -> dict[str, Any]:
    reply = await service.ops("GET", f"endpoints/{made['id']}/deliveries/{event_id}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def events(service: Service, *types: str) -> list[Event]:
    async with service.state.database.snapshot() as session:
        found = await session.exec(select(Event).order_by(Event.id))  # type: ignore[arg-type]
        return [event for event in found.all() if event.type in types]


def failing(*statuses: int) -> Any:
    """Answers with these, and then with 200."""
    left = list(statuses)
    return lambda _: Reply(left.pop(0)) if left else Reply()


async def work(service: Service) -> None:
    """Line up and send until there is nothing to do."""
    while sum([await job.run_once(service.state, service.clock()) for job in (endpoints, deliveries)]):
        pass


async def pass_time(service: Service, hours: float, step: float = 0.25) -> None:
    """Let time pass while workers run."""
    for _ in range(round(hours / step)):
        service.clock.advance(step * 3600)
        await work(service)


async def test_what_happens_is_sent_once_signed_and_with_its_id(service: Service, receiver: Receiver) -> None:
    before = await orders(service, 1)
    made = await endpoint(service, receiver.url)
    ids = await orders(service, 3)
    await work(service)
    assert [id_ for id_ in receiver.ids if id_ in before + ids] == ids, "and nothing from before"
    for request in receiver.requests:
        event = Webhook(made["secret"]).verify(request.body, request.headers)
        assert event["id"] == request.id
        assert request.headers["content-type"] == "application/json"
    sent = next(request for request in receiver.requests if request.id == ids[0])
    (row,) = [event for event in await events(service, "order.paid") if event.id == ids[0]]
    assert sent.event["type"] == "order.paid"
    assert sent.event["subject"] == row.subject == "ord_0"
    assert sent.event["data"] == {"amount": 4900}
    receiver.requests.clear()
    await work(service)
    assert receiver.requests == []
    told = await delivery(service, made, ids[0])
    (attempt,) = told["attempts"]
    assert told["delivered_at"]
    assert told["next_attempt_at"] is None
    assert (attempt["number"], attempt["status"], attempt["answer"], attempt["error"]) == (1, 200, "ok", None)
    assert await service.violations() == []


async def test_only_types_that_are_wanted_are_sent(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "group.succeeded", "order.paid")
    await happen(service, ("order.held", "ord_1"), ("order.paid", "ord_1"), ("group.succeeded", "grp_1"))
    await work(service)
    assert {request.event["type"] for request in receiver.requests} == {"order.paid", "group.succeeded"}
    await service.ops("PATCH", f"endpoints/{made['id']}", {"types": ["order.held"]})
    await happen(service, ("order.held", "ord_2"), ("order.paid", "ord_2"))
    await work(service)
    assert [request.event["type"] for request in receiver.requests][2:] == ["order.held"]
    assert (await shown(service, made))["types"] == ["order.held"]


async def test_retries_have_the_same_id_and_a_new_signature(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = failing(500, 404, 302)
    (id_,) = await orders(service, 1)
    for wait in (timedelta(0), *RETRY_AFTER[:3]):
        service.clock.advance(wait.total_seconds() * LONGER)
        await work(service)
    assert receiver.ids == [id_] * 4
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) >= 3
    assert len({request.headers["webhook-signature"] for request in receiver.requests}) >= 3
    assert len({request.body for request in receiver.requests}) == 1
    with pytest.raises(WebhookVerificationError, match="too new"):
        Webhook(made["secret"]).verify(receiver.requests[-1].body, receiver.requests[-1].headers)
    told = await delivery(service, made, id_)
    assert [attempt["status"] for attempt in told["attempts"]] == [200, 302, 404, 500]


async def test_a_retry_does_not_come_too_early(service: Service, receiver: Receiver) -> None:
    await endpoint(service, receiver.url, "order.paid")
    receiver.answer = failing(*[500] * 3)
    await orders(service, 1)
    await work(service)
    service.clock.advance(4)
    await work(service)
    assert len(receiver.requests) == 1
    service.clock.advance(2)
    await work(service)
    assert len(receiver.requests) == 2
    service.clock.advance(299)
    await work(service)
    assert len(receiver.requests) == 2
    service.clock.advance(32)
    await work(service)
    assert len(receiver.requests) == 3


async def test_events_of_a_subject_keep_their_order_and_others_go_on(service: Service, receiver: Receiver) -> None:
    await endpoint(service, receiver.url, "order.paid", "group.opened")
    receiver.answer = lambda request: Reply(500 if request.event["subject"] == "ord_0" else 200)
    stuck = await orders(service, 3)
    free = await happen(service, ("group.opened", "grp_1"), ("group.opened", "grp_2"), ("group.opened", "grp_1"))
    await work(service)
    assert sorted(receiver.accepted) == free
    assert [id_ for id_ in receiver.ids if id_ in stuck] == stuck[:1], "the later ones wait"
    receiver.answer = lambda _: Reply()
    service.clock.advance(6)
    await work(service)
    assert receiver.accepted[3:] == stuck
    assert await service.violations() == []


@pytest.mark.parametrize("seed", range(5))
async def test_order_is_kept_by_a_receiver_that_fails_at_random(
    service: Service, receiver: Receiver, seed: int
) -> None:
    chance = random.Random(seed)
    made = await endpoint(service, receiver.url, "order.paid")
    statuses = [200, 200, 200, 500, 503, 302, 404]
    receiver.answer = lambda _: Reply(chance.choice(statuses))
    ids = []
    for _ in range(4):
        ids += await orders(service, 10, subjects=3)
        await asyncio.gather(*[job.run_once(service.state, service.clock()) for job in (endpoints, deliveries) * 2])
        service.clock.advance(chance.choice([0, 6, 400, 4000]))
    statuses[:] = [200]
    await pass_time(service, 30, step=3)
    assert sorted(receiver.accepted) == ids, "each exactly once"
    subjects = {request.id: request.event["subject"] for request in receiver.requests}
    for subject in {*subjects.values()}:
        arrived = [id_ for id_ in receiver.accepted if subjects[id_] == subject]
        assert arrived == sorted(arrived)
        tried = [id_ for id_ in receiver.ids if subjects[id_] == subject]
        assert tried == sorted(tried), "none is tried before the one before it has arrived"
    assert (await shown(service, made))["waiting"] == 0
    assert await service.violations() == []


async def test_a_receiver_that_is_down_for_a_day_gets_everything(service: Service) -> None:
    async with receiving() as receiver:
        made = await endpoint(service, receiver.url, "order.paid")
        early = await orders(service, 2)
        await work(service)
        assert receiver.accepted == early
    missed = []
    for hour in range(24):
        missed += await orders(service, 2, subjects=2 if hour % 2 else 1)
        await pass_time(service, 1, step=0.5)
    assert receiver.accepted == early
    told = await shown(service, made)
    assert told["state"] == "active"
    assert told["failures"] >= 5
    assert told["waiting"] == len(missed)
    assert told["held_until"]
    (last, *_) = (await delivery(service, made, missed[0]))["attempts"]
    assert last["status"] is None
    assert "ConnectError" in last["error"]
    async with receiving(receiver):
        await pass_time(service, 24, step=1)
    arrived = receiver.accepted[2:]
    assert sorted(arrived) == missed, "each once"
    subjects = {request.id: request.event["subject"] for request in receiver.requests}
    for subject in {*subjects.values()}:
        own = [id_ for id_ in arrived if subjects[id_] == subject]
        assert own == sorted(own)
    assert (await shown(service, made))["waiting"] == 0
    assert await service.violations() == []


async def test_one_that_is_down_is_not_asked_for_everything_it_misses(service: Service, receiver: Receiver) -> None:
    await endpoint(service, receiver.url, "order.paid")
    receiver.answer = lambda _: Reply(500)
    await orders(service, 200, subjects=200)
    await work(service)
    asked = len(receiver.requests)
    assert asked < 20
    service.clock.advance(3)
    await work(service)
    assert len(receiver.requests) < asked + 10
    receiver.answer = lambda _: Reply()
    await pass_time(service, 24, step=6)
    assert len(receiver.accepted) == 200
    assert len(set(receiver.accepted)) == 200


async def test_who_hangs_is_cut_off_and_holds_up_nobody(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 600)
    released = asyncio.Event()
    async with receiving() as hanging:
        slow = await endpoint(service, hanging.url, "order.paid")
        await endpoint(service, receiver.url, "order.paid")
        hanging.answer = lambda _: Reply(first=released.wait)
        first = await orders(service, 1)
        await endpoints.run_once(service.state, service.clock())
        working = asyncio.create_task(deliveries.run_once(service.state, service.clock()))
        while not hanging.requests or receiver.accepted != first:
            assert not working.done()
            await asyncio.sleep(0.01)
        second = await orders(service, 1)
        await endpoints.run_once(service.state, service.clock())
        while receiver.accepted != first + second:
            assert not working.done(), "what comes meanwhile is sent as well"
            await asyncio.sleep(0.01)
        assert hanging.accepted == []
        released.set()
        await working
        assert hanging.accepted == first + second
        released.clear()
        monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.2)
        (id_,) = await orders(service, 1)
        await work(service)
        assert (await delivery(service, slow, id_))["attempts"][0]["error"] == "no answer in time"
        monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 600)
        released.set()
        service.clock.advance(6)
        await work(service)
        assert hanging.ids == [*first, *second, id_, id_]


async def test_a_body_that_drips_is_not_waited_for(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 3)
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = lambda _: Reply(200, {"content-length": "1000"}, b"only this")
    (id_,) = await orders(service, 1)
    await work(service)
    (attempt,) = (await delivery(service, made, id_))["attempts"]
    assert (attempt["status"], attempt["answer"]) == (200, "only this")


async def test_of_a_long_answer_the_beginning_is_kept(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = lambda _: Reply(200, {}, b"\x00\xff" + b"x" * 1_000_000)
    (id_,) = await orders(service, 1)
    await work(service)
    (attempt,) = (await delivery(service, made, id_))["attempts"]
    assert attempt["answer"] == "\ufffd\ufffd" + "x" * 1022


async def test_a_redirect_is_a_failure_and_not_followed(service: Service, receiver: Receiver) -> None:
    async with receiving(host="127.0.0.1") as inside:
        made = await endpoint(service, receiver.url, "order.paid")
        receiver.answer = lambda _: Reply(302, {"location": f"http://127.0.0.1:{inside.port}/"})
        (id_,) = await orders(service, 1)
        await work(service)
        assert (await delivery(service, made, id_))["attempts"][0]["status"] == 302
        assert len(receiver.requests) == 1
        assert inside.connections == 0


async def test_a_name_that_leads_elsewhere_on_the_second_look(service: Service, receiver: Receiver) -> None:
    looks = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"], ["127.0.0.2"]]
    backend = service.state.webhooks.backend
    resolve = backend.resolve

    async def turning(_host: str, _port: int) -> list[str]:
        return looks.pop(0)

    backend.resolve = turning
    try:
        async with receiving(Receiver(receiver.port), host="127.0.0.1") as inside:
            made = await endpoint(service, f"http://turning.example:{receiver.port}/hook", "order.paid")
            ids = await orders(service, 2)
            await work(service)
            assert receiver.accepted == ids[:1]
            assert receiver.requests[0].headers["host"] == f"turning.example:{receiver.port}"
            (attempt,) = (await delivery(service, made, ids[1]))["attempts"]
            assert attempt["error"] == "leads to an address that nothing is sent to"
            service.clock.advance(6)
            await work(service)
            assert receiver.accepted == ids[:1], "not even when one of its addresses is right"
            service.clock.advance(331)
            await work(service)
            assert receiver.accepted == ids
            assert inside.connections == 0
    finally:
        backend.resolve = resolve


async def test_gone_disables_at_once_and_enabling_goes_on(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    async with receiving() as other:
        await endpoint(service, other.url, "endpoint.disabled")
        receiver.answer = failing(410)
        ids = await orders(service, 1)
        await work(service)
        ids += await orders(service, 2)
        await work(service)
        assert receiver.ids == ids[:1]
        told = await shown(service, made)
        assert (told["state"], told["disabled_reason"]) == ("disabled", "gone")
        (notice,) = other.requests
        assert (notice.event["subject"], notice.event["data"]) == (made["id"], {"reason": "gone"})
        assert (notice.event["from_state"], notice.event["to_state"]) == ("active", "disabled")
        refused = await service.ops("PATCH", f"endpoints/{made['id']}", {"paused": True})
        assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_refused")
        enabled = await service.ops("PATCH", f"endpoints/{made['id']}", {"paused": False})
        assert (enabled.json()["state"], enabled.json()["disabled_reason"]) == ("active", None)
        await work(service)
        assert receiver.accepted == ids
    assert await service.violations() == []


async def test_the_last_retry_disables_and_nothing_is_lost(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = lambda _: Reply(500)
    ids = await orders(service, 2)
    await work(service)
    for number, wait in enumerate(RETRY_AFTER, start=2):
        assert (await shown(service, made))["state"] == "active"
        service.clock.advance(wait.total_seconds() * LONGER)
        await work(service)
        assert receiver.ids == ids[:1] * number
    told = await shown(service, made)
    assert (told["state"], told["disabled_reason"]) == ("disabled", "failed")
    assert sum(RETRY_AFTER, timedelta()) > timedelta(hours=75)
    await pass_time(service, 48, step=12)
    assert len(receiver.requests) == 10
    receiver.answer = lambda _: Reply()
    ids += await orders(service, 1)
    await service.ops("PATCH", f"endpoints/{made['id']}", {"paused": False})
    await work(service)
    assert receiver.accepted == ids
    assert [event.to_state for event in await events(service, "endpoint.disabled")] == ["disabled"]
    assert await service.violations() == []


@pytest.mark.parametrize("status", [429, 503])
async def test_who_asks_to_wait_is_left_alone(service: Service, receiver: Receiver, status: int) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = lambda _: Reply(status, {"retry-after": "600"})
    await orders(service, 1)
    await work(service)
    await happen(service, ("order.paid", "ord_other"))
    for _ in range(3):
        service.clock.advance(190)
        await work(service)
    assert len(receiver.requests) == 1, "nor is it sent anything else"
    assert (await shown(service, made))["held_until"]
    receiver.answer = lambda _: Reply()
    service.clock.advance(60)
    await work(service)
    assert len(receiver.accepted) == 2


async def test_paused_it_is_sent_nothing_and_misses_nothing(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    path = f"endpoints/{made['id']}"
    assert (await service.ops("PATCH", path, {"paused": True})).json()["state"] == "paused"
    assert (await service.ops("PATCH", path, {"paused": True})).json()["state"] == "paused"
    ids = await orders(service, 3)
    await work(service)
    assert receiver.requests == []
    assert (await service.ops("POST", f"{path}/test")).json()["code"] == "endpoint_refused"
    assert (await service.ops("PATCH", path, {"paused": False})).json()["state"] == "active"
    await work(service)
    assert receiver.accepted == ids
    states = [event.to_state for event in await events(service, "endpoint.paused", "endpoint.enabled")]
    assert states == ["paused", "active"]


async def test_a_new_address_is_tried_at_once(service: Service, receiver: Receiver) -> None:
    async with receiving() as old:
        made = await endpoint(service, old.url, "order.paid")
        old.answer = lambda _: Reply(500)
        ids = await orders(service, 8, subjects=8)
        await work(service)
        assert old.accepted == []
        changed = await service.ops("PATCH", f"endpoints/{made['id']}", {"url": receiver.url})
        assert (changed.json()["failures"], changed.json()["held_until"]) == (0, None)
        await work(service)
        assert sorted(receiver.accepted) == ids


async def test_both_secrets_sign_for_a_day(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    rotated = (await service.ops("POST", f"endpoints/{made['id']}/secret")).json()
    assert rotated["secret"] != made["secret"]
    await orders(service, 1)
    await work(service)
    (request,) = receiver.requests
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(request.body, request.headers)
    assert (await shown(service, made))["old_secret_until"] == rotated["old_secret_until"]
    again = (await service.ops("POST", f"endpoints/{made['id']}/secret")).json()
    await orders(service, 1)
    await work(service)
    request = receiver.requests[-1]
    for secret in (rotated["secret"], again["secret"]):
        Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(request.body, request.headers)
    service.clock.advance(DAY + 1)
    await orders(service, 1)
    await work(service)
    assert len(receiver.requests[-1].headers["webhook-signature"].split()) == 1


async def test_secrets_are_kept_sealed_and_never_shown_again(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url)
    rotated = (await service.ops("POST", f"endpoints/{made['id']}/secret")).json()
    async with service.state.database.snapshot() as session:
        row = await session.get_one(Endpoint, made["id"])
    kept = repr(row)
    listed = (await service.ops("GET", "endpoints")).text + str(await shown(service, made))
    for secret in (made["secret"], rotated["secret"]):
        assert secret.startswith("whsec_")
        assert secret not in kept + listed
        assert secret.removeprefix("whsec_") not in kept + listed


async def test_an_endpoint_whose_secret_cannot_be_read_is_sent_nothing(
    service: Service, receiver: Receiver
) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    async with service.state.database.transaction() as session:
        row = await session.get_one(Endpoint, made["id"])
        row.secret = "v1.sealed-under-another-key"
        session.add(row)
    (id_,) = await orders(service, 1)
    await work(service)
    assert receiver.requests == []
    (attempt,) = (await delivery(service, made, id_))["attempts"]
    assert "rotate it" in attempt["error"]
    await service.ops("POST", f"endpoints/{made['id']}/secret")
    service.clock.advance(6)
    await work(service)
    assert receiver.accepted == [id_]


async def test_a_test_event_goes_to_its_endpoint_alone(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    async with receiving() as other:
        await endpoint(service, other.url)
        await work(service)
        other.requests.clear()
        reply = await service.ops("POST", f"endpoints/{made['id']}/test")
        assert reply.status_code == 202
        await work(service)
        (request,) = receiver.requests
        assert request.id == reply.json()["event_id"]
        assert (request.event["type"], request.event["subject"]) == ("endpoint.tested", made["id"])
        Webhook(made["secret"]).verify(request.body, request.headers)
        assert other.requests == []


async def test_one_is_sent_once_more(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    ids = await orders(service, 3)
    await work(service)
    reply = await service.ops("POST", f"endpoints/{made['id']}/deliveries/{ids[1]}/redeliver")
    assert reply.status_code == 202
    assert (reply.json()["delivered_at"], len(reply.json()["attempts"])) == (None, 1)
    await work(service)
    assert receiver.accepted == [*ids, ids[1]]
    told = await delivery(service, made, ids[1])
    assert [attempt["number"] for attempt in told["attempts"]] == [2, 1]
    assert told["delivered_at"]
    missing = await service.ops("POST", f"endpoints/{made['id']}/deliveries/{ids[2] + 1000}/redeliver")
    assert (missing.status_code, missing.json()["code"]) == (404, "delivery_not_found")
    assert await service.violations() == []


async def test_one_that_waits_for_its_retry_is_tried_at_once(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = failing(500, 500)
    (id_,) = await orders(service, 1)
    await work(service)
    service.clock.advance(6)
    await work(service)
    assert receiver.accepted == []
    await service.ops("POST", f"endpoints/{made['id']}/deliveries/{id_}/redeliver")
    await work(service)
    assert receiver.accepted == [id_]


async def test_everything_since_an_event_or_a_moment_is_sent_once_more(
    service: Service, receiver: Receiver
) -> None:
    never = await happen(service, ("order.held", "ord_0"))
    made = await endpoint(service, receiver.url, "order.paid")
    ids = await orders(service, 4, subjects=2)
    await work(service)
    path = f"endpoints/{made['id']}"
    reply = await service.ops("POST", f"{path}/redeliveries", {"since_event_id": ids[2]})
    assert (reply.status_code, reply.json()["cursor"]) == (202, ids[2] - 1)
    await work(service)
    assert sorted(receiver.accepted) == sorted(ids + ids[2:])
    await service.ops("PATCH", path, {"types": ["order.held", "order.paid"]})
    receiver.accepted.clear()
    await service.ops("POST", f"{path}/redeliveries", {"since_event_id": never[0]})
    await work(service)
    assert sorted(receiver.accepted) == never + ids, "and what it was never sent"
    receiver.accepted.clear()
    service.clock.advance(7200)
    since = service.clock().isoformat()
    late = await orders(service, 3)
    await work(service)
    assert (await service.ops("POST", f"{path}/redeliveries", {"since": since})).status_code == 202
    await work(service)
    assert sorted(receiver.accepted) == sorted(late * 2)
    ahead = await service.ops("POST", f"{path}/redeliveries", {"since_event_id": 2**52})
    assert ahead.json()["cursor"] <= (await events(service, "endpoint.rewound"))[-1].id
    for body in ({}, {"since": since, "since_event_id": 1}):
        refused = await service.ops("POST", f"{path}/redeliveries", body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_terms")
    assert await service.violations() == []


async def test_what_was_removed_is_sent_nothing(service: Service, receiver: Receiver) -> None:
    made = await endpoint(service, receiver.url, "order.paid")
    receiver.answer = lambda _: Reply(500)
    (id_,) = await orders(service, 1)
    await work(service)
    assert (await service.ops("DELETE", f"endpoints/{made['id']}")).status_code == 204
    await orders(service, 1)
    service.clock.advance(6)
    await work(service)
    assert len(receiver.requests) == 1
    for method, path in (
        *(("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("GET", f"/deliveries/{id_}")),
        *(("POST", "/secret"), ("POST", "/test"), ("POST", f"/deliveries/{id_}/redeliver")),
    ):
        reply = await service.ops(method, f"endpoints/{made['id']}{path}")
        assert (reply.status_code, reply.json()["code"]) == (404, "endpoint_not_found"), path
    assert (await service.ops("GET", "endpoints")).json()["items"] == []
    assert await service.violations() == []


async def test_lists_are_read_page_by_page(service: Service, receiver: Receiver) -> None:
    made = [await endpoint(service, receiver.url, "order.paid") for _ in range(3)]
    page = (await service.ops("GET", "endpoints?limit=2")).json()
    assert [item["id"] for item in page["items"]] == [made[2]["id"], made[1]["id"]]
    rest = (await service.ops("GET", f"endpoints?limit=2&after={page['next']}")).json()
    assert ([item["id"] for item in rest["items"]], rest["next"]) == ([made[0]["id"]], None)
    ids = await orders(service, 5)
    await work(service)
    path = f"endpoints/{made[0]['id']}/deliveries"
    page = (await service.ops("GET", f"{path}?limit=3")).json()
    assert [item["event_id"] for item in page["items"]] == ids[:1:-1]
    assert all(len(item["attempts"]) == 1 and item["type"] == "order.paid" for item in page["items"])
    rest = (await service.ops("GET", f"{path}?limit=3&after={page['next']}")).json()
    assert ([item["event_id"] for item in rest["items"]], rest["next"]) == (ids[1::-1], None)


async def test_many_workers_send_each_event_once(service: Service, receiver: Receiver) -> None:
    for _ in range(2):
        await endpoint(service, receiver.url, "order.paid")
    ids = await orders(service, 40, subjects=10)
    await asyncio.gather(*[job.run_once(service.state, service.clock()) for job in (endpoints, deliveries) * 4])
    await work(service)
    assert sorted(receiver.ids) == sorted(ids * 2)
    assert await service.violations() == []


async def test_who_died_while_sending_is_followed_by_another(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver may hear it twice, with one id."""
    made = await endpoint(service, receiver.url, "order.paid")
    (id_,) = await orders(service, 1)
    await endpoints.run_once(service.state, service.clock())

    post = Webhooks.post

    async def send_and_die(*arguments: Any) -> None:
        await post(*arguments)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(Webhooks, "post", send_and_die)
        with pytest.raises(asyncio.CancelledError):
            await deliveries.run_once(service.state, service.clock())
    assert receiver.ids == [id_]
    assert (await shown(service, made))["waiting"] == 1
    await work(service)
    assert receiver.ids == [id_], "somebody may still be at it"
    service.clock.advance(61)
    await work(service)
    assert receiver.ids == [id_, id_]
    assert [attempt["number"] for attempt in (await delivery(service, made, id_))["attempts"]] == [2]
    assert (await shown(service, made))["waiting"] == 0
