"""What is kept of a member in each table, whose it is, and what becomes of it when the member is erased.

The one place where this is decided: the export, the erasure and `docs/privacy.md` read this table, and a test fails
when a table or a column of text is not in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, StrEnum

from app.domain.members import ERASED_NAME

SWEEP_MARGIN = timedelta(minutes=5)
"""How much longer than an access token lives one waits before what an erased member left is swept once more."""


class Fate(StrEnum):
    """What becomes of a member's rows."""

    DELETED = "deleted"
    BLANKED = "blanked"
    KEPT = "kept"


class Blank(Enum):
    """What a column is overwritten with, other than a value of its own."""

    KEY = "the id of the row"
    """Where the caller had named it."""
    NOW = "the moment, unless there is one"


Value = str | None | list[str] | dict[str, str] | Blank


@dataclass(frozen=True, slots=True)
class Via:
    """Rows that say of whom they are through another table: `column` names rows of `table` by their `target`."""

    column: str
    table: str
    target: str = "id"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one table."""

    fate: Fate
    why: str
    whose: tuple[str, ...] = ()
    """Columns with the id of the member whose the row is."""
    via: Via | None = None
    others: tuple[str, ...] = ()
    """Columns with ids of members whose the row is not: they stay, as ids that name nobody."""
    blank: Mapping[str, Value] = field(default_factory=dict)
    """Columns that are overwritten, and with what."""
    plain: tuple[str, ...] = ()
    """Columns of text in which nobody's words are but the merchant's: codes, digests, addresses of our own."""
    hidden: tuple[str, ...] = ()
    """Columns that an export leaves out: secrets, digests, words of others."""
    exported: bool = True

    @property
    def is_of_members(self) -> bool:
        """Whether its rows are somebody's."""
        return bool(self.whose) or self.via is not None


def _nobodys(why: str, *plain: str) -> Decision:
    """A table that has nothing of members."""
    return Decision(Fate.KEPT, why, plain=plain, exported=False)


_MERCHANT = "the merchant's own words and terms"
_MONEY = "the law wants accounts kept; amounts and ids, which name nobody any more"
_PLACES = "numbered places and ids; without them stock and groups of others would not add up"
_LINKS = "ids and days, which name nobody any more; what others gave and earned rests on them"
_KEY = {"request_key": Blank.KEY}

