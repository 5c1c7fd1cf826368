"""Daily slots 场次: a draft becomes a series, is published together, and each slot sells by itself."""

import asyncio
from datetime import date, timedelta
from typing import Any

from tests.service import FLASH, Sale, Service

LAYOUT = {"times": ["10:00", "14:00", "20:00"], "minutes": 60, "timezone": "Asia/Shanghai"}


def layout(service: Service, days: int = 1, **changes: Any) -> dict[str, Any]:
    """Three slots a day in Shanghai, from tomorrow on."""
    first = service.clock().date() + timedelta(days=1)
    last = first + timedelta(days=days - 1)
    return {"first_day": first.isoformat(), "last_day": last.isoformat()} | LAYOUT | changes


async def draft(service: Service, **terms: Any) -> Sale:
    return await service.sale(stocks=[2, 3], **FLASH | {"publish": False} | terms)


async def series(service: Service, sale: Sale, **query: Any) -> list[dict[str, Any]]:
    """A series as members see it."""
    reply = await service.http.get("/v1/sales", params={"series_id": sale.id} | query)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["items"])


def windows(slots: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(slot["opens_at"][11:16], slot["closes_at"][11:16]) for slot in slots]


async def turn_to(service: Service, moment: str, *, past_midnight: date) -> None:
    """Let it be that time of the day, in Shanghai."""
    hours, _, minutes = moment.partition(":")
    wanted = timedelta(hours=int(hours) - 8, minutes=int(minutes))
    now = service.clock()
    midnight = now.replace(
        year=past_midnight.year,
        month=past_midnight.month,
        day=past_midnight.day,
        hour=0,
        minute=0,
        second=0,
        microsecond=0,
    )
    service.clock.advance((midnight + wanted - now).total_seconds())
    await service.tick()


async def test_a_draft_becomes_a_series_once(service: Service) -> None:
    sale, body = await draft(service), layout(service, days=2)
    laid = await service.ops("POST", f"sales/{sale.id}/slots", body)
    assert laid.status_code == 200, laid.text
    slots = laid.json()["items"]
    assert windows(slots) == [("02:00", "03:00"), ("06:00", "07:00"), ("12:00", "13:00")] * 2
    assert [slot["opens_at"] for slot in slots] == sorted(slot["opens_at"] for slot in slots)
    assert (slots[0]["id"], {slot["series_id"] for slot in slots}) == (sale.id, {sale.id})
    assert {slot["state"] for slot in slots} == {"draft"}
    offers = [[(offer["sku_id"], offer["price"], offer["stock"]) for offer in slot["offers"]] for slot in slots]
    assert offers == [offers[0]] * 6
    assert len({offer["id"] for slot in slots for offer in slot["offers"]}) == 12
    own = {"id", "opens_at", "closes_at", "offers"}
    assert all({**slot, **dict.fromkeys(own)} == {**slots[0], **dict.fromkeys(own)} for slot in slots)
    assert (await service.ops("POST", f"sales/{sale.id}/slots", body)).json() == laid.json()
    assert await series(service, sale) == [], "drafts are not for members"
    assert await service.violations() == []


async def test_laid_out_by_two_at_once_there_are_as_many(service: Service) -> None:
    sale, body = await draft(service), layout(service)
    replies = await asyncio.gather(*(service.ops("POST", f"sales/{sale.id}/slots", body) for _ in range(5)))
    assert {reply.status_code for reply in replies} == {200}
    assert {len(reply.json()["items"]) for reply in replies} == {3}


async def test_a_day_at_a_series(service: Service) -> None:
    """10:00 over, 14:00 selling, 20:00 to come."""
    sale, body = await draft(service), layout(service)
    await service.ops("POST", f"sales/{sale.id}/slots", body)
    published = await service.ops("POST", f"sales/{sale.id}/slots/publish")
    assert [slot["state"] for slot in published.json()["items"]] == ["scheduled"] * 3
    assert (await service.ops("POST", f"sales/{sale.id}/slots/publish")).json() == published.json()
    day = date.fromisoformat(body["first_day"])
    await turn_to(service, "10:01", past_midnight=day)
    member = await service.member()
    ten, two, _ = [
        Sale(slot["id"], [offer["id"] for offer in slot["offers"]], {}) for slot in await series(service, sale)
    ]
    first = await member.buy(ten)
    assert first.status_code == 201, first.text
    assert (await member.buy(two)).json()["code"] == "sale_not_open"
    await turn_to(service, "14:30", past_midnight=day)
    slots = await series(service, sale)
    assert [slot["state"] for slot in slots] == ["ended", "live", "scheduled"]
    assert (await member.buy(ten)).json()["code"] == "sale_ended"
    second = await member.buy(two)
    assert second.status_code == 201, "each slot has a limit of its own"
    await member.pay(second.json()["order"]["id"])
    left = [[offer["left"] for offer in slot["offers"]] for slot in await series(service, sale)]
    assert left == [[2, 3], [1, 3], [2, 3]], "and its own stock"
    assert [slot["id"] for slot in await series(service, sale, state="live")] == [two.id]
    assert await service.violations() == []


