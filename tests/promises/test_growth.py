"""The figures of growth equal a slow count of the same rows, on both databases."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from urllib.parse import urlencode

import pytest

from app.domain.invites import InviteChannel
from tests.databases import NewDatabase
from tests.forest import Forest, Row, grow, plant
from tests.service import Service, running_service

BEGIN = datetime(2026, 3, 2, 5, tzinfo=UTC)
COUNT = 10_000


class Slow:
    """The figures of a forest, counted one by one as docs/metrics.md says."""

    def __init__(self, forest: Forest, since: datetime, until: datetime, **asked: str | None) -> None:
        self.forest, self.since, self.until = forest, since, until
        sale_id, community_id = asked.get("sale_id"), asked.get("community_id")
        self.channel, self.cohort = asked.get("channel"), asked.get("cohort")
        self.currency = asked.get("currency", "CNY")
        self.sales = {
            id_
            for id_, (community, _) in forest.sales.items()
            if sale_id in {None, id_} and community_id in {None, community}
        }
        self.communities = set() if sale_id else {forest.sales[id_][0] for id_ in self.sales}
        sale_of = {group["id"]: group["sale_id"] for group in forest.groups}
        self.invites = [
            invite
            for invite in forest.invites
            if (sale_of.get(invite["group_id"]) or invite["sale_id"]) in self.sales
            or invite["community_id"] in self.communities
        ]
        self.orders = [
            order
            for order in forest.orders
            if order["sale_id"] in self.sales and order["paid_at"] and order["paid_at"] < until
        ]
        self.orders_of = defaultdict(list)
        for order in self.orders:
            self.orders_of[order["member_id"]].append(order)
        self.firsts = {
            member: min(orders, key=lambda order: (order["paid_at"], order["id"]))
            for member, orders in self.orders_of.items()
        }
        self.brought = {
            referral["member_id"]: referral
            for referral in forest.referrals
            if self.firsts.get(referral["member_id"], {}).get("id") == referral["order_id"]
        }
        self.payments_of = defaultdict(list)
        for payment in forest.payments:
            self.payments_of[payment["order_id"]].append(payment)
        self.members = {member["id"]: member for member in forest.members}
        self.cohorts: dict[str, str] = {}

    def lies_in(self, at: datetime) -> bool:
        return self.since <= at < self.until

    def place(self, member: str) -> tuple[str, int]:
        """The seed above a member, and the level; 0 when there is none."""
        level, seen = 0, {member}
        while member in self.brought:
            member, level = self.brought[member]["inviter_id"], level + 1
            if member in seen:
                return member, 0
            seen.add(member)
        return member, level

    def cohort_of(self, member: str) -> str:
        if member not in self.cohorts:
            first = self.firsts.get(member)
            day = (first["paid_at"] if first else self.members[member]["created_at"]).astimezone(UTC).date()
            self.cohorts[member] = str(day - timedelta(days=day.weekday()) if self.cohort == "week" else day)
        return self.cohorts[member]

    def money(self, members: list[str]) -> tuple[int, int]:
        payments = [
            payment
            for member in members
            for order in self.orders_of[member]
            if self.lies_in(order["paid_at"])
            for payment in self.payments_of[order["id"]]
            if payment["captured_currency"] == self.currency
        ]
        return sum(one["captured_amount"] for one in payments), sum(one["refunded_amount"] for one in payments)

    def figures(self, channel: str | None = None, cohort: str | None = None) -> Row:
        def counts(inviter: str, on: str) -> bool:
            channels = {channel, self.channel} - {None}
            return (not channels or channels == {on}) and cohort in {None, self.cohort and self.cohort_of(inviter)}

        active = {order["member_id"] for order in self.orders if self.lies_in(order["paid_at"])}
        active |= {invite["member_id"] for invite in self.invites if self.lies_in(invite["created_at"])}
        if cohort is not None:
            active = {member for member in active if self.cohort_of(member) == cohort}
        invites = {
            invite["code"]: invite for invite in self.invites if counts(invite["member_id"], invite["channel"])
        }
        came: dict[str, list[Row]] = defaultdict(list)
        for touch in self.forest.touches:
            invite = invites.get(touch["code"])
            if invite and self.lies_in(touch["first_at"]) and touch["member_id"] != invite["member_id"]:
                came[touch["member_id"] or touch["visitor_id"]].append(touch)
        known = {who: min(one["first_at"] for one in touches) for who, touches in came.items() if who[:3] == "mem"}
        paid = [
            who for who, since in known.items() if any(order["paid_at"] >= since for order in self.orders_of[who])
        ]
        brought = {
            member: referral
            for member, referral in self.brought.items()
            if self.lies_in(self.firsts[member]["paid_at"]) and counts(referral["inviter_id"], referral["channel"])
        }
        levels = Counter(self.place(member)[1] for member in brought)
        captured, refunded = self.money(list(brought))
        made = sum(self.lies_in(invite["created_at"]) for invite in invites.values())
        cycles = sorted(self.cycle(member) for member in brought)
        figures: Row = {
            "active": len(active),
            "invites": made,
            "visitors": len(came),
            "logged_in": len(known),
            "paid": len(paid),
            "brought": len(brought),
            "referrers": len({referral["inviter_id"] for referral in brought.values()}),
            "cycle_seconds": cycles[(len(cycles) - 1) // 2] if cycles else None,
            "depths": [levels[level] for level in range(1, max(levels, default=0) + 1)],
            "unplaced": levels[0],
            "captured": captured,
            "refunded": refunded,
            "kept": captured - refunded,
        }
        return figures | {
            "ratios": {
                name: ratio(figures[above], figures[below])
                for name, above, below in (
                    ("invites_per_active", "invites", "active"),
                    ("login_rate", "logged_in", "visitors"),
                    ("paid_rate", "paid", "logged_in"),
                    ("visit_to_paid", "paid", "visitors"),
                    ("brought_per_invite", "brought", "invites"),
                    ("k_factor", "brought", "active"),
                )
            }
        }

    def cycle(self, member: str) -> int:
        referral, paid_at = self.brought[member], self.firsts[member]["paid_at"]
        begun = self.firsts.get(referral["inviter_id"], {}).get("paid_at")
        if begun is None or begun >= paid_at:
            begun = self.forest.invites[int(referral["code"][1:])]["created_at"]
        return int((paid_at - begun) // timedelta(seconds=1))

    def branches(self, limit: int) -> list[Row]:
        below: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for member in self.brought:
            seed, level = self.place(member)
            if level:
                below[seed].append((member, level))
        found = []
        for seed, members in below.items():
            captured, refunded = self.money([member for member, _ in members])
            own_captured, own_refunded = self.money([seed])
            found.append(
                {
                    "member_id": seed,
                    "name": self.members[seed]["name"],
                    "members": len(members),
                    "depth": max(level for _, level in members),
                    "captured": captured,
                    "refunded": refunded,
                    "kept": captured - refunded,
                    "own_kept": own_captured - own_refunded,
                }
            )
        return sorted(found, key=lambda one: (-one["kept"], one["member_id"]))[:limit]


def ratio(numerator: int, denominator: int) -> Row:
    value = None
    if denominator:
        value = float(Fraction(int(Fraction(numerator * 10_000, denominator) + Fraction(1, 2)), 10_000))
    return {"numerator": numerator, "denominator": denominator, "value": value}


def slices(forest: Forest) -> Iterator[tuple[datetime, datetime, dict[str, str]]]:
    end = BEGIN + timedelta(weeks=20)
    yield BEGIN, end, {}
    yield BEGIN, end, {"cohort": "week"}
    for sale_id in forest.sales:
        yield BEGIN, end, {"sale_id": sale_id, "cohort": "week"}
    first = next(iter(forest.sales))
    yield BEGIN, end, {"community_id": forest.sales[first][0]}
    week = BEGIN + timedelta(weeks=2), BEGIN + timedelta(weeks=3)
    yield *week, {"sale_id": first, "cohort": "day", "channel": "chat"}
    yield *week, {"community_id": forest.sales[first][0], "cohort": "week", "currency": "USD"}
    yield BEGIN - timedelta(days=9), BEGIN - timedelta(days=8), {"sale_id": first}


@pytest.fixture(scope="module")
async def planted(
    new_database: NewDatabase, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Service, Forest]]:
    """A service with a database of its own, and in it a forest."""
    async with running_service(await new_database(), valkey, tmp_path_factory.mktemp("forest")) as service:
        first, other = await service.sale(), await service.sale()
        second = await service.sale(community_id=first.body["community_id"])
        forest = grow(7, BEGIN, [first, second, other], COUNT)
        await plant(service, forest)
        yield service, forest


async def test_every_figure_equals_a_slow_count(planted: tuple[Service, Forest]) -> None:
    service, forest = planted
    totals = []
    for since, until, asked in slices(forest):
        slow = Slow(forest, since, until, **asked)
        reply = await service.ops("GET", f"growth?{query(since, until, asked)}")
        assert reply.status_code == 200, reply.text
        found = reply.json()
        assert found["total"] == slow.figures(), asked
        channels = [asked["channel"]] if "channel" in asked else list(InviteChannel)
        assert found["channels"] == {channel: slow.figures(channel=channel) for channel in channels}, asked
        assert ("cohort" in asked) or found["cohorts"] == {}
        for cohort, figures in found["cohorts"].items():
            assert figures == slow.figures(cohort=cohort), (asked, cohort)
        if "cohort" in asked:
            for name in ("active", "invites", "brought", "kept"):
                assert sum(one[name] for one in found["cohorts"].values()) == found["total"][name]
        totals.append(found["total"])
    assert len(totals[0]["depths"]) > 5
    assert totals[0]["unplaced"] > 0
    assert totals[0]["brought"] > COUNT / 4
    assert totals[-1]["ratios"]["k_factor"] == {"numerator": 0, "denominator": 0, "value": None}


async def test_the_branches_worth_most_equal_a_slow_count(planted: tuple[Service, Forest]) -> None:
    service, forest = planted
    for since, until, asked in slices(forest):
        wanted = {name: value for name, value in asked.items() if name not in {"cohort", "channel"}}
        slow = Slow(forest, since, until, **wanted)
        reply = await service.ops("GET", f"growth/branches?limit=50&{query(since, until, wanted)}")
        assert reply.status_code == 200, reply.text
        assert reply.json()["items"] == slow.branches(50), asked


async def test_a_spreadsheet_holds_the_same_figures_and_no_formula(planted: tuple[Service, Forest]) -> None:
    service, _ = planted
    period = query(BEGIN, BEGIN + timedelta(weeks=20), {"cohort": "week"})
    found = (await service.ops("GET", f"growth?{period}")).json()
    reply = await service.ops("GET", f"growth?{period}", accept="text/csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    lines = table(reply.text)
    assert [line["part"] for line in lines] == ["total", *["channel"] * 4, *["cohort"] * len(found["cohorts"])]
    everything = [found["total"], *found["channels"].values(), *found["cohorts"].values()]
    for line, figures in zip(lines, everything, strict=True):
        assert line["k_factor"] == shown(figures["ratios"]["k_factor"]["value"])
        assert [line[name] for name in ("active", "kept")] == [str(figures[name]) for name in ("active", "kept")]
        levels = [int(line[name]) for name in ("level_1", "level_2", "level_3", "level_4_on")]
        assert sum(levels) == sum(figures["depths"])
        assert levels[:2] == (figures["depths"] + [0, 0])[:2]
    named = table((await service.ops("GET", "growth/branches?format=csv&limit=100")).text)
    assert {line["name"] for line in named} == {"张三", "'=1+1", "'@SUM(A1)", "Amy, the first", "'+86"}
    shown_as_json = await service.ops("GET", f"growth?{period}&format=json", accept="text/csv")
    assert shown_as_json.json() == found


async def test_a_slice_is_of_what_there_is(service: Service) -> None:
    for asked, refusal in (
        (f"sale_id=sal_{'0' * 32}", (404, "sale_not_found")),
        (f"community_id=com_{'0' * 32}", (404, "community_not_found")),
        ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", (422, "invalid_terms")),
    ):
        for path in ("growth", "growth/branches"):
            reply = await service.ops("GET", f"{path}?{asked}")
            assert (reply.status_code, reply.json()["code"]) == refusal
    empty = await service.sale()
    reply = await service.ops("GET", f"growth/branches?sale_id={empty.id}&format=csv")
    assert reply.text.splitlines() == ["\ufeffmember_id,name,members,depth,captured,refunded,kept,own_kept"]


async def test_what_members_do_is_counted(service: Service) -> None:
    """A story through the doors: a seed, two friends by two channels, and one who only looks."""
    sale = await service.sale(group_size=2)
    seed, onlooker = await service.members(2)
    codes = {
        channel: (await seed.post("/v1/invites", {"sale_id": sale.id, "channel": channel})).json()["code"]
        for channel in ("chat", "qr")
    }
    await service.http.get(f"/i/{codes['qr']}", headers=onlooker.headers)
    await service.http.get(f"/i/{codes['qr']}", headers=seed.headers)  # a look at one's own does not count
    stranger = (await service.http.get(f"/i/{codes['chat']}")).json()["visitor_token"]
    login = {"provider": "dev", "code": f"{sale.id}-friend", "visitor_token": stranger}
    token = (await service.http.post("/v1/sessions", json=login)).json()["access_token"]
    friend = type(seed)(service, "", "friend", token)
    await friend.pay((await friend.open(sale)).json()["order"]["id"])
    await service.work()
    found = (await service.ops("GET", f"growth?sale_id={sale.id}")).json()
    counts = ("active", "invites", "visitors", "logged_in", "paid", "brought", "depths", "kept")
    assert [found["total"][name] for name in counts] == [2, 2, 2, 2, 1, 1, [1], 4900]
    assert [found["channels"]["qr"][name] for name in counts] == [2, 1, 1, 1, 0, 0, [], 0]
    assert found["total"]["ratios"]["k_factor"] == {"numerator": 1, "denominator": 2, "value": 0.5}
    (branch,) = (await service.ops("GET", f"growth/branches?sale_id={sale.id}")).json()["items"]
    assert (branch["member_id"], branch["members"], branch["kept"], branch["own_kept"]) == (seed.id, 1, 4900, 0)
    assert await service.violations() == []


def query(since: datetime, until: datetime, asked: Mapping[str, str]) -> str:
    return urlencode({"from": since.isoformat(), "to": until.isoformat()} | dict(asked))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def shown(value: float | None) -> str:
    return "" if value is None else str(value)
