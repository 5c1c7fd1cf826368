"""Writes the tables of these documents from the code: `make docs`. A test fails when they differ.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.config import Settings
from app.domain import errors
from app.domain.bargains import BARGAIN_TRANSITIONS
from app.domain.commands import WORDS, Verb
from app.domain.communities import COMMUNITY_TRANSITIONS
from app.domain.endpoints import ENDPOINT_TRANSITIONS
from app.domain.entries import ENTRY_TRANSITIONS
from app.domain.errors import KaituanError
from app.domain.events import DATA_MEANINGS, EVENT_TYPES
from app.domain.groups import GROUP_TRANSITIONS
from app.domain.jobs import JOB_TRANSITIONS
from app.domain.machines import Table
from app.domain.memberships import MAY, MEMBERSHIP_TRANSITIONS, Standing
from app.domain.orders import ORDER_TRANSITIONS
from app.domain.payments import PAYMENT_TRANSITIONS
from app.domain.payouts import PAYOUT_TRANSITIONS
from app.domain.privacy import DECISIONS, Kept
from app.domain.pushes import PUSH_TRANSITIONS
from app.domain.reconciliations import RECONCILIATION_TRANSITIONS
from app.domain.refunds import REFUND_TRANSITIONS
from app.domain.rewards import REWARD_TRANSITIONS
from app.domain.sales import SALE_TRANSITIONS
from app.gateways.chat.platforms import PLATFORMS
from app.routers.problems import status_of
from app.services.invariants import INVARIANTS
from app.services.live import KINDS
from chaos.crashes import CRASH_POINTS

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MACHINES: dict[str, Table[Any]] = {
    "sale": SALE_TRANSITIONS,
    "group": GROUP_TRANSITIONS,
    "bargain": BARGAIN_TRANSITIONS,
    "entry": ENTRY_TRANSITIONS,
    "order": ORDER_TRANSITIONS,
    "payment": PAYMENT_TRANSITIONS,
    "refund": REFUND_TRANSITIONS,
    "reward": REWARD_TRANSITIONS,
    "payout": PAYOUT_TRANSITIONS,
    "community": COMMUNITY_TRANSITIONS,
    "membership": MEMBERSHIP_TRANSITIONS,
    "job": JOB_TRANSITIONS,
    "push": PUSH_TRANSITIONS,
    "endpoint": ENDPOINT_TRANSITIONS,
    "reconciliation": RECONCILIATION_TRANSITIONS,
}


def error_classes() -> list[type[KaituanError]]:
    """Every error that has a code, by status and code."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")]
    return sorted(found, key=lambda kind: (status_of(kind), kind.code))


def _errors() -> Iterator[str]:
    yield "| status | code | en | zh-CN |"
    yield "|---|---|---|---|"
    for kind in error_classes():
        yield f"| {int(status_of(kind))} | `{kind.code}` | {kind.en} | {kind.zh} |"


def _settings() -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for name, field in Settings.model_fields.items():
        shown = {"secret_key": "a published one"}.get(name) or (f"`{field.default}`" if field.default else "empty")
        yield f"| `{name.upper()}` | {shown} | {field.description} |"


def _invariants() -> Iterator[str]:
    yield "| invariant | nothing may break |"
    yield "|---|---|"
    for invariant in INVARIANTS:
        yield f"| {invariant.id} | {invariant.rule} |"


def _crashes() -> Iterator[str]:
    yield "| point | process | what it leaves behind | who mends it |"
    yield "|---|---|---|---|"
    for point in CRASH_POINTS:
        yield f"| `{point.name}` | {point.role} | {point.left} | {point.mended} |"


def _privacy() -> Iterator[str]:
    yield "| table | when its member is erased | | exported |"
    yield "|---|---|---|---|"
    for name, decision in sorted(DECISIONS.items()):
        if decision.is_of_members:
            fields = ", ".join(f"`{column}`" for column in decision.blank)
            fate = f"{decision.fate}: {fields}" if fields else str(decision.fate)
            yield f"| `{name}` | {fate} | {decision.why} | {'yes' if decision.exported else ''} |"
    others = ", ".join(f"`{name}`" for name, decision in sorted(DECISIONS.items()) if not decision.is_of_members)
    yield ""
    yield f"Of no member: {others}."


