"""A community of every kind there is in `communities.json`, made over HTTP and seen to behave as it is named."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

from app.demo.client import Json, Member, Refused
from app.demo.scenes.scene import LOOK_SECONDS, Scene, together

SAMPLE: Json = json.loads((Path(__file__).parents[1] / "communities.json").read_text(encoding="utf-8"))
"""Bodies of `POST /v1/ops/communities` and `…/segments`, by the name of the kind."""
SEGMENTS = ("see_segment", "join_segment", "buy_segment")
EVENING, MORNING = 20, 4
"""Hours of a day at which it is night, for those who run."""
PRICE = 4900


@dataclass(frozen=True, slots=True)
class Room:
    """A community of one kind, at a running service, with the member who owns it."""

    scene: Scene
    id: str
    name: str
    owner: Member
    owner_id: str

    @property
    def path(self) -> str:
        return f"/v1/communities/{self.id}"

    async def call(self, member: Member, method: str, path: str = "", body: Json | None = None) -> Json:
        """A member's call below the community. Raises `Refused`."""
        return await self.scene.service.call(
            method, f"{self.path}{path}", token=member.token, key=token_hex(8), body=body
        )

    async def join(self, member: Member, **body: Any) -> Json:
        return await self.call(member, "POST", "/membership", body)

    async def post(self, member: Member, body: str, **more: Any) -> Json:
        return await self.call(member, "POST", "/posts", {"body": body} | more)

    async def joined(self, count: int) -> list[Member]:
        """So many new members of it."""
        members = await self.scene.members(count)
        await together(self.join(member) for member in members)
        return members

    async def expect_refused(self, what: str, code: str, attempt: Awaitable[Any]) -> None:
        """That a call is refused with this code."""
        found = await self.scene.refusal(_coroutine(attempt))
        self.scene.expect(f"{self.name}: {what}", code, found.rpartition(" ")[2])

    def expect(self, what: str, wanted: object, found: object) -> None:
        self.scene.expect(f"{self.name}: {what}", wanted, found)


async def _coroutine(attempt: Awaitable[Any]) -> Any:
    return await attempt


async def play(scene: Scene) -> None:
    """Make one of each kind, and see them behave, all at the same time."""
    await together(play_kind(scene, kind) for kind in KINDS)


async def play_kind(scene: Scene, kind: str) -> None:
    """Make a community of one kind, and see it behave."""
    try:
        room = await make(scene, kind)
        said = await KINDS[kind](room)
    except Refused as refused:
        scene.broken.append(f"{kind}: {refused}")
        return
    scene.row(room.name, said)


async def make(scene: Scene, kind: str) -> Room:
    """A community of the sample file, open, with an owner."""
    wanted: Json = SAMPLE["communities"][kind]
    body = dict(wanted["community"])
    for name in SEGMENTS:
        if name in wanted:
            segment = await scene.operate("POST", "segments", SAMPLE["segments"][wanted[name]])
            body[f"{name}_id"] = segment["id"]
    if "closes_in_seconds" in wanted:
        body["closes_at"] = (datetime.now(UTC) + timedelta(seconds=wanted["closes_in_seconds"])).isoformat()
    if wanted.get("is_at_night"):
        body["timezone"] = _where_it_is_night()
    made = await scene.operate("POST", "communities", body)
    await scene.operate("POST", f"communities/{made['id']}/open")
    owner = (await scene.members(1))[0]
    owner_id = await who(scene, owner)
    await scene.operate("PUT", f"communities/{made['id']}/owner", {"member_id": owner_id})
    return Room(scene, made["id"], body["name"], owner, owner_id)


async def who(scene: Scene, member: Member) -> str:
    """A member's id."""
    return str((await scene.get("/v1/members/me", member))["id"])


