"""Posts and what members say to them: written once, read a page at a time, counted exactly."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlmodel import col

from app.domain.memberships import Role
from app.domain.posts import MOST_PINNED
from app.models import Community as CommunityRow
from app.models import Membership
from app.workers import memories
from tests.promises.community import (
    GROWTH,
    SERVICE,
    Community,
    appoint,
    change,
    delete,
    enrol,
    feed,
    of,
    post,
    react,
    refused,
    say,
    see,
)
from tests.promises.money import later, log_in_again
from tests.service import FLASH, Member, Service, gather_limited


async def told(service: Service, member: Member) -> list[tuple[str, str | None]]:
    """What a member was told, and of what."""
    async with service.state.database.snapshot() as session:
        rows = await (await session.connection()).execute(
            text("SELECT kind, subject_id FROM notices WHERE member_id = :id ORDER BY id"), {"id": member.id}
        )
        return [(row[0], row[1]) for row in rows.all()]


async def dissolve(service: Service, community: Community) -> None:
    """Dissolve a community before its time."""
    assert (await service.ops("POST", f"communities/{community['id']}/dissolve")).status_code == 200


async def test_a_post_is_read_and_answered(service: Service) -> None:
    owner, member = await service.member("张三丰"), await service.member("李四")
    community = await service.community(owner)
    await enrol(community, member)
    made = await post(member, community, "今天的新茶到了")
    assert made["author"] == {"member_id": member.id, "name": "李*", "role": "member"}
    comment = await say(owner, made["id"], mentions=[member.id, owner.id])
    assert comment["author"]["role"] == "owner"
    assert (await react(owner, made))["reactions"] == ["like"]
    assert (await react(owner, comment, "thanks"))["reaction_count"] == 1
    seen = await see(owner, made["id"])
    assert (seen["comment_count"], seen["reaction_count"], seen["reactions"]) == (1, 1, ["like"])
    assert (await see(member, made["id"]))["reactions"] == []
    said = (await member.get(f"/v1/posts/{made['id']}/comments")).json()["items"]
    assert [(item["id"], item["body"], item["reaction_count"]) for item in said] == [(comment["id"], "好的", 1)]
    assert await told(service, member) == [("mention", comment["id"])]
    assert [item["id"] for item in (await feed(owner, community))["items"]] == [made["id"]]
    assert await service.violations() == []


async def test_the_same_key_posts_once(service: Service) -> None:
    owner = await service.member()
    community, other = await service.community(owner), await service.community(owner)
    path = f"/v1/communities/{community['id']}/posts"
    first, again = [await owner.post(path, {"body": "一次"}, key="once") for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    await refused(owner.post(path, {"body": "两次"}, key="once"), 422, "idempotency_key_reused")
    await refused(
        owner.post(f"/v1/communities/{other['id']}/posts", {"body": "一次"}, key="once"),
        422,
        "idempotency_key_reused",
    )
    comments = f"/v1/posts/{first.json()['id']}/comments"
    said = [await owner.post(comments, {"body": "好"}, key="once") for _ in range(2)]
    assert said[0].json() == said[1].json()
    await refused(owner.post(comments, {"body": "不好"}, key="once"), 422, "idempotency_key_reused")
    at_once = await gather_limited(owner.post(path, {"body": "同时"}, key="at-once") for _ in range(20))
    assert len({reply.json()["id"] for reply in at_once if reply.status_code == 201}) == 1
    elsewhere = await gather_limited(
        owner.post(f"/v1/communities/{here['id']}/posts", {"body": "同时"}, key="both")
        for here in (community, other) * 5
    )
    assert {reply.status_code for reply in elsewhere} <= {201, 422}
    assert len({reply.json()["id"] for reply in elsewhere if reply.status_code == 201}) == 1
    assert await delete(owner, f"/v1/posts/{first.json()['id']}") == 204
    await refused(owner.post(path, {"body": "一次"}, key="once"), 404, "post_not_found")
    assert (await see(owner, at_once[0].json()["id"]))["comment_count"] == 0


async def test_the_feed_is_read_page_by_page(service: Service) -> None:
    owner = await service.member()
    community = await service.community(owner)
    made = [(await post(owner, community, f"{number}"))["id"] for number in range(7)]
    question = await post(owner, community, "几度？", kind="question")
    pages, after = [], None
    while True:
        page = await feed(owner, community, limit=3, **({"after": after} if after else {}))
        pages += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert pages == [question["id"], *reversed(made)]
    assert [item["id"] for item in (await feed(owner, community, kind="question"))["items"]] == [question["id"]]
    for id_ in made:
        assert (await owner.post(f"/v1/posts/{id_}/pin")).json()["pinned_at"]
    assert (await owner.post(f"/v1/posts/{made[5]}/unpin")).json()["pinned_at"] is None
    page = await feed(owner, community, limit=2)
    assert [item["id"] for item in page["pinned"]] == [made[number] for number in (6, 4, 3, 2, 1)]
    assert len(page["pinned"]) == MOST_PINNED
    assert (await feed(owner, community, after=page["next"]))["pinned"] == []
    assert (await feed(owner, community, kind="text"))["pinned"] == []


async def test_a_post_that_is_taken_back_leaves_no_words(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner)
    await enrol(community, member)
    made = await post(owner, community, "秘密", mentions=[member.id])
    comment = await say(member, made["id"], "也是秘密")
    assert (await see(member, made["id"]))["mentions"][0]["member_id"] == member.id
    assert await delete(member, f"/v1/posts/{made['id']}") == 404
    assert await delete(owner, f"/v1/comments/{comment['id']}") == 404
    assert await delete(member, f"/v1/comments/{comment['id']}") == 204
    assert await delete(member, f"/v1/comments/{comment['id']}") == 404
    assert (await see(owner, made["id"]))["comment_count"] == 0
    assert await delete(owner, f"/v1/posts/{made['id']}") == 204
    await refused(member.get(f"/v1/posts/{made['id']}"), 404, "post_not_found")
    assert (await feed(member, community))["items"] == []
    assert await service.violations() == []


async def test_who_may_do_nothing(service: Service) -> None:
    """Strangers, those who were blocked and those who left; and nobody in what is dissolved."""
    owner, stranger, blocked, left, member = await service.members(5)
    community = await service.community(owner, **GROWTH)
    await enrol(community, blocked, left, member)
    made = await post(owner, community)
    comment = await say(owner, made["id"])
    job = await post(owner, community, "设计海报", kind="job")
    here = f"/v1/communities/{community['id']}"
    assert (await owner.post(f"{here}/members/{blocked.id}/block")).status_code == 200
    assert await delete(left, f"{here}/membership?reason=other") == 200
    reads = [
        f"/v1/communities/{community['id']}/posts",
        f"/v1/communities/{community['id']}/check-ins",
        f"/v1/communities/{community['id']}/members/{owner.id}/posts",
        f"/v1/posts/{made['id']}",
        f"/v1/posts/{made['id']}/comments",
    ]
    writes: list[tuple[str, str, Any]] = [
        ("POST", reads[0], {"body": "你好"}),
        ("POST", f"/v1/posts/{made['id']}/comments", {"body": "你好"}),
        ("PUT", f"/v1/posts/{made['id']}/reactions/like", None),
        ("DELETE", f"/v1/posts/{made['id']}/reactions/like", None),
        ("PUT", f"/v1/comments/{comment['id']}/reactions/like", None),
        ("POST", f"/v1/posts/{made['id']}/reports", {"reason": "other"}),
        ("POST", f"/v1/posts/{job['id']}/take", None),
        ("DELETE", f"/v1/posts/{made['id']}", None),
    ]

    async def ask(who: Member, method: str, path: str, body: Any = None) -> str:
        headers = who.headers | {"idempotency-key": uuid4().hex}
        reply = await service.http.request(method, path, json=body, headers=headers)
        return str(reply.json()["code"]) if reply.status_code >= 400 else "done"

    for who, code in ((stranger, "not_allowed"), (blocked, "member_blocked"), (left, "not_allowed")):
        for path in reads:
            assert await ask(who, "GET", path) == code, path
        for method, path, body in writes:
            assert await ask(who, method, path, body) == code, path
    moderators = [f"/v1/posts/{made['id']}/{verb}" for verb in ("pin", "unpin", "hide", "unhide")]
    for path in moderators:
        assert await ask(member, "POST", path) == "not_allowed", path
    assert await ask(member, "GET", f"{reads[0]}?hidden=true") == "not_allowed"
    assert await ask(member, "GET", f"/v1/communities/{community['id']}/reports") == "not_allowed"
    await dissolve(service, community)
    for path in reads:
        assert await ask(member, "GET", path) == "done", path
    for method, path, body in writes:
        assert await ask(member, method, path, body) == "community_not_open", path
    for path in moderators:
        assert await ask(owner, "POST", path) == "community_not_open", path
    assert await service.violations() == []


async def test_questions_are_answered_as_promised(service: Service) -> None:
    owner, expert, asker, member = await service.members(4)
    community = await service.community(owner, **SERVICE)
    await enrol(community, expert, asker, member)
    await appoint(service, community, expert, Role.EXPERT)
    first = await post(asker, community, "孩子发烧怎么办？", kind="question")
    second = await post(asker, community, "要看医生吗？", kind="question")
    assert first["question"]["answered_at"] is None
    due = first["question"]["answer_due_at"]
    assert not first["question"]["overdue"]
    assert not (await say(member, first["id"], "我也想知道"))["is_answer"], "here experts answer"
    assert not (await say(asker, first["id"], "谢谢"))["is_answer"]
    await later(service, 3601, owner, expert, asker, member)
    waiting = await feed(expert, community, kind="question", unanswered="true", limit=1)
    assert [item["id"] for item in waiting["items"]] == [first["id"]], "who waits longest is first"
    assert waiting["items"][0]["question"]["overdue"]
    rest = await feed(expert, community, kind="question", unanswered="true", after=waiting["next"])
    assert ([item["id"] for item in rest["items"]], rest["next"]) == ([second["id"]], None)
    answer = await say(expert, first["id"], "先量体温")
    assert answer["is_answer"]
    shown = (await see(asker, first["id"]))["question"]
    assert shown == {"answered_at": answer["created_at"], "answer_due_at": due, "overdue": True}
    await say(owner, first["id"], "多喝水")
    assert (await see(asker, first["id"]))["question"]["answered_at"] == answer["created_at"], "the first counts"
    assert [kind for kind, _ in await told(service, asker)] == ["answer", "answer"]
    left = await feed(owner, community, unanswered="true")
    assert [item["id"] for item in left["items"]] == [second["id"]]
    assert await service.violations() == []


async def test_where_nothing_is_promised_everybody_answers(service: Service) -> None:
    owner, asker, member = await service.members(3)
    community = await service.community(owner)
    await enrol(community, asker, member)
    question = await post(asker, community, "几度？", kind="question")
    assert question["question"]["answer_due_at"] is None
    assert (await say(member, question["id"]))["is_answer"]
    assert not (await say(member, (await post(asker, community))["id"]))["is_answer"]


async def test_one_checks_in_once_a_day(service: Service) -> None:
    owner, member, friend = await service.members(3)
    community = await service.community(owner, **GROWTH)
    await enrol(community, member, friend)
    path = f"/v1/communities/{community['id']}/posts"
    streaks = f"/v1/communities/{community['id']}/check-ins"
    assert (await member.get(streaks)).json()["your_streak"] == 0
    for day in range(1, 4):
        replies = await gather_limited(member.post(path, {"kind": "check_in"}) for _ in range(50))
        made = [reply.json() for reply in replies if reply.status_code == 201]
        assert [post["check_in"]["streak"] for post in made] == [day]
        codes = {reply.json()["code"] for reply in replies if reply.status_code != 201}
        assert codes == {"already_checked_in"}
        await later(service, 86_400, owner, member, friend)
    shown = (await member.get(streaks)).json()
    assert (shown["your_streak"], shown["checked_in"], shown["items"]) == (3, False, [])
    await post(friend, community, "", kind="check_in")
    made_today = await post(member, community, "", kind="check_in")
    assert (await react(friend, made_today, "cheer"))["reactions"] == ["cheer"]
    shown = (await friend.get(streaks)).json()
    assert [(item["author"]["member_id"], item["streak"]) for item in shown["items"]] == [
        (member.id, 4),
        (friend.id, 1),
    ]
    await later(service, 2 * 86_400, owner, member, friend)
    assert (await member.get(streaks)).json()["your_streak"] == 0
    assert (await post(member, community, "", kind="check_in"))["check_in"]["streak"] == 1
    sales = await service.community(owner)
    await refused(
        owner.post(f"/v1/communities/{sales['id']}/posts", {"kind": "check_in"}), 409, "post_kind_refused"
    )
    assert await service.violations() == []


async def test_reactions_are_counted_once_each(service: Service) -> None:
    owner, *members = await service.members(6)
    community = await service.community(owner)
    await enrol(community, *members)
    made = await post(owner, community)
    comment = await say(owner, made["id"])
    for subject in (made, comment):
        await gather_limited(react(member, subject) for member in members for _ in range(10))
        assert (await react(owner, subject, "thanks"))["reaction_count"] == 6
        await gather_limited(react(member, subject, on=False) for member in members[:2] for _ in range(5))
        assert (await react(owner, subject, "thanks"))["reaction_count"] == 4
    assert await service.violations() == []


async def test_cards_show_what_they_are_about_live(service: Service) -> None:
    owner, buyer = await service.members(2)
    community = await service.community(owner)
    sale = await service.sale(community_id=community["id"], group_size=2)
    flash = await service.sale(community_id=community["id"], **FLASH)
    group_id = (await buyer.open(sale)).json()["group"]["id"]
    made = await post(owner, community, kind="group_card", group_id=group_id)
    assert (made["group"]["id"], made["group"]["held"]) == (group_id, 1)
    shown = await post(owner, community, kind="flash_card", sale_id=flash.id)
    assert shown["sale"]["offers"][0]["left"] == 100
    await buyer.buy(flash)
    items = {item["id"]: item for item in (await feed(owner, community))["items"]}
    assert items[shown["id"]]["sale"]["offers"][0]["left"] == 99
    await owner.join(sale, group_id)
    assert (await see(owner, made["id"]))["group"]["held"] == 2
    path = f"/v1/communities/{community['id']}/posts"
    elsewhere, draft = (
        await service.sale(group_size=2),
        await service.sale(community_id=community["id"], publish=False, **FLASH),
    )
    foreign = (await buyer.open(elsewhere)).json()["group"]["id"]
    wrong = {"kind": "group_card", "group_id": foreign}
    await refused(owner.post(path, wrong), 404, "group_not_found")
    for sale_id in (draft.id, sale.id, (await service.sale(**FLASH)).id):
        await refused(owner.post(path, {"kind": "flash_card", "sale_id": sale_id}), 404, "sale_not_found")
    async with service.state.database.transaction() as session:
        await (await session.connection()).execute(
            text("INSERT INTO sale_communities (sale_id, community_id) VALUES (:sale, :community)"),
            {"sale": elsewhere.id, "community": community["id"]},
        )
    assert (await post(owner, community, **wrong))["group"]["id"] == foreign, "a sale may belong to several"


async def test_jobs_go_from_hand_to_hand(service: Service) -> None:
    owner, offers, takes, helps, other = await service.members(5)
    community = await service.community(owner)
    await enrol(community, offers, takes, helps, other)
    job = await post(offers, community, "做一张海报", kind="job")
    assert job["job"] == {"state": "offered", "holder": None, "hands": []}
    path = f"/v1/posts/{job['id']}"
    await refused(offers.post(f"{path}/take"), 403, "not_allowed")
    await refused(offers.post(f"{path}/finish"), 409, "job_refused")
    taken = (await takes.post(f"{path}/take")).json()["job"]
    assert (taken["state"], taken["holder"]["member_id"]) == ("taken", takes.id)
    assert (await takes.post(f"{path}/take")).json()["job"] == taken
    await refused(other.post(f"{path}/take"), 409, "job_refused")
    await refused(other.post(f"{path}/hand-on", {"member_id": helps.id}), 403, "not_allowed")
    for wrong in (takes, offers):
        await refused(takes.post(f"{path}/hand-on", {"member_id": wrong.id}), 422, "invalid_terms")
    stranger = await service.member()
    await refused(takes.post(f"{path}/hand-on", {"member_id": stranger.id}), 404, "member_not_found")
    handed = (await takes.post(f"{path}/hand-on", {"member_id": helps.id})).json()["job"]
    assert [(hand["giver"]["member_id"], hand["receiver"]["member_id"]) for hand in handed["hands"]] == [
        (offers.id, takes.id),
        (takes.id, helps.id),
    ]
    assert await told(service, helps) == [("mention", job["id"])]
    await refused(takes.post(f"{path}/hand-on", {"member_id": other.id}), 403, "not_allowed")
    await refused(helps.post(f"{path}/finish"), 403, "not_allowed")
    assert (await offers.post(f"{path}/finish")).json()["job"]["state"] == "done"
    assert (await offers.post(f"{path}/finish")).json()["job"]["state"] == "done"
    await refused(offers.post(f"{path}/withdraw"), 409, "job_refused")
    withdrawn = await post(offers, community, "另一张", kind="job")
    assert (await offers.post(f"/v1/posts/{withdrawn['id']}/withdraw")).json()["job"]["state"] == "withdrawn"
    await refused(other.post(f"/v1/posts/{withdrawn['id']}/take"), 409, "job_refused")
    await refused(other.post(f"/v1/posts/{(await post(owner, community))['id']}/take"), 404, "post_not_found")
    gone = await post(offers, community, "再一张", kind="job")
    assert await delete(offers, f"/v1/posts/{gone['id']}") == 204
    assert await service.violations() == []


async def test_one_of_fifty_takes_a_job(service: Service) -> None:
    owner, *members = await service.members(51)
    community = await service.community(owner)
    await gather_limited(member.enrol(community) for member in members)
    job = await post(owner, community, "谁来？", kind="job")
    replies = await gather_limited(member.post(f"/v1/posts/{job['id']}/take") for member in members)
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 49
    (winner,) = [reply.json()["job"]["holder"] for reply in replies if reply.status_code == 200]
    assert (await see(owner, job["id"]))["job"]["holder"] == winner
    assert await service.violations() == []


async def test_exclusive_posts_are_for_those_who_paid(service: Service) -> None:
    owner, paid, unpaid = await service.members(3)
    community = await service.community(owner)
    await enrol(community, paid, unpaid)
    path = f"/v1/communities/{community['id']}/posts"
    problem = await refused(owner.post(path, {"body": "课程", "exclusive": True}), 422, "invalid_terms")
    assert problem["field"] == "exclusive"
    plan = await service.sale(**FLASH)
    where = col(CommunityRow.id) == community["id"]
    await change(service, CommunityRow, where, join_mode="paid", period_days=30, plan_sale_id=plan.id)
    until = service.clock() + timedelta(days=30)
    await change(service, Membership, *of(community, paid), paid_until=until)
    await refused(paid.post(path, {"body": "课程", "exclusive": True}), 403, "not_allowed")
    made = await post(owner, community, "第一课", exclusive=True, pictures=["https://cdn.example.com/1.jpg"])
    await say(paid, made["id"], "收获很大")
    shown, teaser = (await feed(paid, community))["items"][0], (await feed(unpaid, community))["items"][0]
    assert (shown["body"], len(shown["pictures"]), shown["comment_count"]) == ("第一课", 1, 1)
    assert (teaser["body"], teaser["pictures"], teaser["exclusive"], teaser["comment_count"]) == (None, [], True, 1)
    await refused(unpaid.get(f"/v1/posts/{made['id']}/comments"), 403, "not_allowed")
    await refused(unpaid.post(f"/v1/posts/{made['id']}/comments", {"body": "?"}), 403, "not_allowed")
    history = (await unpaid.get(f"/v1/communities/{community['id']}/members/{paid.id}/posts")).json()
    assert [item["comment"]["body"] for item in history["items"]] == [None]
    await later(service, 31 * 86_400, owner, paid, unpaid)
    await refused(paid.get(f"/v1/posts/{made['id']}"), 403, "not_allowed")  # the membership has lapsed


async def test_a_forum_can_be_looked_up(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner, form="forum")
    await enrol(community, member)
    question = await post(owner, community, "几度？", kind="question")
    written = []
    for number in range(3):
        written += [(await post(member, community, f"{number}"))["id"], (await say(member, question["id"]))["id"]]
    gone = await say(member, question["id"], "错了")
    assert await delete(member, f"/v1/comments/{gone['id']}") == 204
    path = f"/v1/communities/{community['id']}/members/{member.id}/posts"
    found: list[str] = []
    after = None
    while True:
        page = (await owner.get(path, params={"limit": 2} | ({"after": after} if after else {}))).json()
        found += [(item["post"] or item["comment"])["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == written[::-1]
    assert (page["posts"], page["comments"], page["answers"]) == (3, 3, 3)
    assert page["member"]["member_id"] == member.id
    nobody = await service.member()
    await refused(
        owner.get(f"/v1/communities/{community['id']}/members/{nobody.id}/posts"), 404, "member_not_found"
    )


async def test_a_history_tells_no_more_than_the_feed(service: Service) -> None:
    owner, member, applicant = await service.members(3)
    community = await service.community(owner, join_mode="approve")
    path = f"/v1/communities/{community['id']}/members"
    for one in (member, applicant):
        await one.post(f"/v1/communities/{community['id']}/membership")
    assert (await owner.post(f"{path}/{member.id}/approve")).status_code == 200
    await refused(member.get(f"{path}/{applicant.id}/posts"), 404, "member_not_found")
    asked = await post(owner, community)
    await say(owner, asked["id"])
    assert (await owner.post(f"/v1/posts/{asked['id']}/hide")).status_code == 200
    for viewer, words in ((member, None), (owner, "好的")):
        written = (await viewer.get(f"{path}/{owner.id}/posts")).json()["items"]
        assert [item["comment"]["body"] for item in written if item["comment"]] == [words]


async def test_of_a_community_that_one_may_not_see_there_are_no_posts(service: Service) -> None:
    owner, stranger = await service.members(2)
    listed = {"name": "us", "kind": "static", "member_ids": [owner.id]}
    segment = (await service.ops("POST", "segments", listed)).json()
    community = await service.community(owner, see_segment_id=segment["id"])
    made = await post(owner, community)
    said = await say(owner, made["id"])
    for id_, code in ((made["id"], "post_not_found"), (said["id"], "comment_not_found")):
        noun = "posts" if id_ == made["id"] else "comments"
        path = f"/v1/{noun}/{id_}"
        await refused(stranger.post(f"{path}/reports", {"reason": "other"}), 404, code)
        await refused(service.http.delete(path, headers=stranger.headers), 404, code)
    await refused(stranger.get(f"/v1/posts/{made['id']}"), 404, "post_not_found")


async def test_a_chat_forgets(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner, form="chat", memory_days=2)
    await enrol(community, member)
    await refused(owner.get(f"/v1/communities/{community['id']}/members/{owner.id}/posts"), 409, "history_not_kept")
    old = await post(owner, community, "昨天的话", mentions=[member.id])
    await say(member, old["id"], "昨天的回答")
    await later(service, 86_400, owner, member)
    new = await post(owner, community, "今天的话")
    assert [item["id"] for item in (await feed(member, community))["items"]] == [new["id"], old["id"]]
    service.clock.advance(86_401)  # no worker has looked yet
    log_in_again(service, owner, member)
    assert [item["id"] for item in (await feed(member, community))["items"]] == [new["id"]]
    await refused(member.get(f"/v1/posts/{old['id']}"), 404, "post_not_found")
    await refused(member.post(f"/v1/posts/{old['id']}/comments", {"body": "?"}), 404, "post_not_found")
    while await memories.run_once(service.state, service.clock()):
        pass
    async with service.state.database.snapshot() as session:
        rows = await (await session.connection()).execute(
            text("SELECT body FROM posts WHERE id = :id UNION ALL SELECT body FROM comments WHERE post_id = :id"),
            {"id": old["id"]},
        )
        assert [row[0] for row in rows.all()] == ["", ""]
    assert (await see(member, new["id"]))["body"] == "今天的话"
    assert await service.violations() == []


async def test_what_is_dissolved_to_be_erased_is_forgotten(service: Service) -> None:
    owner = await service.member()
    closes_at = (service.clock() + timedelta(days=1)).isoformat()
    kept, erased = [
        await service.community(owner, lifespan="flash", closes_at=closes_at, on_dissolve=policy)
        for policy in ("keep", "erase")
    ]
    made = {community["id"]: await post(owner, community, "双十二") for community in (kept, erased)}
    for community in (kept, erased):
        await dissolve(service, community)
    while await memories.run_once(service.state, service.clock()):
        pass
    assert (await see(owner, made[kept["id"]]["id"]))["body"] == "双十二"
    await refused(owner.get(f"/v1/posts/{made[erased['id']]['id']}"), 404, "post_not_found")
