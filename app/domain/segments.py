"""Rules over what is known of members: read from JSON, asked of one member, and put in words.

A rule is `{"all": [rules]}`, `{"any": [rules]}`, `{"not": rule}` or a comparison,
`{"fact": …, "is": …, "value": …}`.
A comparison with something unknown is false, and `not` turns it round: there is nothing between. What a rule means
in SQL is in `services/segments.py`; tests hold one against the other.
"""

import math
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from re import fullmatch
from typing import Any, TypeAlias

from app.domain.errors import InvalidTerms
from app.domain.money import MAX_AMOUNT

MAX_DEPTH = 6
MAX_PARTS = 50
MAX_WORDS = 50
MAX_DAYS = 36_500
MAX_COUNT = 1_000_000
MAX_CITY, MAX_TAG = 60, 30
MAX_TAGS = 20
"""Words on one member, of each kind."""
DAY = timedelta(days=1)


class SegmentKind(StrEnum):
    """Whether its members are those of a list, or whoever the rule fits at the moment."""

    STATIC = "static"
    DYNAMIC = "dynamic"


class DeviceKind(StrEnum):
    PHONE = "phone"
    TABLET = "tablet"
    DESKTOP = "desktop"


class Fact(StrEnum):
    """What a rule may ask of a member."""

    ORDERS = "orders"
    SPENT = "spent"
    DAYS_SINCE_FIRST_ORDER = "days_since_first_order"
    DAYS_SINCE_LAST_ORDER = "days_since_last_order"
    MEMBER_DAYS = "member_days"
    CHECK_INS = "check_ins"
    NIGHT_CHECK_INS = "night_check_ins"
    NIGHT_SHARE = "night_share"
    DEVICE = "device"
    CITY = "city"
    TAG = "tag"
    OWN_TAG = "own_tag"
    COMMUNITY = "community"


class Op(StrEnum):
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    EXACTLY = "exactly"
    ONE_OF = "one_of"


NUMBERS: Mapping[Fact, int] = {
    Fact.ORDERS: MAX_COUNT,
    Fact.SPENT: MAX_AMOUNT,
    Fact.DAYS_SINCE_FIRST_ORDER: MAX_DAYS,
    Fact.DAYS_SINCE_LAST_ORDER: MAX_DAYS,
    Fact.MEMBER_DAYS: MAX_DAYS,
    Fact.CHECK_INS: MAX_COUNT,
    Fact.NIGHT_CHECK_INS: MAX_COUNT,
    Fact.NIGHT_SHARE: 100,
}
"""Facts that are numbers, and the largest to compare them with."""
COMPARED: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.AT_LEAST: operator.ge,
    Op.AT_MOST: operator.le,
    Op.EXACTLY: operator.eq,
}
"""How numbers are compared, and columns that hold them."""


class Consented(StrEnum):
    """What is kept of a member only with their consent."""

    DEVICE = "device"
    CITY = "city"
    OWN_TAGS = "own_tags"
    """Words they put on themselves."""
    TAGS = "tags"
    """Words that operators put on them."""


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Rule"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A comparison of a number."""

    fact: Fact
    op: Op
    value: int


@dataclass(frozen=True, slots=True)
class Worded:
    """Whether a fact, or one of its words, is one of these."""

    fact: Fact
    words: tuple[str, ...]


