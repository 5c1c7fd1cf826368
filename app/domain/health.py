"""Whether a community is alive: what its days say, and a score that explains itself. All is in docs/metrics.md."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from app.domain.growth import Ratio
from app.domain.memberships import SAID_REASONS, LeaveReason
from app.domain.pushes import price

WINDOW_DAYS = 28
"""What a score looks back on, unless asked otherwise."""
MAX_WINDOW_DAYS = 180
AGAIN_DAYS = 30
"""Within which a buyer who buys again does so for the count of their cohort."""
COHORT_DAYS = 7 + AGAIN_DAYS
"""From the first day of a cohort until all of its members have had their days to buy again."""
RECENT_DAYS, GONE_DAYS = 30, 90
ENOUGH_DAYS, ENOUGH_MEMBERS = 7, 10
"""Of less than this no score is made."""

FEN_SAVED_A_POINT = 1_000
FEN_REWARDED_A_POINT = 1_000
FEN_KEPT_A_POINT = 10_000
DELIVERIES_A_POINT = 10
POINTS: Mapping[str, int] = {
    "answers_in_time": 5,
    "answers_late": 3,
    "useful_posts": 4,
    "cheered": 1,
    "tips": 2,
    "groups_filled": 3,
    "exclusive_useful": 4,
    "jobs_done": 4,
}
"""What each is worth to members; besides these, each full 10 yuan they saved a point."""
MADE_OF_MONEY = frozenset({"groups_filled"})
"""Those of them that nobody can do without paying."""
POINTS_A_PERSON = 3
"""What the others are worth together on a day, at most, for each member who gave or was given something: a few
accounts that thank each other all day are a few people.
"""
USEFUL = ("useful_posts", "answers", "cheered", "jobs_done")
"""What members contributed that others had something of."""
COUNTS = (
    *("posts", "useful_posts", "comments", "reactions", "questions", "answers", "answers_in_time", "answers_late"),
    *("answered", "answered_in_time", "answer_seconds", "check_ins", "cheers", "cheered"),
    *("exclusive_posts", "exclusive_useful"),
    *("jobs_done", "tips", "tipped", "joins", "invited", "leaves", "orders", "buyers", "first_orders"),
    *("repeat_orders", "brought", "groups_filled", "savings", "revenue", "rewards", "pushes", "deliveries"),
    *("people", "uncounted", "members"),
)
"""The figures of every day."""
SHARES = ("active", "silent", "dormant", "zombie", "buyers_28")
"""Those that a day has once it is over."""
LEFT, AGAIN = "left_", "again_"
"""Before a reason for leaving, and before the first day of a week: figures that a day has if they are not 0."""


def value_of(figures: Mapping[str, int]) -> int:
    """The points of value that members were given on a day: by them a community earns the right to push."""
    points = sum(points * figures.get(name, 0) for name, points in POINTS.items())
    return points - figures.get("uncounted", 0) + figures.get("savings", 0) // FEN_SAVED_A_POINT


def uncounted(figures: Mapping[str, int]) -> int:
    """The points of a day beyond what its people can have been worth to each other."""
    points = sum(points * figures.get(name, 0) for name, points in POINTS.items() if name not in MADE_OF_MONEY)
    return max(0, points - POINTS_A_PERSON * figures.get("people", 0))


def week_of(day: date) -> str:
    """The Monday of a day's week, YYYY-MM-DD."""
    return str(day - timedelta(days=day.weekday()))


@dataclass(frozen=True, slots=True)
class Counted:
    """A day as it was counted; `whole` once it is over."""

    day: date
    whole: bool
    value: int
    figures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cohort:
    """Members whose first order was paid in the same week, and how many of them bought again in time."""

    week: str
    again: Ratio


