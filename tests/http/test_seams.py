"""Pages behind invites that end while somebody is on them."""

from datetime import timedelta

import pytest

from tests.http.test_pages import friend, key_in, led, touches
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
                await service.tick()
            case "withdrawn":
                await service.http.delete(f"/v1/invites/{code}", headers=leader.headers)
            case "expired":
                service.clock.advance(301)
        before = [touch.last_at for touch in await touches(service, code)]
        again = await person.send("pay", order_id=back.rpartition("/")[2], key=key)
        assert again.headers["location"] == joined.headers["location"], again.text
        assert (await service.http.post(address, json={})).status_code == 200
        if end == "used up":
            await service.tick()
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
