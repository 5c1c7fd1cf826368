"""Word gets around: four members share a sale, strangers tap and log in, some buy and share on; then the figures
of growth are held against what this scene has counted itself.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from secrets import token_hex
from urllib.parse import urlsplit

from rich.table import Table

from app.demo.client import Json, Member, Refused
from app.demo.plan import name_member
from app.demo.scenes.scene import LOOK_SECONDS, Scene, money, together

SEEDS, WAVES = 4, 3
PRICE = 4900
SEATS = 3
TAPS = {"chat": 4, "link": 2, "poster": 3, "qr": 2}
"""By channel, how many tap an invite."""
CHANNELS = ("chat", "poster", "qr", "link")
LOG_IN, BUY = 0.7, 0.55
"""Of those who tap, who log in; of those, who buy."""
MOST = 12
"""Of those who bought in a wave, how many share on."""
REFUNDED = 3
PATIENCE_SECONDS = 20


@dataclass(slots=True)
class Buyer:
    """Somebody who bought: in which group, brought by whom on which channel."""

    member: Member
    order: Json
    seed: str
    channel: str = ""


@dataclass(slots=True)
class Told:
    """What the scene counts by itself, by channel."""

    chance: Random
    invites: Counter[str] = field(default_factory=Counter)
    taps: Counter[str] = field(default_factory=Counter)
    logins: Counter[str] = field(default_factory=Counter)
    brought: Counter[str] = field(default_factory=Counter)
    buyers: list[Buyer] = field(default_factory=list)
    arrived: int = 0


async def play(scene: Scene) -> None:
    """Three waves of word of mouth, and the table of what became of them."""
    sale = await scene.sale(
        "口碑 · 明前龙井", group_size=SEATS, group_ttl_seconds=3600, hold_ttl_seconds=600, price=PRICE, stock=500
    )
    told = Told(Random(11))  # noqa: S311 - who buys, not who knows a secret
    members = await scene.members(SEEDS)
    told.buyers = await together(_buy(scene, sale, member, None, seed=member.name) for member in members)
    scene.note(f"{SEEDS} members buy, and share: {', '.join(member.name for member in members)}")
    wave = told.buyers
    for number in range(1, WAVES + 1):
        before = _counts(told)
        wave = [
            buyer for found in await together(_share(scene, sale, told, one) for one in wave) for buyer in found
        ]
        told.buyers += wave
        invites, taps, logins, brought = (now - then for now, then in zip(_counts(told), before, strict=True))
        scene.note(f"wave {number}: {invites:3} invites → {taps:3} taps → {logins:3} log in → {brought:3} buy")
        wave = wave[:MOST]
    await _until_bound(scene, sale, told)
    await _give_back(scene, told)
    growth = await _figures(scene, sale)
    _show(scene, growth)
    await _show_branches(scene, sale, told)
    _check(scene, growth, told)


async def _share(scene: Scene, sale: Json, told: Told, buyer: Buyer) -> list[Buyer]:
    """Share on two channels; returns who bought for it."""
    found: list[Buyer] = []
    for channel in told.chance.sample(CHANNELS, 2):
        invite = await scene.post(buyer.member, "/v1/invites", {"sale_id": sale["id"], "channel": channel})
        told.invites[channel] += 1
        came = [await _tap(scene, told, invite, channel) for _ in range(TAPS[channel])]
        bought = [
            _buy(scene, sale, friend, buyer.order["group_id"], seed=buyer.seed, channel=channel)
            for friend in came
            if friend is not None and told.chance.random() < BUY
        ]
        told.brought[channel] += len(bought)
        found += await together(bought)
    return found


async def _tap(scene: Scene, told: Told, invite: Json, channel: str) -> Member | None:
    """A stranger taps, and may log in with what the browser was given."""
    path = urlsplit(invite["url"]).path
    landing = await scene.service.call("GET", path, headers={"accept": "application/json"})
    told.taps[channel] += 1
    if told.chance.random() >= LOG_IN:
        return None
    told.logins[channel] += 1
    told.arrived += 1
    name = name_member(SEEDS + told.arrived)
    body = {
        "provider": "dev",
        "code": f"invited-{token_hex(8)}",
        "name": name,
        "visitor_token": landing["visitor_token"],
    }
    session = await scene.service.call("POST", "/v1/sessions", body=body)
    return Member(scene.service, name, session["access_token"])


async def _buy(
    scene: Scene, sale: Json, member: Member, group_id: str | None, *, seed: str, channel: str = ""
) -> Buyer:
    """Join the friend's group while it has a seat, or open another one; and pay."""
    claim = {"offer_id": sale["offers"][0]["id"]}
    try:
        answer = await member.join(group_id, claim, token_hex(8)) if group_id else None
    except Refused:
        answer = None
    if answer is None:
        answer = await member.open_group(sale["id"], claim, token_hex(8))
    order = await scene.pay(member, answer["order"]["id"])
    return Buyer(member, order, seed, channel)


