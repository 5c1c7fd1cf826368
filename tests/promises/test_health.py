"""The figures of communities equal a slow count of the same rows, on both databases; and who is told of them."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select, update

from app.domain.health import COUNTS, value_of
from app.domain.posts import PostKind
from app.models import Community, CommunityDay, Membership, Offer, Post
from app.services import days
from app.services.transactions import transaction
from tests.lives import ZONE, Life, Slow, live
from tests.promises.community import SERVICE, enrol, post, react, say
from tests.service import Service

DAYS = 45


@pytest.fixture
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture(scope="module")
async def lived(shared_service: Service) -> Life:
    """The life of a community over some weeks, beside another one that nobody asks about. Its days were noted."""
    service = shared_service
    begin = datetime.combine(
        service.clock().astimezone(ZONE).date() - timedelta(days=DAYS), datetime.min.time(), ZONE
    )
    since = (begin - timedelta(days=1)).isoformat()
    lives = []
    for seed in (1, 2):
        community = await service.community(purpose="service", answer_minutes=90)
        terms = {"community_id": community["id"], "opens_at": since}
        sales = [await service.sale(list_price=9900, **terms), await service.sale(**terms)]
        lives.append(await live(service, seed, community["id"], sales, begin, DAYS))
    life = lives[0]
    async with transaction(service.state, service.clock()) as work:
        row = await work.session.get_one(Community, life.community_id)
        row.member_count = len(life.memberships)
        work.session.add(row)
        for number in range(DAYS):
            await days.note_day(work, row, begin + timedelta(days=number, hours=1))
    await service.work()
    return life


async def rows_of(service: Service, community_id: str) -> list[CommunityDay]:
    async with service.state.database.snapshot() as session:
        return await days.read_days(session, community_id, date(2000, 1, 1), date(2100, 1, 1))


async def offers_of(service: Service) -> dict[str, Offer]:
    async with service.state.database.snapshot() as session:
        return {offer.id: offer for offer in (await session.exec(select(Offer))).all()}


async def test_every_figure_of_every_day_equals_a_slow_count(service: Service, lived: Life) -> None:
    offers, rows = await offers_of(service), await rows_of(service, lived.community_id)
    assert len(rows) == DAYS + 1  # the last day was closed, and the next one begun
    sums: dict[str, int] = {}
    for row in rows[:-1]:
        slow = Slow(lived, offers, date.fromisoformat(row.day))
        wanted = slow.figures() | slow.shares()
        assert row.figures == wanted, row.day
        assert (row.value, row.closes_at, row.counted) == (value_of(wanted), None, row.version)
        sums = {name: sums.get(name, 0) + wanted.get(name, 0) for name in sums.keys() | wanted.keys()}
    assert [name for name in COUNTS if not sums[name]] == []  # nothing equals only because there is nothing
    assert sum(count for name, count in sums.items() if name.startswith("again_")) > 5
    assert sum(name.startswith("left_") for name in sums) > 4
    assert all(sums[share] for share in ("active", "silent", "dormant", "zombie"))


async def test_health_is_told_from_the_days_alone(service: Service, lived: Life) -> None:
    rows = await rows_of(service, lived.community_id)
    reply = await service.ops("GET", f"communities/{lived.community_id}/health")
    assert reply.status_code == 200, reply.text
    found = reply.json()
    today = service.clock().astimezone(ZONE).date()
    assert (found["since"], found["until"], found["days"]) == (str(today - timedelta(28)), str(today), 28)
    inside = rows[-29:-1]
    for name in ("answers", "pushes", "revenue", "savings"):
        assert found["figures"][name] == sum(row.figures[name] for row in inside)
    assert found["shares"] == {name: rows[-2].figures[name] for name in found["shares"]}
    assert sum(found["balance"]["given"].values()) == found["balance"]["ratio"]["numerator"]
    assert sum(row.value for row in inside) + found["figures"]["rewards"] // 1000 == sum(
        found["balance"]["given"].values()
    )
    conversion = found["triad"]["conversion"]
    assert (conversion["numerator"], conversion["denominator"]) == (rows[-2].figures["buyers_28"], 29)
    assert found["score"] == rows[-2].score
    assert 0 <= found["score"] <= 100
    assert round(100 - sum(one["lost"] for one in found["components"])) == found["score"]
    assert [one["lost"] for one in found["advice"]] == sorted(
        (one["lost"] for one in found["advice"]), reverse=True
    )
    assert all(one["reason"]["zh"] and one["reason"]["en"] for one in found["components"])
    assert found["advice"][0]["advice"]["zh"] in reply.text


async def test_cohorts_are_those_whose_thirty_days_were_over(service: Service, lived: Life) -> None:
    until = service.clock().astimezone(ZONE).date()
    reply = await service.ops("GET", f"communities/{lived.community_id}/health?from={until - timedelta(40)}")
    cohorts = reply.json()["triad"]["cohorts"]
    assert cohorts
    orders = sorted((one for one in lived.orders if one.paid_at), key=lambda one: (one.paid_at, one.id))
    for cohort in cohorts:
        week = date.fromisoformat(cohort["week"])
        assert week.weekday() == 0
        assert until - timedelta(40) <= week + timedelta(36) < until
        buyers = again = 0
        for member in {one.member_id for one in orders}:
            paid = [one.paid_at for one in orders if one.member_id == member]
            if week <= paid[0].astimezone(ZONE).date() < week + timedelta(7):
                buyers += 1
                again += len(paid) > 1 and paid[1] - paid[0] <= timedelta(days=30)
        assert (cohort["again"]["numerator"], cohort["again"]["denominator"]) == (again, buyers)


async def test_the_days_are_a_curve_and_a_spreadsheet(service: Service, lived: Life) -> None:
    path = f"communities/{lived.community_id}/health"
    found = (await service.ops("GET", f"{path}/days")).json()
    assert len(found["items"]) == 28
    assert [one["whole"] for one in found["items"]] == [*[True] * 27, False]
    lines = table((await service.ops("GET", f"{path}/days", accept="text/csv")).text)
    assert [line["day"] for line in lines] == [one["day"] for one in found["items"]]
    for line, one in zip(lines, found["items"], strict=True):
        assert line["posts"] == str(one["figures"]["posts"])
        assert line["score"] == ("" if one["score"] is None else str(one["score"]))
    told = table((await service.ops("GET", f"{path}?format=csv")).text)
    health = (await service.ops("GET", path)).json()
    assert (told[0]["part"], told[0]["value"], told[0]["zh"]) == (
        "total",
        str(health["score"]),
        health["words"]["zh"],
    )
    parts = {line["name"]: line["score"] for line in told if line["part"] == "component"}
    assert parts == {one["part"]: str(one["score"]) for one in health["components"]}
    shown = {line["name"]: line["value"] for line in told if line["part"] == "figures"}
    assert shown == {name: str(count) for name, count in health["figures"].items()}


async def test_what_is_asked_about_is_bounded(service: Service, lived: Life) -> None:
    path = f"communities/{lived.community_id}/health"
    for asked in (
        "from=2026-01-02&to=2026-01-02",
        "from=2026-01-01&to=2026-07-01",
        "from=2026-01-02&to=2026-01-01",
    ):
        for tail in ("", "/days"):
            reply = await service.ops("GET", f"{path}{tail}?{asked}")
            assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms")
    assert (await service.ops("GET", f"{path}?from=2026-01-01&to=2026-06-30")).status_code == 200
    early = (await service.ops("GET", f"{path}?from=2020-01-01&to=2020-01-29")).json()
    assert (early["until"], early["score"], early["shares"]) == ("2020-01-29", None, None)
    nobody = f"communities/com_{'0' * 32}/health"
    assert (await service.ops("GET", nobody)).json()["code"] == "community_not_found"


async def test_health_is_for_those_who_lead(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner)
    await member.enrol(community)
    await service.work()
    path = f"/v1/communities/{community['id']}/health"
    found = (await owner.get(path)).json()
    assert (found["score"], found["verdict"], found["components"]) == (None, None, [])
    assert "0 days were counted of at least 7" in found["words"]["en"]
    assert "数据不足" in found["words"]["zh"]
    (today,) = (await owner.get(f"{path}/days")).json()["items"]
    assert (today["figures"]["joins"], today["figures"]["members"], today["whole"]) == (2, 2, False)
    for tail in ("", "/days"):
        assert (await member.get(path + tail)).json()["code"] == "not_allowed"
        assert (await (await service.member()).get(path + tail)).json()["code"] == "not_allowed"
        assert (await service.http.get(path + tail)).status_code == 401


async def test_a_day_is_counted_at_most_once_a_minute_and_whole_when_it_is_over(service: Service) -> None:
    owner = await service.member()
    community = await service.community(owner)
    await service.work()
    (row,) = await rows_of(service, community["id"])
    assert (row.figures["joins"], row.counted, row.score) == (1, row.version, None)
    await (await service.member()).enrol(community)
    await service.work()
    (row,) = await rows_of(service, community["id"])
    assert (row.figures["joins"], row.counted) == (1, row.version - 1)
    service.clock.advance(61)
    await service.work()
    rows = await rows_of(service, community["id"])
    assert rows[0].figures["joins"] == 2
    assert "active" not in rows[-1].figures
    service.clock.advance(86_400)
    await service.work()
    rows = await rows_of(service, community["id"])
    closed = rows[-2]
    assert (closed.closes_at, closed.figures["members"], closed.figures["silent"]) == (None, 2, 2)
    assert rows[-1].closes_at is not None
    assert rows[-1].closes_at > service.clock()
    service.clock.advance(5 * 86_400)  # no worker ran: the days between have no row
    await service.work()
    assert len(await rows_of(service, community["id"])) == len(rows) + 1


async def test_who_was_active_on_a_day_that_is_over_does_not_change(service: Service) -> None:
    owner = await service.member()
    community = await service.community(owner)
    noon = service.clock()
    service.clock.advance(86_400)
    await service.work()
    before = (await rows_of(service, community["id"]))[0]
    assert (before.figures["silent"], before.figures["active"]) == (1, 0)
    async with transaction(service.state, service.clock()) as work:
        key = col(Membership.community_id) == community["id"]
        await work.session.exec(update(Membership).where(key).values(acted_at=noon))
        work.session.add(
            Post(
                community_id=community["id"],
                author_id=owner.id,
                kind=PostKind.TEXT,
                body="late",
                created_at=noon,
                request_key="late",
            )
        )
        row = await work.session.get_one(Community, community["id"])
        await days.note_day(work, row, noon)
    service.clock.advance(61)
    await service.work()
    after = (await rows_of(service, community["id"]))[0]
    assert (before.figures["posts"], after.figures["posts"]) == (0, 1)
    assert (after.figures["silent"], after.figures["active"], after.counted) == (1, 0, after.version)


async def test_of_two_counts_at_once_one_is_kept(service: Service) -> None:
    community = await service.community(await service.member())
    (row,) = await rows_of(service, community["id"])
    assert await days.count_day(service.state, row, service.clock())
    (counted,) = await rows_of(service, community["id"])
    async with service.state.database.transaction() as session:
        await session.exec(
            update(CommunityDay)
            .where(col(CommunityDay.community_id) == row.community_id)
            .values(version=CommunityDay.version + 1)
        )
    assert counted.counted == counted.version
    assert await days.count_day(service.state, counted, service.clock())
    (again,) = await rows_of(service, community["id"])
    assert again.counted == counted.counted + 1


async def test_communities_are_ranked_by_their_score(service: Service) -> None:
    day, scores = "2031-05-05", [7, 93, 7, 40, None]
    ids = []
    for score in scores:
        community = await service.community()
        ids.append(community["id"])
        async with service.state.database.transaction() as session:
            row = CommunityDay(community_id=community["id"], day=day, score=score, figures={"members": 12})
            session.add(row)
    wanted = [ids[number] for number in (0, 2, 3, 1)]
    found = (await service.ops("GET", f"community-health?day={day}")).json()
    assert [one["community_id"] for one in found["items"]] == wanted
    assert ([one["score"] for one in found["items"]], found["next"]) == ([7, 7, 40, 93], None)
    paged: list[str] = []
    after = ""
    while True:
        page = (await service.ops("GET", f"community-health?day={day}&limit=1{after}")).json()
        paged += [one["community_id"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert paged == wanted
    assert (await service.ops("GET", "community-health")).json()["day"] == str(
        service.clock().astimezone(UTC).date() - timedelta(1)
    )


async def test_what_members_do_through_the_doors_is_counted(service: Service) -> None:
    """A group bought together, and half of it refunded: the money is what is kept."""
    owner = await service.member()
    community = await service.community(owner)
    sale = await service.sale(community_id=community["id"], group_size=2, list_price=9900)
    friend = await service.member()
    opened = (await owner.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    await owner.pay(opened["order"]["id"])
    await friend.pay(joined["order"]["id"])
    assert await figures(service, community["id"]) == (2, 2, 9800, 10_000, 1, 3 + 10)
    headers = {"idempotency-key": sale.id}
    assert (await service.ops("POST", f"orders/{joined['order']['id']}/refund", **headers)).is_success
    assert await figures(service, community["id"]) == (2, 2, 4900, 5000, 1, 3 + 5)


async def figures(service: Service, community_id: str) -> tuple[int, ...]:
    """What was sold today, as the worker of facts has it counted."""
    await service.work()
    async with transaction(service.state, service.clock()) as work:
        await days.note_day(work, await work.session.get_one(Community, community_id))
    service.clock.advance(61)
    await service.work()
    row = (await rows_of(service, community_id))[0]
    names = ("orders", "buyers", "revenue", "savings", "groups_filled")
    return (*(row.figures[name] for name in names), row.value)


def table(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


async def test_a_few_accounts_that_thank_each_other_all_day_are_a_few_people(service: Service) -> None:
    owner, first, second = await service.members(3)
    made = await service.community(owner, **SERVICE)
    await enrol(made, first, second)
    for number in range(10):
        question = await post(first, made, f"问{number}", kind="question") if number < 3 else None
        shown = await post(owner, made, f"帖{number}")
        for puppet in (first, second):
            await react(puppet, shown)
            await say(puppet, shown["id"])
        if question is not None:
            await say(owner, question["id"])
    await service.work()
    (row,) = await rows_of(service, made["id"])
    assert (row.figures["useful_posts"], row.figures["answers_in_time"], row.figures["people"]) == (10, 3, 3)
    assert (row.figures["uncounted"], row.value) == (10 * 4 + 3 * 5 - 9, 9)