Rule: TypeAlias = All | AnyOf | Not | Numbered | Worded


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a member; None: not known. `spent` is in fen, `member_since` the first login."""

    member_since: datetime
    orders: int = 0
    spent: int = 0
    first_order_at: datetime | None = None
    last_order_at: datetime | None = None
    check_ins: int = 0
    night_check_ins: int = 0
    device: DeviceKind | None = None
    city: str | None = None
    tags: frozenset[str] = frozenset()
    own_tags: frozenset[str] = frozenset()
    communities: frozenset[str] = frozenset()


def parse(tree: object) -> Rule:
    """A rule from its JSON. Raises `InvalidTerms`, whose field is the path of what is wrong."""
    return _parse(tree, "rule", 1, [])


def _parse(tree: object, path: str, depth: int, seen: list[str]) -> Rule:
    seen.append(path)
    if depth > MAX_DEPTH or len(seen) > MAX_PARTS:
        raise InvalidTerms(
            field=path, reason=f"is more than {MAX_DEPTH} deep, or one of more than {MAX_PARTS} parts"
        )
    match tree:
        case {"all": [_, *_] as parts, **rest} if not rest:
            return All(tuple(_parse_each(parts, f"{path}.all", depth + 1, seen)))
        case {"any": [_, *_] as parts, **rest} if not rest:
            return AnyOf(tuple(_parse_each(parts, f"{path}.any", depth + 1, seen)))
        case {"not": part, **rest} if not rest:
            return Not(_parse(part, f"{path}.not", depth + 1, seen))
        case {"fact": name, "is": op, "value": value, **rest} if not rest:
            return _compare(name, op, value, path)
    raise InvalidTerms(
        field=path, reason='must be {"all": […]}, {"any": […]}, {"not": …} or {"fact": …, "is": …, "value": …}'
    )


def _parse_each(parts: list[object], path: str, depth: int, seen: list[str]) -> Iterator[Rule]:
    for number, part in enumerate(parts):
        yield _parse(part, f"{path}[{number}]", depth, seen)


def _compare(name: object, op: object, value: object, path: str) -> Rule:
    fact = next((one for one in Fact if one == name), None)
    if fact is None:
        raise InvalidTerms(field=f"{path}.fact", reason=f"must be one of {', '.join(Fact)}")
    ops = COMPARED if fact in NUMBERS else (Op.ONE_OF,)
    found = next((one for one in ops if one == op), None)
    if found is None:
        raise InvalidTerms(field=f"{path}.is", reason=f"must be one of {', '.join(ops)}")
    if fact in NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= NUMBERS[fact]:
            raise InvalidTerms(field=f"{path}.value", reason=f"must be a whole number from 0 to {NUMBERS[fact]}")
        return Numbered(fact, found, value)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_WORDS:
        raise InvalidTerms(field=f"{path}.value", reason=f"must be a list of 1 to {MAX_WORDS}")
    for number, word in enumerate(value):
        if not isinstance(word, str) or not _fits(fact, word):
            raise InvalidTerms(field=f"{path}.value[{number}]", reason=f"is no {fact}")
    return Worded(fact, tuple(dict.fromkeys(value)))


def _fits(fact: Fact, word: str) -> bool:
    match fact:
        case Fact.DEVICE:
            return word in tuple(DeviceKind)
        case Fact.COMMUNITY:
            return fullmatch("com_[0-9a-f]{32}", word) is not None
        case _:
            longest = MAX_CITY if fact == Fact.CITY else MAX_TAG
            return word.isprintable() and word == word.strip() and 1 <= len(word) <= longest


def comparisons(rule: Rule) -> Iterator[Numbered | Worded]:
    """Every comparison in a rule."""
    match rule:
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from comparisons(part)
        case Not(part):
            yield from comparisons(part)
        case Numbered() | Worded():
            yield rule


def communities_of(rule: Rule) -> set[str]:
    """The communities a rule asks about."""
    asked = (one.words for one in comparisons(rule) if isinstance(one, Worded) and one.fact == Fact.COMMUNITY)
    return {word for words in asked for word in words}


def evaluate(rule: Rule, known: Known, now: datetime) -> bool:
    """Whether a rule fits a member."""
    match rule:
        case All(parts):
            return all(evaluate(part, known, now) for part in parts)
        case AnyOf(parts):
            return any(evaluate(part, known, now) for part in parts)
        case Not(part):
            return not evaluate(part, known, now)
        case Numbered(fact, op, value):
            number = _number(fact, known, now)
            return number is not None and bool(COMPARED[op](number, value))
        case Worded(fact, words):
            return not _words(fact, known).isdisjoint(words)


def _number(fact: Fact, known: Known, now: datetime) -> int | None:
    numbers = {
        Fact.ORDERS: known.orders,
        Fact.SPENT: known.spent,
        Fact.DAYS_SINCE_FIRST_ORDER: _days(known.first_order_at, now),
        Fact.DAYS_SINCE_LAST_ORDER: _days(known.last_order_at, now),
        Fact.MEMBER_DAYS: _days(known.member_since, now),
        Fact.CHECK_INS: known.check_ins,
        Fact.NIGHT_CHECK_INS: known.night_check_ins,
        Fact.NIGHT_SHARE: known.night_check_ins * 100 // known.check_ins if known.check_ins else None,
    }
    return numbers[fact]


def _days(moment: datetime | None, now: datetime) -> int | None:
    """Whole days since then."""
    return None if moment is None else (now - moment) // DAY


def _words(fact: Fact, known: Known) -> frozenset[str]:
    match fact:
        case Fact.DEVICE:
            return frozenset() if known.device is None else frozenset({known.device.value})
        case Fact.CITY:
            return frozenset() if known.city is None else frozenset({known.city})
        case Fact.TAG:
            return known.tags
        case Fact.OWN_TAG:
            return known.own_tags
        case _:
            return known.communities


@dataclass(frozen=True, slots=True)
class InWords:
    """A rule as people read it."""

    en: str
    zh: str


LISTED = InWords("those on a list", "名单内的成员")
"""A static segment whose members were named."""
NAMES: Mapping[Fact, tuple[str, str]] = {
    Fact.ORDERS: ("orders", "有效订单数"),
    Fact.SPENT: ("spent", "累计消费"),
    Fact.DAYS_SINCE_FIRST_ORDER: ("days since the first order", "首单至今天数"),
    Fact.DAYS_SINCE_LAST_ORDER: ("days since the last order", "末单至今天数"),
    Fact.MEMBER_DAYS: ("days since joining", "注册天数"),
    Fact.CHECK_INS: ("check-ins", "打卡次数"),
    Fact.NIGHT_CHECK_INS: ("check-ins at night", "夜间打卡次数"),
    Fact.NIGHT_SHARE: ("share of check-ins at night", "夜间打卡占比"),
    Fact.DEVICE: ("device", "设备"),
    Fact.CITY: ("city", "城市"),
    Fact.TAG: ("tagged", "标签"),
    Fact.OWN_TAG: ("says of themselves", "自选标签"),
    Fact.COMMUNITY: ("member of", "所属社群"),
}
DEVICES = {"phone": "手机", "tablet": "平板", "desktop": "电脑"}
SIGNS = {Op.AT_LEAST: ("at least", "不少于"), Op.AT_MOST: ("at most", "不超过"), Op.EXACTLY: ("exactly", "等于")}


def describe(rule: Rule, names: Mapping[str, str] | None = None) -> InWords:
    """A rule in words; `names` are those of communities, by their ids."""
    match rule:
        case All(parts):
            return _join(parts, names, (" and ", "且"))
        case AnyOf(parts):
            return _join(parts, names, (" or ", "或"))
        case Not(part):
            inner = describe(part, names)
            return InWords(f"not ({inner.en})", f"非（{inner.zh}）")
        case Numbered(fact, op, value):
            amount = f"{value // 100}.{value % 100:02}" if fact == Fact.SPENT else str(value)
            unit = {Fact.SPENT: (" yuan", "元"), Fact.NIGHT_SHARE: (" %", "%")}.get(fact, ("", ""))
            return InWords(
                f"{NAMES[fact][0]} {SIGNS[op][0]} {amount}{unit[0]}",
                f"{NAMES[fact][1]}{SIGNS[op][1]}{amount}{unit[1]}",
            )
        case Worded(fact, words):
            shown = [(names or {}).get(word, word) for word in words]
            own = [DEVICES.get(word, word) for word in shown] if fact == Fact.DEVICE else shown
            return InWords(f"{NAMES[fact][0]} {' or '.join(shown)}", f"{NAMES[fact][1]}为{'或'.join(own)}")


def _join(parts: tuple[Rule, ...], names: Mapping[str, str] | None, words: tuple[str, str]) -> InWords:
    shown = [
        (described, isinstance(part, All | AnyOf) and len(part.parts) > 1)
        for part, described in ((part, describe(part, names)) for part in parts)
    ]
    return InWords(
        words[0].join(f"({inner.en})" if nested else inner.en for inner, nested in shown),
        words[1].join(f"（{inner.zh}）" if nested else inner.zh for inner, nested in shown),
    )


BUCKETS = 16**3
"""The last three digits of a member's id say which bucket they are in: these digits are random."""
EXACT_UP_TO = 10_000
SAMPLED = 4_000
"""Members that are looked at, at least, where not all are."""
Z = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many there are: `low` to `high` with 95 %; both are `count` where all were counted."""

    count: int
    low: int
    high: int


def estimate(fitting: int, sampled: int, buckets: int) -> Estimate:
    """How many of all fit, when so many fit of those in the first `buckets` buckets (Wilson's interval)."""
    if buckets == BUCKETS or not sampled:
        return Estimate(fitting, fitting, fitting)
    total, share = sampled * BUCKETS / buckets, fitting / sampled
    middle = (share + Z**2 / (2 * sampled)) / (1 + Z**2 / sampled)
    reach = Z / (1 + Z**2 / sampled) * math.sqrt(share * (1 - share) / sampled + Z**2 / (4 * sampled**2))
    low, high = math.floor(total * (middle - reach)), math.ceil(total * (middle + reach))
    return Estimate(round(total * share), max(fitting, low), min(high, math.ceil(total)))


def bucket_of(member_id: str) -> str:
    """The bucket of a member, three hexadecimal digits."""
    return member_id[-3:]


TABLETS, PHONES = ("ipad", "tablet"), ("iphone", "mobile", "android", "harmonyos")
DESKTOPS = ("windows", "macintosh", "x11", "cros")


def device_of(user_agent: str) -> DeviceKind | None:
    """What a browser says it runs on; None when it does not say."""
    text = user_agent.lower()

    def says(words: Collection[str]) -> bool:
        return any(word in text for word in words)

    if says(TABLETS) or ("android" in text and "mobile" not in text):
        return DeviceKind.TABLET
    if says(PHONES):
        return DeviceKind.PHONE
    return DeviceKind.DESKTOP if says(DESKTOPS) else None