async def _figures(scene: Scene, sale: Json) -> Json:
    return await scene.operate("GET", f"growth?sale_id={sale['id']}")


async def _until_bound(scene: Scene, sale: Json, told: Told) -> None:
    """Wait until a worker has looked at every payment."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while (await _figures(scene, sale))["total"]["brought"] < told.brought.total():
        if time.monotonic() > give_up_at:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _give_back(scene: Scene, told: Told) -> None:
    """Some of those who were brought get their money back."""
    for buyer in [buyer for buyer in told.buyers if buyer.channel][:REFUNDED]:
        await scene.operate("POST", f"orders/{buyer.order['id']}/refund")
        scene.note(f"{buyer.member.name} gets {money(PRICE)} back")


def _counts(told: Told) -> list[int]:
    return [one.total() for one in (told.invites, told.taps, told.logins, told.brought)]


def _show(scene: Scene, growth: Json) -> None:
    table = Table(title="Growth 增长", title_justify="left")
    for name in ("channel 渠道", "invites", "visitors", "logged in", "paid", "brought", "K", "kept 净额"):
        table.add_column(name, justify="left" if name.startswith("channel") else "right")
    for name, figures in [*growth["channels"].items(), ("total", growth["total"])]:
        counts = [figures[count] for count in ("invites", "visitors", "logged_in", "paid", "brought")]
        table.add_row(
            name, *map(str, counts), f"{figures['ratios']['k_factor']['value']:.4f}", money(figures["kept"])
        )
    scene.console.print(table)


async def _show_branches(scene: Scene, sale: Json, told: Told) -> None:
    branches = (await scene.operate("GET", f"growth/branches?sale_id={sale['id']}&limit={SEEDS}"))["items"]
    table = Table(title="Branches 分支", title_justify="left")
    for name in ("seed 种子", "brought", "levels", "kept 净额"):
        table.add_column(name, justify="left" if name.startswith("seed") else "right")
    for branch in branches:
        table.add_row(branch["name"], str(branch["members"]), str(branch["depth"]), money(branch["kept"]))
    scene.console.print(table)
    counted = Counter(buyer.seed for buyer in told.buyers if buyer.channel)
    scene.expect("members of the branches", dict(counted), {one["name"]: one["members"] for one in branches})


def _check(scene: Scene, growth: Json, told: Told) -> None:
    """Every figure is what the scene has counted."""
    total, active = growth["total"], len(told.buyers)
    wanted = [*_counts(told), told.brought.total()]
    found = [total[name] for name in ("invites", "visitors", "logged_in", "paid", "brought")]
    scene.expect("invites, visitors, logged in, paid, brought", wanted, found)
    for channel, figures in growth["channels"].items():
        scene.expect(f"brought on {channel}", told.brought[channel], figures["brought"])
    k_factor = total["ratios"]["k_factor"]
    scene.expect("K-factor", (told.brought.total(), active), (k_factor["numerator"], k_factor["denominator"]))
    scene.expect("depths", told.brought.total(), sum(total["depths"]))
    scene.expect("what is kept", (told.brought.total() - REFUNDED) * PRICE, total["kept"])
    scene.row("active members 活跃成员", active)
    scene.row("K-factor", f"{told.brought.total()} / {active} = {k_factor['value']}")
    scene.row("levels 层级", " · ".join(map(str, total["depths"])))
    scene.row("cycle, median 周期中位数", f"{total['cycle_seconds']} s")