def _where_it_is_night() -> str:
    """A time zone in which it is ten in the evening now: there is one at any hour."""
    ahead = (22 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


async def double_12(room: Room) -> str:
    """It fills a group, and dissolves by itself: nothing is written any more, and what was written is gone."""
    scene, members = room.scene, await room.joined(2)
    sale = await scene.sale("双十二三人团", community_id=room.id, group_size=2, group_ttl_seconds=600)
    claim = {"offer_id": sale["offers"][0]["id"]}
    opened = await members[0].open_group(sale["id"], claim, token_hex(8))
    card = await room.post(room.owner, "差一个", kind="group_card", group_id=opened["group"]["id"])
    joined = await members[1].join(opened["group"]["id"], claim, token_hex(8))
    await together(
        scene.pay(member, answer["order"]["id"]) for member, answer in zip(members, (opened, joined), strict=True)
    )
    shown = await scene.until(
        f"/v1/posts/{card['id']}", lambda post: post["group"]["state"] == "succeeded", members[1]
    )
    room.expect("the card is live", "succeeded", shown["group"]["state"])
    over = await scene.until(room.path, lambda community: community["state"] == "dissolved", members[0], seconds=60)
    room.expect("it dissolves by itself", "dissolved", over["state"])
    await room.expect_refused("a post after it", "community_not_open", room.post(members[0], "还有人吗"))
    left = await scene.until(f"{room.path}/membership", lambda found: found["state"] == "left", members[0])
    room.expect("why nobody belongs to it", "dissolved", left["leave_reason"])
    told = await scene.until("/v1/members/me/notices", _has("summary"), members[1])
    room.expect("the summary", True, _has("summary")(told))
    give_up_at = time.monotonic() + 20
    while (kept := await _words(room)) and time.monotonic() < give_up_at:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)
    room.expect("words that are left", [], kept)
    return "a group fills, and it dissolves by itself 到点自动解散"


async def course(room: Room) -> str:
    """One applies; those who look after it decide."""
    admitted, declined, stranger = await room.scene.members(3)
    for member in (admitted, declined):
        await room.join(member, application="想学手冲")
    for member, decision in ((admitted, "approve"), (declined, "decline")):
        await room.call(room.owner, "POST", f"/members/{await who(room.scene, member)}/{decision}")
    await room.post(admitted, "第一课作业：粉水比 1:15")
    for other in (declined, stranger):
        await room.expect_refused("reading from outside", "not_allowed", room.call(other, "GET", "/posts"))
    lesson = await room.post(room.owner, "第一课：磨豆")
    await room.scene.post(room.owner, f"/v1/posts/{lesson['id']}/pin")
    feed = await room.call(admitted, "GET", "/posts")
    room.expect("posts", 2, len(feed["items"]))
    room.expect("pinned", [lesson["id"]], [post["id"] for post in feed["pinned"]])
    return "one applies, the owner decides, the lesson is pinned 申请入群"


async def paediatrics(room: Room) -> str:
    """A question is answered by an expert within the time that was promised."""
    parent, doctor = await room.joined(2)
    await room.call(room.owner, "PUT", f"/members/{await who(room.scene, doctor)}/role", {"role": "expert"})
    asked = await room.post(parent, "两岁，38.5 度，精神好，要去医院吗", kind="question")
    waiting = await room.call(parent, "GET", "/posts?kind=question&unanswered=true")
    room.expect("questions that wait", [asked["id"]], [post["id"] for post in waiting["items"]])
    await room.scene.post(doctor, f"/v1/posts/{asked['id']}/comments", {"body": "先观察，补水；超过 39 度来看"})
    question = (await room.scene.get(f"/v1/posts/{asked['id']}", parent))["question"]
    room.expect("answered in time", (True, False), (question["answered_at"] is not None, question["overdue"]))
    refused = room.post(parent, "谁能代 购 处 方 药")
    await room.expect_refused("a blocked word", "words_blocked", refused)
    told = await room.scene.get("/v1/members/me/notices", parent)
    room.expect("the answer is told", True, _has("answer")(told))
    return "an expert answers within the promise 专家限时答复"


async def baby_chain(room: Room) -> str:
    """By invite only; its flash sale is for members."""
    scene = room.scene
    member, stranger = await scene.members(2)
    await room.expect_refused("joining without an invite", "invite_needed", room.join(member))
    invite = await scene.post(room.owner, "/v1/invites", {"community_id": room.id, "channel": "chat"})
    await room.join(member, invite_code=invite["code"])
    sale = await scene.sale(
        "会员秒杀 · 纸尿裤", community_id=room.id, kind="flash", group_size=1, members_only=True, stock=5
    )
    await room.expect_refused("a stranger buys", "members_only", scene.buy(stranger, sale))
    bought = await scene.buy(member, sale)
    await scene.pay(member, bought["order"]["id"])
    card = await room.post(room.owner, "今日秒杀", kind="flash_card", sale_id=sale["id"])
    shown = await scene.get(f"/v1/posts/{card['id']}", member)
    room.expect("units left on the card", 4, shown["sale"]["offers"][0]["left"])
    return "by invite; the flash sale is for members only 会员专享秒杀"


