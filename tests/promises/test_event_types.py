"""Every type of event that the code writes is named and explained, and nothing else is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from app.config import Settings
from app.domain.bargains import BargainState
from app.domain.endpoints import TESTED
from app.domain.entries import EntryState
from app.domain.events import DATA_MEANINGS, EVENT_TYPES
from app.domain.groups import GroupState
from app.domain.jobs import JobState
from app.domain.notices import PushState
from app.domain.orders import OrderState
from app.domain.payments import PaymentState
from app.domain.payouts import PayoutState
from app.domain.posts import ReportState
from app.domain.reconciliations import ReconciliationState
from app.domain.refunds import RefundState
from app.domain.rewards import RewardState
from app.domain.sales import SaleState
from app.main import create_app

SERVICES = Path(__file__).parents[2] / "app/services"
NAME = re.compile(r"[a-z_]+\.[a-z_]+")
RECORDERS = {"record", "_record", "_move", "event_values", "record_post"}
PUT_TOGETHER: dict[str, set[str]] = {
    "bargain.{what}": {"started", "reopened", *BargainState} - {BargainState.CUTTING},
    "comment.{type_}": {"hidden", "shown"},
    "entry.{entry.state}": {*EntryState},
    "group.{name}": {"opened", "reopened", *GroupState} - {GroupState.OPEN},
    "job.{after}": {*JobState},
    "membership.{what}": {*["applied", "declined", "joined", "left", "removed", "lapsed", "blocked", "unblocked"]},
    "order.{order.state}": {*OrderState},
    "payment.{payment.state}": {*PaymentState},
    "payout.{payout.state}": {*PayoutState},
    "post.{type_}": {"hidden", "shown"},
    "push.{push.state}": {*PushState},
    "reconciliation.{row.state}": {*ReconciliationState},
    "refund.{refund.state}": {*RefundState},
    "report.{verdict}": {*ReportState} - {ReportState.OPEN},
    "reward.{reward.state}": {*RewardState},
    "sale.{sale.state}": {*SaleState},
}
"""What stands for what in types that are put together."""


def written(tree: ast.AST) -> Iterator[str]:
    """Types in the code: what is recorded, or called `type_` until it is."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=args) if name in RECORDERS:
                for part in args:
                    yield from texts(part)
            case ast.Assign(targets=[ast.Name(id="type_")], value=value):
                yield from texts(value)


def texts(expression: ast.expr) -> Iterator[str]:
    """The types that an expression can be."""
    match expression:
        case ast.Constant(value=str(text)) if NAME.fullmatch(text):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from (*texts(one), *texts(other))
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), _]):
            yield from (f"{start}{part}" for part in PUT_TOGETHER[ast.unparse(expression)[2:-1]])


def test_every_type_that_is_written_is_named() -> None:
    found = {text for path in SERVICES.glob("*.py") for text in written(ast.parse(path.read_text()))}
    assert found | {TESTED} == set(EVENT_TYPES)


def test_every_type_is_explained_in_two_languages() -> None:
    for name, type_ in EVENT_TYPES.items():
        assert len(name) <= 40
        assert re.search(r"[一-鿿]", type_.zh), name
        assert not re.search(r"[一-鿿]", type_.en), name
        assert type_.en.endswith(".")
    assert {key for type_ in EVENT_TYPES.values() for key in type_.data} == set(DATA_MEANINGS)


def test_the_document_has_a_webhook_for_every_type() -> None:
    document = create_app(Settings()).openapi()
    assert set(document["webhooks"]) == set(EVENT_TYPES)
    paid = document["webhooks"]["order.paid"]["post"]
    assert [parameter["name"] for parameter in paid["parameters"]] == [
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    ]
    names = [webhook["post"]["operationId"] for webhook in document["webhooks"].values()]
    assert len(set(names)) == len(EVENT_TYPES)
