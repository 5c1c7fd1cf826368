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
from app.domain.entries import ENTRY_TRANSITIONS
from app.domain.errors import KaituanError
from app.domain.groups import GROUP_TRANSITIONS
from app.domain.machines import Table
from app.domain.orders import ORDER_TRANSITIONS
from app.domain.payments import PAYMENT_TRANSITIONS
from app.domain.payouts import PAYOUT_TRANSITIONS
from app.domain.refunds import REFUND_TRANSITIONS
from app.domain.rewards import REWARD_TRANSITIONS
from app.domain.sales import SALE_TRANSITIONS
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


def _live() -> Iterator[str]:
    yield "| on the stream | written as |"
    yield "|---|---|"
    for kind in KINDS.values():
        for type_, name in kind.types.items():
            yield f"| `{name}` | `{type_}` |"


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
    lines |= {name: _machine(table) for name, table in MACHINES.items()}
    return {name: "\n".join(rows) + "\n" for name, rows in lines.items()}


def filled(text: str) -> str:
    """A document with its tables written anew."""
    known = tables()
    return BLOCK.sub(lambda match: f"{match[1]}{known[match[2]]}{match[3]}", text)


if __name__ == "__main__":
    for document in DOCS.rglob("*.md"):
        document.write_text(filled(document.read_text()))
