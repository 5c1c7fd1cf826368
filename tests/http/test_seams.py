"""Pages behind invites that end while somebody is on them, and guesses at their addresses."""

from datetime import timedelta
from secrets import token_hex

import httpx
import pytest

from app.limiting import Limiter
from tests.http.test_pages import PAGE, friend, key_in, led, touches
from tests.service import Service

GO_ON = {"accept": "text/html", "sec-fetch-site": "cross-site"}
"""As the cashier, which is elsewhere, leads back."""


@pytest.mark.parametrize("end", ["used up", "used up by another", "withdrawn", "expired"])
async def test_who_has_a_seat_pays_and_comes_back_after_the_invite_is_over(service: Service, end: str) -> None:
    sale, leader, group_id, _ = await led(service)
    terms = {"max_uses": 1, "expires_at": (service.clock() + timedelta(minutes=5)).isoformat()}
    code = (await leader.post("/v1/invites", {"group_id": group_id} | terms)).json()["code"]
    async with friend(service, code) as person, friend(service, code) as late:
        await person.log_in()
        await late.log_in()
        key = key_in((await person.look()).text)
        joined = await person.send("join", offer_id=sale.offer, group_id=group_id, key=key)
        address, _, back = joined.headers["location"].partition("?back=")
        match end:
            case "used up by another":
                other = await service.member()
                claim = await other.join(sale, group_id, invite_code=code)
                await other.pay(claim.json()["order"]["id"])
                await service.work()
            case "withdrawn":
                await service.http.delete(f"/v1/invites/{code}", headers=leader.headers)
            case "expired":
                service.clock.advance(301)
        before = [touch.last_at for touch in await touches(service, code)]
        again = await person.send("pay", order_id=back.rpartition("/")[2], key=key)
        assert again.headers["location"] == joined.headers["location"], again.text
        assert (await service.http.post(address, json={})).status_code == 200
        if end == "used up":
            await service.work()
        returned = await person.http.get(back, headers=GO_ON)
        assert returned.headers["location"] == f"/i/{code}", returned.text
        shown = await person.http.get(returned.headers["location"], headers=GO_ON)
        assert shown.status_code == 200, shown.text
        assert [touch.last_at for touch in await touches(service, code)] == before, "that was no tap"
        for refused in (
            await late.look(),
            await late.send("join", offer_id=sale.offer, group_id=group_id, key=key),
        ):
            assert refused.status_code == 410
    assert await service.violations() == []


async def test_codes_are_not_guessed_by_pages_either(service: Service) -> None:
    _, _, group_id, code = await led(service)
    misses, service.state.invite_misses = service.state.invite_misses, Limiter(0.01, 4)
    try:
        replies: list[httpx.Response] = []
        for wrong in (token_hex(5) for _ in range(3)):
            path = f"/groups/{group_id}" if replies else ""
            replies.append(await service.http.get(f"/i/{wrong}{path}", headers=PAGE))
            replies.append(await service.http.post(f"/i/{wrong}/logout"))
        assert [reply.status_code for reply in replies] == [404] * 4 + [429] * 2
        assert (await service.http.post(f"/i/{code}/logout")).status_code == 429
    finally:
        service.state.invite_misses = misses