async def test_a_series_is_read_page_by_page_in_the_order_it_opens(service: Service) -> None:
    sale = await draft(service)
    await service.ops("POST", f"sales/{sale.id}/slots", layout(service, times=["20:00"]))
    laid = (await service.ops("POST", f"sales/{sale.id}/slots", layout(service))).json()["items"]
    assert windows(laid) == [("02:00", "03:00"), ("06:00", "07:00"), ("12:00", "13:00")]
    assert laid[2]["id"] == sale.id, "what was added opens earlier"
    seen, query = [], {"series_id": sale.id, "limit": 2}
    while query.get("after", "") is not None:
        page = (await service.ops("GET", f"sales?{'&'.join(f'{k}={v}' for k, v in query.items())}")).json()
        seen += page["items"]
        query["after"] = page["next"]
    assert [slot["id"] for slot in seen] == [slot["id"] for slot in laid]


async def test_a_series_grows_by_days_with_the_terms_it_has_now(service: Service) -> None:
    sale = await draft(service)
    await service.ops("POST", f"sales/{sale.id}/slots", layout(service))
    await service.ops("POST", f"sales/{sale.id}/slots/publish")
    sku = sale.body["offers"][0]["sku_id"]
    await service.ops("PATCH", f"sales/{sale.id}", {"title": "更多", "offers": [{"sku_id": sku, "stock": 9}]})
    assert (await service.ops("POST", f"sales/{sale.id}/end")).status_code == 200
    grown = (await service.ops("POST", f"sales/{sale.id}/slots", layout(service, days=2))).json()["items"]
    assert [slot["state"] for slot in grown] == ["ended", *["scheduled"] * 2, *["draft"] * 3]
    assert [slot["offers"][0]["stock"] for slot in grown] == [9, 2, 2, 9, 9, 9]
    assert grown[5]["title"] == "更多"
    published = (await service.ops("POST", f"sales/{sale.id}/slots/publish")).json()["items"]
    assert [slot["state"] for slot in published] == ["ended", *["scheduled"] * 5]
    assert await service.violations() == []


async def test_a_slot_whose_time_has_passed_stays_a_draft(service: Service) -> None:
    sale, body = await draft(service), layout(service)
    await service.ops("POST", f"sales/{sale.id}/slots", body)
    day = date.fromisoformat(body["first_day"])
    await turn_to(service, "14:30", past_midnight=day)
    slots = (await service.ops("POST", f"sales/{sale.id}/slots/publish")).json()["items"]
    assert [slot["state"] for slot in slots] == ["draft", "live", "scheduled"]
    late = await draft(service, opens_at="2026-01-01T00:00:00Z")
    await service.ops("POST", f"sales/{late.id}/slots", body)
    await turn_to(service, "21:00", past_midnight=day)
    refused = await service.ops("POST", f"sales/{late.id}/slots/publish")
    assert (refused.status_code, refused.json()["code"]) == (410, "sale_ended")


async def test_what_is_no_series_is_refused(service: Service) -> None:
    good, flash, group = layout(service), await draft(service), await service.sale(publish=False)
    live = await draft(service, publish=True)
    for sale, status, code in ((group, 409, "wrong_kind"), (live, 409, "sale_not_editable")):
        reply = await service.ops("POST", f"sales/{sale.id}/slots", good)
        assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert (await service.ops("POST", f"sales/{flash.id}/slots/publish")).json()["code"] == "sale_without_slots"
    impossible: list[dict[str, Any]] = [
        {"times": ["10:00", "10:30"]},
        {"times": ["10:00", "10:00"]},
        {"last_day": "2026-01-01"},
        {"last_day": "2199-01-01"},
        {"timezone": "Asia/Peking"},
        {"timezone": "Asia"},
    ]
    malformed: list[dict[str, Any]] = [
        *({"times": []}, {"times": ["24:00"]}, {"minutes": 0}, {"first_day": 20261201}, {"days": 1})
    ]
    for change in impossible:
        reply = await service.ops("POST", f"sales/{flash.id}/slots", good | change)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms"), change
    for change in malformed:
        reply = await service.ops("POST", f"sales/{flash.id}/slots", good | change)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request"), change
    slots = (await service.ops("POST", f"sales/{flash.id}/slots", good)).json()["items"]
    longer = await service.ops("POST", f"sales/{flash.id}/slots", good | {"minutes": 90})
    assert longer.json()["code"] == "invalid_terms", "a slot that is there keeps its window"
    for path in ("slots", "slots/publish"):
        inner = await service.ops("POST", f"sales/{slots[1]['id']}/{path}", good if path == "slots" else None)
        assert (inner.status_code, inner.json()["code"]) == (409, "sale_without_slots")
    moved = await service.ops("PATCH", f"sales/{slots[1]['id']}", {"closes_at": slots[2]["closes_at"]})
    assert (moved.status_code, moved.json()["code"]) == (422, "invalid_terms")
    assert await service.violations() == []
