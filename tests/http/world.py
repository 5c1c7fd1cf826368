"""A little world of real things to aim wrong requests at."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from typing import Any
from uuid import uuid4

import httpx

from app.routers.pages import SESSION
from tests.http.refusals import CHINESE
from tests.http.routes import Route
from tests.promises.money import brought, earn, policy, rewards
from tests.service import BARGAIN, FLASH, Member, Sale, Service

SLOT_ROUTES = ("lay_out_slots", "publish_slots")
DAY = {
    "first_day": "2098-12-01",
    "last_day": "2098-12-01",
    "times": ["10:00", "14:00"],
    "minutes": 60,
    "timezone": "Asia/Shanghai",
}
"""Two slots, to lay out a sale in."""


@dataclass(slots=True)
class World:
    """A member with an unpaid order in a group of a running sale; and the id of everything, by its name in paths
    and bodies.
    """

    service: Service
    member: Member
    sale: Sale
    ids: dict[str, str]
    special: dict[str, dict[str, str]]
    """Ids that one route alone works with, by its name."""
    _languages: Iterator[dict[str, str]]

    @property
    def credentials(self) -> dict[str, str]:
        """Everything a request may need to be let in, and a new Idempotency-Key."""
        cookie = {"cookie": f"{SESSION}={self.member.token}"}
        return self.member.headers | self.service.operator | cookie | {"idempotency-key": uuid4().hex}

    async def ask(
        self, route: Route, *, ids: dict[str, str] | None = None, headers: dict[str, Any] | None = None, **body: Any
    ) -> httpx.Response:
        """Call a route about the things of this world, in English and in Chinese by turns.

        `ids` go before the world's own, `headers` before the credentials; a header of None is left out.
        """
        wanted = self.credentials | next(self._languages) | (headers or {})
        return await self.service.http.request(
            route.method,
            route.address(self.ids | self.special.get(route.name, {}) | (ids or {})),
            headers={name: value for name, value in wanted.items() if value is not None},
            **body,
        )

    def filled(self, body: Any, route: Route) -> Any:
        """A request body with the ids of this world instead of the documentation's placeholders."""
        ids = self.ids | self.special.get(route.name, {})
        if isinstance(body, dict):
            named = {name: ids[name] for name in body if name in ids and (name == "ticket" or "_" in name)}
            named |= {name: [ids[name[:-1]]] for name in body if name.endswith("_ids")}
            return {name: self.filled(value, route) for name, value in body.items()} | named
        return [self.filled(value, route) for value in body] if isinstance(body, list) else body


async def build_world(service: Service) -> World:
    """New things of every kind."""
    sale = await service.sale(stocks=[50, 50])
    flash = await service.sale(**FLASH, community_id=sale.body["community_id"])
    soon = (service.clock() + timedelta(days=1)).isoformat()
    coming = await service.sale(**FLASH, opens_at=soon)
    slots = {name: {"sale_id": (await service.sale(**FLASH, publish=False)).id} for name in SLOT_ROUTES}
    await service.ops("POST", f"sales/{slots['publish_slots']['sale_id']}/slots", DAY)
    bargains = await service.sale(**BARGAIN, community_id=sale.body["community_id"])
    member, friend = await service.member("world"), await service.member("friend")
    bargain, of_friend = await member.bargain(bargains), await friend.bargain(bargains)
    claim = (await member.open(sale)).json()
    group_id, order_id = claim["group"]["id"], claim["order"]["id"]
    coupon = await service.coupon(total=100, member_limit=50)
    invite = (await member.post("/v1/invites", {"community_id": sale.body["community_id"]})).json()
    session = (await service.http.post("/v1/sessions", json={"provider": "dev", "code": "world"})).json()
    draws_at = (service.clock() + timedelta(hours=1)).isoformat()
    drawn = await service.sale(
        **FLASH, community_id=sale.body["community_id"], allocation="draw", draws_at=draws_at
    )
    entry = (await member.post(f"/v1/sales/{drawn.id}/entries", {"offer_id": drawn.offer})).json()
    offers = (await service.http.get(f"/v1/sales/{sale.id}")).json()["offers"]
    money = await make_money(service, member)
    return World(
        service=service,
        member=member,
        sale=sale,
        ids={
            "community_id": sale.body["community_id"],
            "product_id": offers[0]["product_id"],
            "sku_id": offers[0]["sku_id"],
            "sale_id": sale.id,
            "offer_id": sale.offer,
            "group_id": group_id,
            "bargain_id": bargain["id"],
            "order_id": order_id,
            "entry_id": entry["id"],
            "code": invite["code"],
            "coupon_id": coupon["id"],
            "coupon_code": coupon["code"],
            "member_id": member.id,
            "invite_code": invite["code"],
            "refresh_token": session["refresh_token"],
            "policy_id": money["policy_id"],
            "reward_id": money["rewards"][0],
            "payout_id": money["payouts"][0],
            "token": (await member.start_payment(order_id)).rsplit("/", 1)[-1],
        },
        special={
            "set_reminder": {"sale_id": coming.id},
            **slots,
            "start_bargain": {"sale_id": bargains.id, "offer_id": bargains.offer},
            "cut_price": {"bargain_id": of_friend["id"]},
            "buy": {"sale_id": flash.id, "offer_id": flash.offer, "ticket": member.ticket(flash)},
            **{key: {"sale_id": flash.id} for key in ("get_in_line", "get_admission", "get_challenge")},
            "enter": {"sale_id": drawn.id, "offer_id": drawn.offer},
            "get_draw": {"sale_id": drawn.id},
            "decline_reward": {"reward_id": money["rewards"][1]},
            "reject_payout": {"payout_id": money["payouts"][1]},
            "give_tip": {"member_id": friend.id},
        },
        _languages=cycle([{}, {"accept-language": CHINESE}]),
    )


async def make_money(service: Service, member: Member) -> dict[str, Any]:
    """A policy by which a member has earned something, two rewards that are withheld, and two payouts that wait."""
    shared = {"device": uuid4().hex}
    inviter = await _with_device(service, shared)
    sale = await service.sale(**FLASH)
    policy_id = await policy(service, 500_000, sale_id=sale.id)
    for _ in range(2):
        await brought(service, inviter, sale, await _with_device(service, shared))
    await earn(service, member, 150_000)
    found = await rewards(service, policy_id)
    payouts = [
        (await member.post("/v1/payouts", {"amount": 60_000, "account": "alice"})).json()["id"] for _ in range(2)
    ]
    return {"policy_id": policy_id, "rewards": [reward["id"] for reward in found], "payouts": payouts}


async def _with_device(service: Service, device: dict[str, str]) -> Member:
    body = {"provider": "dev", "code": uuid4().hex} | device
    session = (await service.http.post("/v1/sessions", json=body)).json()
    return Member(service, session["member"]["id"], "shared", session["access_token"])
