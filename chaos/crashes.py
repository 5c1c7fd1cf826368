"""The named points at which a process can be made to kill itself: one on each side of every step that changes
something which outlives the process.

The service knows nothing of them: they are wrapped around its functions in a process that is started to die.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any

from app.gateways.dealer.dealer import WRITE


class Role(StrEnum):
    """Which process dies."""

    API = "api"
    WORKER = "worker"


class Moment(StrEnum):
    """Before a function is called, or after it has returned."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A moment of the coroutine function `function` ("module:name"), `when` its arguments are such.

    `left` is what the process leaves behind, `mended` who puts it right.
    """

    name: str
    role: Role
    moment: Moment
    function: str
    left: str
    mended: str
    when: Callable[..., bool] = lambda *_, **__: True


BY_THE_KEY = "the member repeats the request with its key"
BY_COMPARING = "the worker compares the dealer with changed rows every two seconds"
TELL = "app.services.transactions:_tell"


def _is_part(_dealer: Any, script: Any, _keys: Any, arguments: tuple[Any, ...]) -> bool:
    return script is WRITE and len(arguments) > 2  # noqa: PLR2004 - with no more it only renews the loading


CRASH_POINTS = [
    CrashPoint(
        "claim.asked",
        Role.API,
        Moment.BEFORE,
        "app.services.dealing:deal",
        "nothing",
        BY_THE_KEY,
    ),
    CrashPoint(
        "claim.dealt",
        Role.API,
        Moment.AFTER,
        "app.services.dealing:deal",
        "places in Redis that no order holds",
        f"{BY_THE_KEY} and is dealt the same places; otherwise the reaper gives them back after 30 s",
    ),
    CrashPoint(
        "claim.inserted",
        Role.API,
        Moment.AFTER,
        "app.gateways.bulk:PostgresBulk.insert",
        "the same; PostgreSQL rolls the rows of the batch back",
        "the same",
    ),
    CrashPoint(
        "claim.committed",
        Role.API,
        Moment.AFTER,
        "app.services.commits:_commit",
        "orders whose members were not answered",
        f"{BY_THE_KEY} and gets the stored answer; otherwise the hold expires",
    ),
    CrashPoint(
        "claim.answered",
        Role.API,
        Moment.AFTER,
        "app.routers.lane:_send",
        "other processes were perhaps not told",
        "live views look by themselves every second",
    ),
    CrashPoint(
        "load.begun",
        Role.API,
        Moment.BEFORE,
        "app.services.dealing:read_image",
        "a sale that nobody deals, and a loading that nobody finishes",
        "the loading ends after 5 s of silence; whoever claims next loads the sale",
    ),
    CrashPoint(
        "load.half_written",
        Role.API,
        Moment.AFTER,
        "app.gateways.dealer.dealer:Dealer._run",
        "the same, with a part of the new image",
        "the same; nothing is dealt until the terms are there, which come last",
        _is_part,
    ),
    CrashPoint(
        "cancel.committed",
        Role.API,
        Moment.BEFORE,
        TELL,
        "free places that the dealer believes taken",
        BY_COMPARING,
        lambda _state, work: bool(work.freed),
    ),
    CrashPoint(
        "payment.created",
        Role.API,
        Moment.BEFORE,
        "app.gateways.payments.sandbox:SandboxProvider.create",
        "a payment the provider does not know",
        f"{BY_THE_KEY}; when the order is over the worker closes the payment",
    ),
    CrashPoint(
        "payment.charged",
        Role.API,
        Moment.AFTER,
        "app.gateways.payments.sandbox:SandboxProvider.create",
        "a charge at the provider whose address we do not know",
        "the same",
    ),
    CrashPoint(
        "payment.captured",
        Role.API,
        Moment.BEFORE,
        "app.services.payments:decide",
        "money that is recorded, and has neither seat nor refund",
        "the worker decides it within a second; a group's deadline decides it first",
    ),
    CrashPoint(
        "payment.deciding",
        Role.API,
        Moment.AFTER,
        "app.services.payments:decide_locked",
        "the same; PostgreSQL rolls the decision back",
        "the same",
    ),
    CrashPoint(
        "payment.decided",
        Role.API,
        Moment.BEFORE,
        TELL,
        "a paid seat that the dealer counts as held; the provider was not answered",
        f"{BY_COMPARING}; the provider notifies again, which changes nothing",
        lambda _state, work: bool(work.amended),
    ),
    CrashPoint(
        "refund.submitted",
        Role.WORKER,
        Moment.BEFORE,
        "app.gateways.payments.sandbox:SandboxProvider.refund",
        "a refund that is marked as submitted, and was not",
        "it is due again after 30 s",
    ),
    CrashPoint(
        "refund.made",
        Role.WORKER,
        Moment.AFTER,
        "app.gateways.payments.sandbox:SandboxProvider.refund",
        "money on its way back that we do not know of",
        "it is asked for again after 30 s; the provider knows the refund by its id and makes it once",
    ),
    CrashPoint(
        "hold.expiring",
        Role.WORKER,
        Moment.AFTER,
        "app.services.deadlines:give_back",
        "nothing: PostgreSQL rolls it back",
        "another look at what is due",
    ),
    CrashPoint(
        "hold.expired",
        Role.WORKER,
        Moment.BEFORE,
        TELL,
        "free places that the dealer believes taken",
        BY_COMPARING,
        lambda _state, work: bool(work.freed) and not work.closed,
    ),
    CrashPoint(
        "group.failing",
        Role.WORKER,
        Moment.AFTER,
        "app.services.groups:end",
        "nothing: PostgreSQL rolls it back",
        "another look at what is due",
    ),
    CrashPoint(
        "group.failed",
        Role.WORKER,
        Moment.BEFORE,
        TELL,
        "a group that is over, whose seats the dealer would deal; refunds that are due",
        f"the commit refuses a seat in it; {BY_COMPARING}; the worker pursues the refunds",
        lambda _state, work: any(group.state == "failed" for group in work.closed),
    ),
    CrashPoint(
        "sale.ending",
        Role.WORKER,
        Moment.AFTER,
        "app.services.sales:_end",
        "nothing: PostgreSQL rolls it back",
        "another look at what is due; the dealer refuses by the clock meanwhile",
    ),
    CrashPoint(
        "sale.ended",
        Role.WORKER,
        Moment.BEFORE,
        TELL,
        "a sale that is over and is still loaded in Redis",
        "the dealer refuses by the clock",
        lambda _state, work: any(event.type == "sale.ended" for event in work.events),
    ),
    CrashPoint(
        "dealer.reaped",
        Role.WORKER,
        Moment.BEFORE,
        "app.gateways.dealer.dealer:Dealer.note_compared",
        "a sale that was compared, without a note of it",
        "what changed since the last note is compared again",
    ),
    CrashPoint(
        "webhook.lined_up",
        Role.WORKER,
        Moment.AFTER,
        "app.services.deliveries:_add",
        "nothing: PostgreSQL rolls it back",
        "another look at the events after the cursor",
    ),
    CrashPoint(
        "webhook.claimed",
        Role.WORKER,
        Moment.BEFORE,
        "app.gateways.webhooks:Webhooks.post",
        "a lane that waits for a worker which is gone",
        "it is due again after 60 s",
    ),
    CrashPoint(
        "webhook.sent",
        Role.WORKER,
        Moment.AFTER,
        "app.gateways.webhooks:Webhooks.post",
        "an event that has arrived, and that we do not know to have arrived",
        "it is sent again after 60 s, with the same id, before anything later of its subject",
    ),
]
"""In the order of the way they are on."""


def find_point(name: str) -> CrashPoint:
    """The point of this name. Raises `KeyError`."""
    return {point.name: point for point in CRASH_POINTS}[name]


def arm(point: CrashPoint, hits: int) -> None:
    """Have this process kill itself when it comes to the point for so many times."""
    module, _, path = point.function.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)
    left = hits

    def reached() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def doomed(*arguments: Any, **options: Any) -> Any:
        meant = point.when(*arguments, **options)
        if meant and point.moment == Moment.BEFORE:
            reached()
        result = await real(*arguments, **options)
        if meant and point.moment == Moment.AFTER:
            reached()
        return result

    setattr(owner, name, doomed)
