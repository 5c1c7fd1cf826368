"""What watchers of a group or a bargain are told, written once for all of them: as an event stream, as
messages of a WebSocket, and as the answer to a long poll.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

from app.schemas.bargains import BargainChange, BargainPublic
from app.schemas.groups import Change, GroupPublic

STILL_HERE = b": still here\n\n"
Shown = GroupPublic | BargainPublic
AnyChange = Change | BargainChange


class Told(NamedTuple):
    """One change. `head` is its JSON up to the thing that changed, which all changes of a tick share."""

    id: int
    type: str
    head: str


class Said(NamedTuple):
    """One event of a stream, or one message: its id (None for the end), its name, and its data as JSON."""

    id: int | None
    event: str
    data: str


@dataclass(frozen=True)
class Tick:
    """The changes of what is watched after one change up to another, and how it is then; perhaps no changes."""

    after: int
    last: int
    noun: str
    """What it is: `group`, `bargain`."""
    state: str
    shown: str
    """How it is, as JSON."""
    changes: tuple[Told, ...] = ()
    over: bool = False
    """Whether it is in a state that nothing leads out of."""
    final: bool = False
    """Whether these are the last changes there will be."""
    snapshot: bool = False
    """Whether a stream begins with it."""

    @classmethod
    def of(
        cls, noun: str, shown: Shown, changes: Sequence[AnyChange], after: int, newest: int, *, over: bool
    ) -> Self:
        """Some changes, all after the change `after`, of something whose newest change is `newest`."""
        last = changes[-1].id if changes else after
        return cls(
            after=after,
            last=last,
            noun=noun,
            state=shown.state,
            shown=shown.model_dump_json(),
            changes=tuple(
                Told(change.id, change.type, change.model_dump_json(exclude={noun})[:-1] + f',"{noun}":')
                for change in changes
            ),
            over=over,
            final=last >= newest and over,
        )

    @cached_property
    def as_snapshot(self) -> Self:
        """As a stream begins with it."""
        return replace(self, snapshot=True)

    def without_changes(self, last: int, *, final: bool) -> Self:
        """How it is here, for somebody who knows its changes up to `last`."""
        return replace(self, after=last, last=last, changes=(), final=final, snapshot=False)

    @cached_property
    def said(self) -> tuple[Said, ...]:
        """Everything a stream says of it, in order."""
        said = [Said(self.last, "snapshot", self.shown)] if self.snapshot else []
        said += [Said(change.id, change.type, f"{change.head}{self.shown}}}") for change in self.changes]
        if self.final:
            said.append(Said(None, "end", f'{{"state": "{self.state}"}}'))
        return tuple(said)

    @cached_property
    def sse(self) -> bytes:
        """As server-sent events; a comment when there is nothing to say."""
        text = "".join(
            ("" if id_ is None else f"id: {id_}\n") + f"event: {event}\ndata: {data}\n\n"
            for id_, event, data in self.said
        )
        return text.encode() or STILL_HERE

    @cached_property
    def messages(self) -> tuple[str, ...]:
        """As messages of a WebSocket."""
        return tuple(
            f'{{"id": {"null" if id_ is None else id_}, "event": "{event}", "data": {data}}}'
            for id_, event, data in self.said
        )

    @cached_property
    def answer(self) -> bytes:
        """As the answer to a long poll: the JSON of `Changes` or `BargainChanges`."""
        changes = ",".join(f"{change.head}{self.shown}}}" for change in self.changes)
        final = "true" if self.final else "false"
        return f'{{"{self.noun}":{self.shown},"changes":[{changes}],"after":{self.last},"final":{final}}}'.encode()


def joined(ticks: Sequence[Tick], known: int) -> Tick:
    """What ticks that follow each other tell somebody who knows the changes up to `known`."""
    newest = ticks[-1]
    return Tick(
        after=known,
        last=newest.last,
        noun=newest.noun,
        state=newest.state,
        shown=newest.shown,
        changes=tuple(change for tick in ticks for change in tick.changes if change.id > known),
        over=newest.over,
        final=newest.final,
    )