async def new_customers(room: Room) -> str:
    """Who has bought is a new customer no more."""
    fresh, regular = await room.scene.members(2)
    await room.join(fresh)
    await _spend(room.scene, regular, 1)
    await room.expect_refused("a regular customer joins", "not_in_audience", room.join(regular))
    return "only who has not bought joins 新客专属"


async def vip(room: Room) -> str:
    """It is seen and joined by who has spent enough."""
    member, other = await room.scene.members(2)
    await room.expect_refused("seen from outside", "community_not_found", room.call(other, "GET"))
    await _spend(room.scene, member, 3)
    await room.join(member)
    room.expect("standing", "member", (await room.call(member, "GET"))["standing"])
    return "seen and joined by who spent 100 yuan 消费满百可见"


async def phone_users(room: Room) -> str:
    """What device one uses is known with one's consent only."""
    member, other = await room.scene.members(2)
    await room.scene.service.call(
        "PUT", "/v1/members/me/facts", token=member.token, body={"consents": ["device"], "device": "phone"}
    )
    await room.join(member)
    await room.expect_refused("of whom nothing is known", "not_in_audience", room.join(other))
    return "who says they use a phone 手机用户"


async def night_runners(room: Room) -> str:
    """Everybody may join; who ran at night may buy."""
    runner, sleeper = await room.joined(2)
    sale = await room.scene.sale(
        "夜跑头灯", community_id=room.id, kind="flash", group_size=1, members_only=True, stock=5
    )
    await room.post(runner, "五公里，收工", kind="check_in")
    kept = await room.scene.until("/v1/members/me/facts", lambda facts: facts["night_check_ins"] > 0, runner)
    room.expect("nights", 1, kept["night_check_ins"])
    await room.expect_refused("who did not run buys", "not_in_segment", room.scene.buy(sleeper, sale))
    bought = await room.scene.buy(runner, sale)
    await room.scene.pay(runner, bought["order"]["id"])
    return "who ran at night may buy 夜跑者专享"


async def skills(room: Room) -> str:
    """A job is taken, handed on and done; who did it is tipped."""
    scene = room.scene
    poster, first, second = await room.joined(3)
    job = await room.post(poster, "一张海报，三天，三百元", kind="job")
    await scene.post(first, f"/v1/posts/{job['id']}/take")
    await room.expect_refused("a second taker", "job_refused", scene.post(second, f"/v1/posts/{job['id']}/take"))
    receiver = await who(scene, second)
    await scene.post(first, f"/v1/posts/{job['id']}/hand-on", {"member_id": receiver})
    done = await scene.post(poster, f"/v1/posts/{job['id']}/finish")
    room.expect("hands it went through", 2, len(done["job"]["hands"]))
    await _earn(room, poster)
    tip = {"amount": 100, "community_id": room.id, "subject_id": job["id"], "note": "谢谢"}
    await scene.post(poster, f"/v1/members/{receiver}/tips", tip)
    balance = (await scene.get("/v1/members/me/balance", second))["items"]
    room.expect("the tip", [100], [one["balance"] for one in balance])
    return "a job goes from hand to hand, and a tip with it 转单与打赏"


async def paid_content(room: Room) -> str:
    """Membership is an order; what is exclusive is for those who paid; a refund ends it."""
    scene = room.scene
    payer = (await scene.members(1))[0]
    answer = await room.join(payer)
    await room.expect_refused("reading before paying", "not_allowed", room.call(payer, "GET", "/posts"))
    await scene.pay(payer, answer["order"]["id"])
    await scene.until(room.path, lambda found: found["standing"] == "member", payer)
    member = await room.call(payer, "GET", "/membership")
    room.expect("paid until", True, member["paid_until"] is not None)
    written = await room.post(room.owner, "卷上：其地，其树，其叶", exclusive=True)
    shown = await scene.get(f"/v1/posts/{written['id']}", payer)
    room.expect("what was paid for", written["body"], shown["body"])
    await scene.operate("POST", f"orders/{answer['order']['id']}/refund")
    ended = await scene.until(f"{room.path}/membership", lambda found: found["state"] != "active", payer)
    room.expect("after the refund", "lapsed", ended["state"])
    return "membership is an order like any other 付费入群"