def _retention() -> Iterator[str]:
    yield "| what | days | why so long |"
    yield "|---|---|---|"
    for kept in Kept:
        yield f"| {kept.value.what} | {kept.value.days} | {kept.value.why} |"


def _live() -> Iterator[str]:
    yield "| on the stream | written as |"
    yield "|---|---|"
    for kind in KINDS.values():
        for type_, name in kind.types.items():
            yield f"| `{name}` | `{type_}` |"


def _events() -> Iterator[str]:
    yield "| type | what happened | 中文 | subject | data |"
    yield "|---|---|---|---|---|"
    for name, type_ in EVENT_TYPES.items():
        data = ", ".join(f"`{key}`" for key in type_.data)
        yield f"| `{name}` | {type_.en} | {type_.zh} | {type_.subject} | {data} |"


def _data() -> Iterator[str]:
    yield "| in `data` | meaning |"
    yield "|---|---|"
    for name, meaning in DATA_MEANINGS.items():
        yield f"| `{name}` | {meaning} |"


def _permissions() -> Iterator[str]:
    yield f"| | {' | '.join(Standing)} |"
    yield "|---" * (len(Standing) + 1) + "|"
    for action, allowed in MAY.items():
        yield f"| `{action}` | {' | '.join('✓' if standing in allowed else '' for standing in Standing)} |"


SAYS: dict[Verb, tuple[str, str]] = {
    Verb.HELP: ("", "what is understood"),
    Verb.SALES: ("", "what is on sale, with numbers"),
    Verb.OPEN: ("offer", "open a group and take its first seat"),
    Verb.JOIN: ("group", "take a seat in a group"),
    Verb.PROGRESS: ("group or bargain", "how it stands; without a number, all that run"),
    Verb.CHAIN: ("group", "the same with everybody who is in, in their order"),
    Verb.PAY: ("group", "where to pay, in private"),
    Verb.LEAVE: ("group", "leave before paying"),
    Verb.BARGAIN: ("offer", "start a bargain"),
    Verb.CUT: ("bargain", "help with one"),
    Verb.ENROL: ("", "join the community, or ask to"),
    Verb.LINK: ("code", "say who one is"),
}


def _chat_commands() -> Iterator[str]:
    yield "| 中文 | English | of | |"
    yield "|---|---|---|---|"
    for verb, words in WORDS.items():
        of, meaning = SAYS[verb]
        zh = " ".join(f"`{word}`" for word in words if not word.isascii())
        en = " ".join(f"`{word}`" for word in words if word.isascii())
        yield f"| {zh} | {en} | {of} | {meaning} |"


def _chat_credentials() -> Iterator[str]:
    yield "| platform | credential | | meaning |"
    yield "|---|---|---|---|"
    for platform in PLATFORMS.values():
        for one in platform.credentials:
            notes = f"{'' if one.required else 'optional'}{' ↻' if one.rotates else ''}".strip()
            yield f"| {platform.name} | `{one.name}` | {notes} | {one.meaning} |"


def _machine(table: Table[Any]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {next(iter(table))}"
    for state, targets in table.items():
        for target in sorted(targets):
            yield f"    {state} --> {target}"
        if not targets:
            yield f"    {state} --> [*]"
    yield "```"


def tables() -> dict[str, str]:
    """Every table by name, as the text between its markers."""
    lines = {"errors": _errors(), "settings": _settings(), "invariants": _invariants(), "live": _live()}
    lines["crashes"] = _crashes()
    lines |= {"permissions": _permissions(), "events": _events(), "data": _data()}
    lines |= {"crashes": _crashes(), "privacy": _privacy(), "retention": _retention()}
    lines |= {"chat_commands": _chat_commands(), "chat_credentials": _chat_credentials()}
    lines |= {name: _machine(table) for name, table in MACHINES.items()}
    return {name: "\n".join(rows) + "\n" for name, rows in lines.items()}


def filled(text: str) -> str:
    """A document with its tables written anew."""
    known = tables()
    return BLOCK.sub(lambda match: f"{match[1]}{known[match[2]]}{match[3]}", text)


if __name__ == "__main__":
    for document in DOCS.rglob("*.md"):
        document.write_text(filled(document.read_text()))