@dataclass(frozen=True, slots=True)
class Window:
    """The days from `since` until before `until`, added up. `ratios` are those of the growth triad."""

    since: date
    until: date
    days: int
    """How many of them are over and were counted."""
    sums: Mapping[str, int]
    value: int
    shares: Mapping[str, int]
    """Of the last day that is over: `members` and `SHARES`."""
    answer_seconds: int | None
    leave_reasons: Mapping[str, int]
    cohorts: Sequence[Cohort]

    @property
    def members(self) -> int:
        return self.shares.get("members", 0)

    @property
    def useful(self) -> int:
        return sum(self.sums[name] for name in USEFUL)

    @property
    def given(self) -> dict[str, int]:
        """Points that members were given, by what for; `uncounted` are taken off, and so not above 0."""
        parts = {name: points * self.sums[name] for name, points in POINTS.items()}
        parts["uncounted"] = -self.sums["uncounted"]
        parts["savings"] = self.value - sum(parts.values())
        return parts | {"rewards": self.sums["rewards"] // FEN_REWARDED_A_POINT}

    @property
    def taken(self) -> dict[str, int]:
        """Points that were taken of their attention and their money."""
        return {
            "pushes": self.sums["deliveries"] // DELIVERIES_A_POINT,
            "revenue": self.sums["revenue"] // FEN_KEPT_A_POINT,
        }

    @property
    def balance(self) -> Ratio:
        return Ratio(sum(self.given.values()), sum(self.taken.values()))

    @property
    def conversion(self) -> Ratio:
        return Ratio(self.shares.get("buyers_28", 0), self.members)

    @property
    def repurchase(self) -> Ratio:
        return Ratio(
            sum(cohort.again.numerator for cohort in self.cohorts),
            sum(cohort.again.denominator for cohort in self.cohorts),
        )

    @property
    def spread(self) -> Ratio:
        return Ratio(self.sums["invited"] + self.sums["brought"], self.shares.get("active", 0))

    @property
    def gone(self) -> int:
        """Members who left of themselves, or did not go on paying."""
        chosen = (*SAID_REASONS, LeaveReason.LAPSED)
        return sum(self.leave_reasons.get(reason, 0) for reason in chosen)


def first_read(since: date) -> date:
    """The first day that has to be known of a window: of its cohorts, and of the window before."""
    return since - timedelta(days=COHORT_DAYS)


def add_up(days: Iterable[Counted], since: date, until: date) -> Window:
    """The window of these days, of which some may lie outside of it: the cohorts that have had their days to buy
    again in the window began before it.
    """
    known = sorted(days, key=lambda one: one.day)
    inside = [one for one in known if since <= one.day < until]
    sums = Counter[str]()
    for one in inside:
        sums.update(one.figures)
    whole = [one for one in inside if one.whole]
    shares = {name: whole[-1].figures.get(name, 0) for name in ("members", *SHARES)} if whole else {}
    return Window(
        since=since,
        until=until,
        days=len(whole),
        sums={name: sums[name] for name in COUNTS},
        value=sum(one.value for one in inside),
        shares=shares,
        answer_seconds=_typical(inside),
        leave_reasons={
            reason.value: sums[f"{LEFT}{reason}"] for reason in LeaveReason if sums[f"{LEFT}{reason}"] > 0
        },
        cohorts=_cohorts(known, since, until),
    )


def _typical(days: Sequence[Counted]) -> int | None:
    """The median of the days' medians, each as often as questions were answered on its day."""
    medians = sorted((one.figures.get("answer_seconds", 0), one.figures.get("answered", 0)) for one in days)
    left = (sum(count for _, count in medians) + 1) // 2
    for seconds, count in medians:
        left -= count
        if count and left <= 0:
            return seconds
    return None


def _cohorts(days: Sequence[Counted], since: date, until: date) -> list[Cohort]:
    buyers, again = Counter[str](), Counter[str]()
    for one in days:
        buyers[week_of(one.day)] += one.figures.get("first_orders", 0)
        for name, count in one.figures.items():
            if name.startswith(AGAIN):
                again[name.removeprefix(AGAIN)] += count
    due = [week for week in buyers if since <= date.fromisoformat(week) + timedelta(days=COHORT_DAYS - 1) < until]
    return [Cohort(week, Ratio(again[week], buyers[week])) for week in sorted(due) if buyers[week]]


class Part(StrEnum):
    """What a score is made of."""

    BALANCE = "balance"
    ATTENTION = "attention"
    ACTIVITY = "activity"
    ANSWERS = "answers"
    STAYING = "staying"
    BUYING = "buying"
    SPREAD = "spread"


WEIGHTS: Mapping[Part, int] = {
    Part.BALANCE: 20,
    Part.ATTENTION: 15,
    Part.ACTIVITY: 15,
    Part.ANSWERS: 10,
    Part.STAYING: 20,
    Part.BUYING: 10,
    Part.SPREAD: 10,
}


class Verdict(StrEnum):
    ALIVE = "alive"
    """70 and more."""
    AILING = "ailing"
    """40 and more."""
    DYING = "dying"


VERDICTS: Sequence[tuple[int, Verdict]] = ((70, Verdict.ALIVE), (40, Verdict.AILING), (0, Verdict.DYING))


@dataclass(frozen=True, slots=True)
class Words:
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the score: 0 to 100, why, and how many points of the whole it costs (`weight` of it to be had)."""

    part: Part
    score: int
    weight: int
    reason: Words
    advice: Words
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Health:
    """`score` is None when too little is known; then `words` say what is missing."""

    score: int | None
    verdict: Verdict | None
    words: Words
    components: Sequence[Component] = field(default_factory=tuple)

    @property
    def advice(self) -> list[Component]:
        """What would help, what costs most first."""
        return sorted((one for one in self.components if one.lost > 0), key=lambda one: (-one.lost, one.part))


def judge(window: Window, *, promises: bool, sells: bool) -> Health:
    """The health of a community: whether it promises answers in time, and whether it is there to sell, decides
    what is asked of it.
    """
    if window.days < ENOUGH_DAYS or window.members < ENOUGH_MEMBERS:
        return Health(None, None, _too_little(window))
    parts = [
        _balance(window),
        _attention(window),
        _activity(window),
        _answers(window, promises),
        _staying(window),
        _buying(window, sells),
        _spread(window),
    ]
    known = [one for one in parts if one is not None]
    total = sum(one.weight for one in known)
    score = (2 * sum(one.weight * one.score for one in known) + total) // (2 * total)
    costs = [
        Component(
            *(one.part, one.score, one.weight, one.reason, one.advice),
            lost=round(one.weight * (100 - one.score) / total, 1),
        )
        for one in known
    ]
    verdict = next(verdict for least, verdict in VERDICTS if score >= least)
    return Health(score, verdict, _summary(window, costs), costs)


def _summary(window: Window, components: Sequence[Component]) -> Words:
    """The three reasons that cost most; of a community that lost little, those that speak for it."""
    costly = sorted((one for one in components if one.lost >= 1), key=lambda one: -one.lost)[:3]
    shown = costly or sorted(components, key=lambda one: -one.weight)[:2]
    return Words(
        f"In {_days(window)} days: " + "; ".join(one.reason.en for one in shown) + ".",
        f"{_days(window)} 天内：" + "；".join(one.reason.zh for one in shown) + "。",
    )


def _too_little(window: Window) -> Words:
    return Words(
        f"Too little is known for a score: {window.days} days were counted of at least {ENOUGH_DAYS},"
        f" and {window.members} members of at least {ENOUGH_MEMBERS}.",
        f"数据不足，暂不评分：已统计 {window.days} 天（至少 {ENOUGH_DAYS} 天），"
        f"成员 {window.members} 人（至少 {ENOUGH_MEMBERS} 人）。",
    )


def _balance(window: Window) -> Component:
    """Full when as much was given as taken, and in four weeks at least what it costs to speak to all members once:
    where next to nothing is given, little was taken only because there was nothing to take.
    """
    given, taken = window.balance.numerator, window.balance.denominator
    asked = max(taken, price(window.members, 0) * window.days // WINDOW_DAYS, 1)
    score = min(100, 100 * given // asked)
    reason = Words(
        f"{given} points given to {window.members} members, {taken} taken from them",
        f"给 {window.members} 名成员 {given} 分，取自他们 {taken} 分",
    )
    advice = Words(
        "Give before you take: answer, post what members can use, make deals that save them money",
        "先给后取：多答疑、多发有用的内容、让利给成员",
    )
    return Component(Part.BALANCE, score, WEIGHTS[Part.BALANCE], reason, advice)


def _attention(window: Window) -> Component:
    """Full at one push per two useful contributions, nothing from three per contribution on."""
    pushes, useful = window.sums["pushes"], window.useful
    if not pushes:
        score, reason = 100, Words("no pushes", "没有推送")
    elif not useful:
        score = 0
        reason = Words(f"{pushes} pushes and nothing useful beside them", f"推送 {pushes} 次，没有有用的内容")
    else:
        score = max(0, min(100, 20 * (6 * useful - 2 * pushes) // useful))
        each = _tenths(pushes, useful)
        reason = Words(f"{each} pushes per useful contribution", f"每条有用内容伴随 {each} 次推送")
    advice = Words(
        "Push less, and let members opt for a digest; what is useful needs no push",
        "减少推送，允许成员改收摘要；有用的内容不必推",
    )
    return Component(Part.ATTENTION, score, WEIGHTS[Part.ATTENTION], reason, advice)


def _activity(window: Window) -> Component:
    """Full when two in five are active."""
    active, silent, zombie = (
        _percent(window.shares[name], window.members) for name in ("active", "silent", "zombie")
    )
    score = min(100, 250 * window.shares["active"] // window.members)
    reason = Words(
        f"{active} % active, {silent} % silent, {zombie} % zombies",
        f"活跃 {active}%，沉默 {silent}%，僵尸 {zombie}%",
    )
    advice = Words(
        "Ask something everybody can answer, start check-ins, thank who contributes; greet who just joined",
        "发起人人能参与的话题或打卡，感谢贡献者，欢迎新人",
    )
    return Component(Part.ACTIVITY, score, WEIGHTS[Part.ACTIVITY], reason, advice)


def _answers(window: Window, promises: bool) -> Component | None:
    """Questions answered, as was promised; a late answer is worth half."""
    questions = window.sums["questions"]
    if not questions:
        return None
    answered = min(window.sums["answered"], questions)
    good = min(window.sums["answered_in_time"], answered) if promises else answered
    score = 50 * (good + answered) // questions
    en, zh = f"{answered} of {questions} questions answered", f"{questions} 个问题答复了 {answered} 个"
    if promises:
        en, zh = f"{en}, {good} in time", f"{zh}，按时 {good} 个"
    advice = Words(
        "Have somebody answer every question: name experts, and share the hours among them",
        "让每个问题有人答：设专家并排班",
    )
    return Component(Part.ANSWERS, score, WEIGHTS[Part.ANSWERS], Words(en, zh), advice)


def _staying(window: Window) -> Component:
    """Nothing when a fifth or more leaves within four weeks."""
    base = window.members + window.gone
    lost = 500 * window.gone * WINDOW_DAYS // (base * _days(window))
    reasons = sorted(SAID_REASONS, key=lambda reason: -window.leave_reasons.get(reason, 0))
    most = reasons[0] if window.leave_reasons.get(reasons[0], 0) else None
    of = Words("", "")
    if most is not None:
        of = Words(f", most say {most.replace('_', ' ')}", f"，多因{SAID_IN_CHINESE[most]}")
    reason = Words(
        f"{_percent(window.gone, base)} % left{of.en}",
        f"{_percent(window.gone, base)}% 离开{of.zh}",
    )
    advice = Words("Read why they leave, and mend that first", "查看离开原因，先解决它")
    if most == LeaveReason.TOO_MANY_PUSHES and window.sums["pushes"]:
        advice = Words("They leave because of the pushes: send fewer", "成员因推送太多而离开：少推")
    return Component(Part.STAYING, max(0, 100 - lost), WEIGHTS[Part.STAYING], reason, advice)


def _buying(window: Window, sells: bool) -> Component | None:
    """Conversion is full at 20 %, repurchase at 30 %; what is not known yet does not count."""
    if not sells and not window.sums["orders"]:
        return None
    scores = [
        min(100, 100 * 100 * ratio.numerator // (full * ratio.denominator))
        for ratio, full in ((window.conversion, 20), (window.repurchase, 30))
        if ratio.denominator
    ]
    conversion = _percent(window.conversion.numerator, window.conversion.denominator)
    en, zh = f"{conversion} % of members bought", f"{conversion}% 的成员购买"
    if window.repurchase.denominator:
        again = _percent(window.repurchase.numerator, window.repurchase.denominator)
        en, zh = f"{en}, {again} % of new buyers bought again", f"{zh}，新客复购 {again}%"
    advice = Words(
        "Offer less, and what members asked for; ask buyers how it was",
        "少而精：卖成员需要的，回访买过的人",
    )
    return Component(Part.BUYING, sum(scores) // len(scores), WEIGHTS[Part.BUYING], Words(en, zh), advice)


def _spread(window: Window) -> Component:
    """Full when ten active members bring one new within four weeks."""
    brought, active = window.spread.numerator, window.spread.denominator
    score = min(100, 1000 * brought * WINDOW_DAYS // (active * _days(window))) if active else 0
    reason = Words(
        f"{active} active members brought {brought} new",
        f"{active} 名活跃成员带来 {brought} 名新人",
    )
    advice = Words(
        "Give members something worth showing to a friend, and thank who brings somebody",
        "做值得转给朋友的内容，感谢带新人的成员",
    )
    return Component(Part.SPREAD, score, WEIGHTS[Part.SPREAD], reason, advice)


SAID_IN_CHINESE: Mapping[LeaveReason, str] = {
    LeaveReason.NOT_USEFUL: "没有用",
    LeaveReason.TOO_MANY_PUSHES: "推送太多",
    LeaveReason.TOO_EXPENSIVE: "太贵",
    LeaveReason.CONFLICT: "有矛盾",
    LeaveReason.MOVED_ON: "不再需要",
    LeaveReason.OTHER: "其他原因",
}


def _days(window: Window) -> int:
    return (window.until - window.since).days


def _percent(part: int, whole: int) -> int:
    return (200 * part + whole) // (2 * whole) if whole else 0


def _tenths(part: int, whole: int) -> str:
    tenths = (20 * part + whole) // (2 * whole)
    return f"{tenths // 10}.{tenths % 10}" if tenths % 10 else str(tenths // 10)