async def reading(room: Room) -> str:
    """One checks in once a day, and is cheered."""
    reader, friend = await room.joined(2)
    post = await room.post(reader, "《茶经》第一章", kind="check_in")
    room.expect("streak", 1, post["check_in"]["streak"])
    await room.expect_refused("twice a day", "already_checked_in", room.post(reader, "再来一次", kind="check_in"))
    cheered = await room.scene.service.call("PUT", f"/v1/posts/{post['id']}/reactions/cheer", token=friend.token)
    room.expect("cheers", 1, cheered["reaction_count"])
    streaks = await room.call(friend, "GET", "/check-ins")
    room.expect("today", [1], [item["streak"] for item in streaks["items"]])
    return "check-ins, streaks and cheers 打卡与鼓励"


async def forum(room: Room) -> str:
    """What a member said can be looked up."""
    writer, reader = await room.joined(2)
    post = await room.post(writer, "龙井用八十度水")
    await room.scene.post(writer, f"/v1/posts/{post['id']}/comments", {"body": "补充：玻璃杯"})
    history = await room.call(reader, "GET", f"/members/{await who(room.scene, writer)}/posts")
    room.expect("their history", (1, 1), (history["posts"], history["comments"]))
    return "what was said can be looked up 历史可查"


async def _words(room: Room) -> list[str]:
    """What operators can still read of its posts."""
    page = await room.scene.operate("GET", f"communities/{room.id}/posts")
    return [post["body"] for post in page["items"] if post["body"]]


async def _spend(scene: Scene, member: Member, units: int) -> None:
    """Buy so many units, and wait until that is known of the member."""
    sale = await scene.sale("小试", kind="flash", group_size=1, price=PRICE, order_limit=5)
    bought = await scene.buy(member, sale, quantity=units)
    await scene.pay(member, bought["order"]["id"])
    facts = await scene.until("/v1/members/me/facts", lambda found: found["spent"] >= units * PRICE, member)
    scene.expect("what is known of a buyer", (1, units * PRICE), (facts["orders"], facts["spent"]))


async def _earn(room: Room, member: Member) -> None:
    """Earn a reward as the leader of a group, so that there is something to give."""
    scene = room.scene
    sale = await scene.sale("互助团", community_id=room.id, group_size=2, group_ttl_seconds=600)
    policy = {
        "title": "团长奖",
        "sale_id": sale["id"],
        "role": "leader",
        "levels": [{"amount": 500}],
        "mature_days": 0,
    }
    made = await scene.operate("POST", "reward-policies", policy)
    await scene.operate("POST", f"reward-policies/{made['id']}/budget", {"amount": 1000})
    friend = (await scene.members(1))[0]
    claim = {"offer_id": sale["offers"][0]["id"]}
    opened = await member.open_group(sale["id"], claim, token_hex(8))
    joined = await friend.join(opened["group"]["id"], claim, token_hex(8))
    await scene.pay(member, opened["order"]["id"])
    await scene.pay(friend, joined["order"]["id"])
    balance = await scene.until("/v1/members/me/balance", _has_money, member)
    room.expect("a reward to give from", True, _has_money(balance))


def _has_money(balances: Json) -> bool:
    return any(one["balance"] for one in balances["items"])


def _has(kind: str) -> Callable[[Json], bool]:
    """Whether there is a notice of this kind."""
    return lambda page: any(notice["kind"] == kind for notice in page["items"])


KINDS: dict[str, Callable[[Room], Awaitable[str]]] = {
    play.__name__: play
    for play in (
        *(double_12, course, paediatrics, baby_chain, new_customers, vip),
        *(phone_users, night_runners, skills, paid_content, reading, forum),
    )
}