DECISIONS: Mapping[str, Decision] = {
    "members": Decision(
        Fate.BLANKED,
        "the row that everything else points at: its name is a neutral word then",
        whose=("id",),
        blank={"name": ERASED_NAME},
        hidden=("erased_at", "sweep_at"),
    ),
    "identities": Decision(
        Fate.DELETED, "whom a provider knows them as; who comes again is somebody new", whose=("member_id",)
    ),
    "link_codes": Decision(Fate.DELETED, "good for ten minutes only", whose=("member_id",), hidden=("digest",)),
    "sessions": Decision(
        Fate.DELETED, "nobody logs in with it again", whose=("member_id",), hidden=("refresh_hash",)
    ),
    "marks": Decision(
        Fate.DELETED,
        "digests of devices, phones and payers tell one person's accounts apart",
        whose=("member_id",),
        hidden=("digest",),
    ),
    "phones": Decision(
        Fate.DELETED,
        "nobody calls them any more; until then it is encrypted",
        whose=("member_id",),
        plain=("provider",),
        hidden=("digest",),
    ),
    "operator_keys": _nobodys("staff, who are no members", "name", "key_hash", "scopes"),
    # Communities
    "communities": _nobodys(
        "what a community says of itself, which its owner hands over",
        *(
            "name",
            "audience",
            "need",
            "benefits",
            "sustained_by",
            "posting_rules",
            "timezone",
            "blocked_words",
            "summary",
        ),
    ),
    "community_days": _nobodys("figures of everybody together", "day", "figures"),
    "memberships": Decision(
        Fate.BLANKED,
        "left, with the reason `erased`; that somebody was there is kept as an id, for the figures",
        whose=("member_id",),
        blank={"application": "", "nickname": "", "bio": "", "shown": {}, "invite_code": None},
    ),
    "periods": Decision(Fate.KEPT, _MONEY, whose=("member_id",)),
    "encounters": Decision(
        Fate.KEPT, _LINKS, whose=("giver_id",), others=("receiver_id",), plain=("day",), exported=False
    ),
    "posts": Decision(
        Fate.BLANKED,
        "words and pictures go, marked as removed; what others said to it is theirs",
        whose=("author_id",),
        blank={"body": "", "pictures": [], "removed_at": Blank.NOW, **_KEY},
        plain=("day",),
    ),
    "comments": Decision(
        Fate.BLANKED,
        "words go, marked as removed; answers of others stay where they are",
        whose=("author_id",),
        blank={"body": "", "removed_at": Blank.NOW, **_KEY},
    ),
    "jobs": Decision(
        Fate.KEPT, "who has work that others handed on, as an id", whose=("holder_id",), exported=False
    ),
    "hands": Decision(Fate.KEPT, _LINKS, whose=("giver_id",), others=("receiver_id",), exported=False),
    "reactions": Decision(Fate.DELETED, "and counted no more", whose=("member_id",)),
    "mentions": Decision(
        Fate.DELETED, "that others named them is theirs to have forgotten", whose=("member_id",), exported=False
    ),
    "reports": Decision(
        Fate.BLANKED,
        "the words go; that something was reported is kept for who decides",
        whose=("reporter_id",),
        others=("decided_by",),
        blank={"note": ""},
    ),
    # Chats
    "bindings": _nobodys(
        "where communities speak; secrets are sealed",
        *("chat_id", "credentials", "test_result", "last_error"),
    ),
    "chat_numbers": _nobodys("numbers of offers, groups and bargains", "subject"),
    "messages": Decision(
        Fate.DELETED,
        "commands they gave; who that was is kept until they are answered, then only which member, if any",
        whose=("member_id",),
        hidden=("reply_token",),
    ),
    "nonces": _nobodys("digests by which a webhook acts once", "digest"),
    "robots": _nobodys("how bindings stand with their platforms"),
    "announcements": _nobodys("which groups chats have heard of", "message_id"),
    "outgoing": _nobodys(
        "what is to be said in chats: sealed, kept until it was said, for a day at most", "content", "reason"
    ),
    "cursors": _nobodys("how far events were read", "name"),
    # What is known of members
    "facts": Decision(Fate.DELETED, "kept with consent only", whose=("member_id",)),
    "tags": Decision(Fate.DELETED, "kept with consent only", whose=("member_id",)),
    "consents": Decision(Fate.DELETED, "there is nothing left to consent to", whose=("member_id",)),
    "segments": _nobodys("rules of operators", "name", "rule"),
    "segment_members": Decision(Fate.DELETED, "nobody is in a list any more", whose=("member_id",)),
    "sale_communities": _nobodys(_MERCHANT),
    "sale_segments": _nobodys(_MERCHANT),
    # What members are told
    "notices": Decision(Fate.DELETED, "nobody reads them any more", whose=("member_id",), hidden=("text",)),
    "pushes": Decision(
        Fate.BLANKED,
        "the sender's words go; what it cost its community is kept",
        whose=("sender_id",),
        blank={"text": "", **_KEY},
        plain=("sent_to",),
        hidden=("sent_to",),
    ),
    "overflows": Decision(Fate.DELETED, "nobody reads them any more", whose=("member_id",)),
    "reminders": Decision(Fate.DELETED, "nobody is there to be told", whose=("member_id",)),
    # Who brought whom
    "invites": Decision(
        Fate.KEPT, "withdrawn; whom they brought stays brought", whose=("member_id",), plain=("code",)
    ),
    "uses": Decision(Fate.KEPT, _PLACES, whose=("member_id",), plain=("code",), exported=False),
    "touches": Decision(Fate.DELETED, "where somebody tapped, and in which browser", whose=("member_id",)),
    "referrals": Decision(Fate.KEPT, _LINKS, whose=("member_id",), others=("inviter_id",), plain=("code", "scope")),
    "refusals": Decision(Fate.KEPT, _LINKS, whose=("member_id",), others=("inviter_id",), plain=("code", "scope")),
    "causes": Decision(Fate.KEPT, _LINKS, via=Via("order_id", "orders"), exported=False),
    # Buying
    "products": _nobodys(_MERCHANT, "title", "description"),
    "skus": _nobodys(_MERCHANT, "name"),
    "pictures": _nobodys("pictures of products", "jpeg", "tag"),
    "sales": _nobodys(
        _MERCHANT,
        *(
            "title",
            "description",
            "currency",
            "rescue",
            "bargain",
            "seed",
            "entries_hash",
            "admission",
            "attribution",
        ),
    ),
    "offers": _nobodys(_MERCHANT, "ladder"),
    "groups": Decision(Fate.KEPT, _PLACES, whose=("leader_id",), exported=False),
    "orders": Decision(
        Fate.BLANKED,
        "the law wants orders kept: what was bought, when and for how much; the caller's own keys and what was"
        " answered go",
        whose=("member_id",),
        blank={"answer": "{}", **_KEY},
        plain=("currency", "invite_code", "coupon_code", "request_hash", "ticket"),
        hidden=("answer", "request_hash", "ticket"),
    ),
    "seats": Decision(Fate.KEPT, _PLACES, whose=("member_id",), exported=False),
    "units": Decision(Fate.KEPT, _PLACES, via=Via("order_id", "orders"), exported=False),
    "purchases": Decision(Fate.KEPT, _PLACES, whose=("member_id",), exported=False),
    "entries": Decision(
        Fate.KEPT, "left where they still waited; a draw that is over can be checked", whose=("member_id",)
    ),
    "bargains": Decision(Fate.KEPT, _PLACES, whose=("member_id",), plain=("seed", "seed_hash"), hidden=("seed",)),
    "cuts": Decision(Fate.KEPT, _PLACES, whose=("member_id",)),
    "helps": Decision(Fate.KEPT, _PLACES, whose=("member_id",), exported=False),
    "coupons": _nobodys(_MERCHANT, "code", "title", "currency"),
    "grants": Decision(Fate.DELETED, "nobody redeems them any more", whose=("member_id",)),
    "redemptions": Decision(Fate.KEPT, _PLACES, whose=("member_id",), exported=False),
    # Money
    "payments": Decision(
        Fate.BLANKED,
        _MONEY,
        via=Via("order_id", "orders"),
        blank={"pay_url": None, "pay_params": None, **_KEY},
        plain=("provider", "currency", "provider_ref", "captured_currency", "handle"),
        hidden=("pay_url", "pay_params", "handle"),
    ),
    "refunds": Decision(
        Fate.BLANKED,
        _MONEY,
        via=Via("order_id", "orders"),
        blank={"last_error": None},
        plain=("currency", "provider_ref"),
        hidden=("last_error",),
    ),
    "notifications": Decision(
        Fate.KEPT,
        "so that a message acts once",
        via=Via("payment_id", "payments"),
        plain=("provider", "id"),
        exported=False,
    ),
    "reconciliations": _nobodys("days of a provider", "provider", "day", "last_error"),
    "differences": _nobodys(
        "ids and amounts that two books do not agree on",
        *("subject", "currency_here", "currency_there", "state_here", "state_there"),
    ),
    "accounts": Decision(Fate.KEPT, _MONEY, whose=("member_id",), plain=("currency",)),
    "postings": Decision(Fate.KEPT, _MONEY, via=Via("account_id", "accounts")),
    "transfers": Decision(
        Fate.KEPT, _MONEY, via=Via("id", "postings", "transfer_id"), plain=("cause", "subject"), hidden=("cause",)
    ),
    "reward_policies": _nobodys(_MERCHANT, "title", "currency"),
    "rewards": Decision(
        Fate.KEPT,
        _MONEY,
        whose=("member_id",),
        others=("via_id",),
        plain=("reasons",),
        hidden=("via_id", "reasons"),
    ),
    "payouts": Decision(
        Fate.BLANKED,
        _MONEY + "; the account it went to is masked",
        whose=("member_id",),
        blank={"account": "***", "last_error": None, **_KEY},
        plain=("currency", "provider_ref"),
        hidden=("last_error",),
    ),
    "tips": Decision(
        Fate.BLANKED,
        _MONEY + "; the sender's words go",
        whose=("sender_id",),
        others=("receiver_id",),
        blank={"note": "", **_KEY},
        plain=("currency",),
    ),
    # The cashier of the sandbox: a third party that happens to live here
    "sandbox_charges": Decision(
        Fate.BLANKED,
        "the cashier's own books; the payer goes",
        via=Via("id", "payments"),
        blank={"payer": None},
        plain=("token", "description", "currency", "state", "notify_url"),
        exported=False,
    ),
    "sandbox_refunds": Decision(
        Fate.KEPT, "the cashier's own books", via=Via("charge_id", "sandbox_charges"), exported=False
    ),
    "sandbox_payouts": Decision(
        Fate.BLANKED,
        "the cashier's own books; the account goes",
        via=Via("id", "payouts"),
        blank={"account": "***"},
        plain=("currency", "state"),
        exported=False,
    ),
    "sandbox_callbacks": _nobodys("deleted as soon as they are delivered or given up", "url", "body"),
    # What happened
    "events": Decision(
        Fate.KEPT,
        "ids, states and amounts, never words; feeds, figures and the proofs are made of them",
        whose=("member_id",),
        plain=("type", "subject", "from_state", "to_state", "data"),
        exported=False,
    ),
    # What is sent to operators' own servers: the events above, written anew each time they are sent
    "endpoints": _nobodys("addresses of staff", "url", "types", "secret", "old_secret"),
    "deliveries": _nobodys("which events were sent where", "subject"),
    "lanes": _nobodys("what waits to be sent", "subject"),
    "attempts": _nobodys("what the merchant's own server answered", "error", "answer"),
}
"""By table."""


