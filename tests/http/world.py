"""A little world of real things to aim wrong requests at."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle
from typing import Any
from uuid import uuid4

import httpx
from sqlmodel import col

from app.demo.platforms.telegram import TelegramStandIn
from app.domain.bindings import PlatformName
from app.domain.communities import Purpose
from app.domain.notices import NoticeKind
from app.models import Community, Notice
from app.routers.pages import SESSION
from app.services import reconciliations
from app.services.deliveries import line_up
from app.services.links import create_link
from app.services.transactions import transaction
from tests.http.refusals import CHINESE
from tests.http.routes import Route
from tests.promises.chat import bind
from tests.promises.community import change, enrol, post, say
from tests.promises.money import brought, earn, policy, rewards
from tests.promises.test_pushes import earn as give_value
from tests.service import BARGAIN, FLASH, Member, Sale, Service

SLOT_ROUTES = ("lay_out_slots", "publish_slots")
PUSH_ROUTES = ("preview_push", "send_push", "list_pushes", "get_push", "cancel_push", "list_pushes_of", "stop_push")
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
        """Call a route about the things of this world: see `request`."""
        return await self.service.http.send(self.request(route, ids=ids, headers=headers, **body))

    def request(
        self, route: Route, *, ids: dict[str, str] | None = None, headers: dict[str, Any] | None = None, **body: Any
    ) -> httpx.Request:
        """A call of a route about the things of this world, in English and in Chinese by turns.

        `ids` go before the world's own, `headers` before the credentials; a header of None is left out.
        """
        wanted = self.credentials | next(self._languages) | (headers or {})
        return self.service.http.build_request(
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
    written = await write(service, member, friend, sale.body["community_id"])
    led, push_id = await make_push(service, member)
    rule = {"fact": "member_days", "is": "at_least", "value": 0}
    segments = [
        (await service.ops("POST", "segments", {"name": "人群", "rule": rule})).json()["id"] for _ in range(2)
    ]
    link = await create_link(service.state, PlatformName.TELEGRAM, uuid4().hex)
    chats = [await bind(service, TelegramStandIn(), sale.body["community_id"]) for _ in range(2)]
    endpoints, sent = await make_endpoints(service)
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
            "session_id": session["refresh_token"].partition(".")[0],
            "identity_id": (await member.get("/v1/members/me/identities")).json()["items"][0]["id"],
            "policy_id": money["policy_id"],
            "reward_id": money["rewards"][0],
            "payout_id": money["payouts"][0],
            "reconciliation_id": await add_day(service),
            "push_id": push_id,
            "notice_id": await tell(service, member),
            **written["ids"],
            "segment_id": segments[0],
            "binding_id": chats[0]["id"],
            "endpoint_id": endpoints[0],
            "delivery": sent,
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
            "set_role": {"member_id": friend.id},
            "hand_over": {"member_id": friend.id},
            **dict.fromkeys(PUSH_ROUTES, led),
            "erase_member": {"member_id": (await service.member("leaver")).id},
            "create_post": {"sale_id": flash.id},
            "hand_job_on": written["handed"],
            **{key: {"token": link.rsplit("/", 1)[-1]} for key in ("show_link_page", "log_in_by_link")},
            "remove_binding": {"binding_id": chats[1]["id"]},
            "delete_segment": {"segment_id": segments[1]},
            "remove_endpoint": {"endpoint_id": endpoints[1]},
        },
        _languages=cycle([{}, {"accept-language": CHINESE}]),
    )


async def write(service: Service, owner: Member, friend: Member, community: str) -> dict[str, dict[str, str]]:
    """Have a member own a community with a post, a comment, a report, and a job that they may hand on; their ids,
    and those of what is handed on.
    """
    here = {"id": community}
    await change(service, Community, col(Community.id) == community, purpose=Purpose.GROWTH)
    await service.ops("PUT", f"communities/{community}/owner", {"member_id": owner.id})
    third = await service.member("third")
    await enrol(here, friend, third)
    made, job = await post(owner, here, kind="job"), await post(friend, here, kind="job")
    reply = await friend.post(f"/v1/posts/{made['id']}/reports", {"reason": "other"})
    comment = await say(friend, made["id"])
    assert (await owner.post(f"/v1/posts/{job['id']}/take")).status_code == 200
    ids = {"post_id": made["id"], "comment_id": comment["id"], "report_id": reply.json()["id"]}
    return {"ids": ids, "handed": {"post_id": job["id"], "member_id": third.id}}


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


async def tell(service: Service, member: Member) -> str:
    """A notice to a member; its id."""
    row = Notice(member_id=member.id, kind=NoticeKind.MEMBERSHIP, text="欢迎", created_at=service.clock())
    async with service.state.database.transaction() as session:
        session.add(row)
    return row.id


async def add_day(service: Service) -> str:
    """A day that waits to be compared with a bill; its id."""
    async with transaction(service.state, service.clock()) as work:
        return (await reconciliations._add(work, "wechatpay", date(2026, 1, 1))).id


async def make_push(service: Service, leader: Member) -> tuple[dict[str, str], str]:
    """A community that a member leads, with a sale; and a push that waits for its time."""
    community = await service.community(leader)
    await give_value(service, community, 1000)
    sale = await service.sale(**FLASH, community_id=community["id"])
    body = {"text": "龙井", "sends_at": (service.clock() + timedelta(days=6)).isoformat()}
    push = (await leader.post(f"/v1/communities/{community['id']}/pushes", body)).json()
    return {"community_id": community["id"], "sale_id": sale.id}, push["id"]


async def make_endpoints(service: Service) -> tuple[list[str], str]:
    """Endpoints that nothing reaches, and the event that the first is to be sent."""
    body = {"url": "https://erp.merchant.example/kaituan"}
    made = [(await service.ops("POST", "endpoints", body)).json()["id"] for _ in range(2)]
    sent = (await service.ops("POST", f"endpoints/{made[0]}/test")).json()["event_id"]
    await line_up(service.state, made[0], service.clock())
    return made, str(sent)


async def _with_device(service: Service, device: dict[str, str]) -> Member:
    body = {"provider": "dev", "code": uuid4().hex} | device
    session = (await service.http.post("/v1/sessions", json=body)).json()
    return Member(service, session["member"]["id"], "shared", session["access_token"])