@dataclass(frozen=True, slots=True)
class Open:
    """What a member still has under way, by which erasure is refused."""

    orders: Mapping[str, int] = field(default_factory=dict)
    """How many, by state."""
    groups: int = 0
    refunds: int = 0
    payouts: int = 0
    balances: Mapping[str, int] = field(default_factory=dict)
    """Minor units, by currency: in the balance, pending, or withheld."""
    communities: tuple[str, ...] = ()
    """Ids of those they own."""


def still_open(found: Open, *, forfeit_balance: bool) -> dict[str, str]:
    """What has to be done first, by its name, in words; a balance that is forfeited is in nobody's way."""
    told = {
        "orders": ", ".join(f"{count} {state}" for state, count in sorted(found.orders.items())),
        "groups": str(found.groups or ""),
        "refunds": str(found.refunds or ""),
        "payouts": str(found.payouts or ""),
        "balance": ", ".join(
            f"{currency} {amount}"
            for currency, amount in sorted(found.balances.items())
            if amount > 0 and not forfeit_balance
        ),
        "communities": ", ".join(found.communities),
    }
    return {name: text for name, text in told.items() if text}


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows of a table are kept after what is said, and why so long."""

    table: str
    what: str
    days: int
    why: str


class Kept(Enum):
    """Everything that is kept for a time only, besides what its own rules end."""

    SESSIONS = Retention("sessions", "sessions that have expired", 7, "so that a copied token can be looked into")
    LINK_CODES = Retention("link_codes", "codes that link who speaks in a chat", 1, "each is good for ten minutes")
    MESSAGES = Retention(
        "messages",
        "commands given in chats",
        3,
        "longer than any platform repeats a webhook, so that each acts once",
    )
    OUTGOING = Retention(
        "outgoing", "that something was said in a chat, or why it was not", 30, "so that operators can look it up"
    )
    ANNOUNCEMENTS = Retention(
        "announcements", "which groups a chat has heard of", 30, "as long as their message may be changed, and more"
    )
    NONCES = Retention("nonces", "digests of webhooks", 1, "longer than their time is believed")
    STRANGERS = Retention(
        "touches", "taps of strangers who never logged in", 180, "as long as their browser is known by its token"
    )
    NOTICES = Retention("notices", "notices, read or not", 180, "long enough to look something up")
    APPLICATIONS = Retention(
        "memberships", "what applicants wrote, once it was decided", 90, "as long as one may ask why"
    )
    PROFILES = Retention(
        "memberships", "nickname and profile of who left", 90, "so that one who comes back finds them"
    )
    DELIVERIES = Retention(
        "deliveries, attempts",
        "deliveries that arrived, or whose endpoint was removed, and what was answered",
        30,
        "long enough to find out what a receiver did with an event",
    )
    REMOVED = Retention(
        "posts, comments",
        "words of posts and comments that were removed",
        30,
        "so that a decision can be looked at again",
    )

    @property
    def age(self) -> timedelta:
        """How long."""
        return timedelta(days=self.value.days)
