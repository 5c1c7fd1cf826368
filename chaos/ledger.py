"""What members asked for and what they and a receiver of webhooks were told: the service is held to it afterwards,
by another process.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.rows import Sale

Name = tuple[str, str, str]
"""Sale, member and key of a claim."""


@dataclass(slots=True)
class Intention:
    """One claim a member wants to make, with the key that belongs to it."""

    member_id: str
    sale_id: str
    path: str
    offer_id: str
    key: str
    answer: str = ""
    """The body of a 201; the claim is acknowledged."""
    refusal: str = ""
    """The code of a definite refusal. With neither, nobody knows."""
    otherwise: str = ""
    """What the same key was told later, if it was something else."""

    @property
    def name(self) -> Name:
        """What its order is found by."""
        return self.sale_id, self.member_id, self.key


@dataclass(frozen=True, slots=True)
class Heard:
    """What a receiver of webhooks accepted: the id it came with, and the event."""

    webhook_id: int
    event: dict[str, Any]


@dataclass(slots=True)
class Ledger:
    """Everything that was asked for, and that was told."""

    intentions: list[Intention] = field(default_factory=list)
    rushes: list[Sale] = field(default_factory=list)
    """Sales whose every unit was wanted."""
    heard: list[Heard] = field(default_factory=list)
    """In the order of the answers."""

    def write(self, path: Path) -> None:
        """Write it down as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """What `write` wrote."""
        kept = json.loads(path.read_text())
        return cls(
            [Intention(**one) for one in kept["intentions"]],
            [Sale(**one) for one in kept["rushes"]],
            [Heard(**one) for one in kept["heard"]],
        )

    @property
    def acknowledged(self) -> int:
        """How many claims were acknowledged."""
        return sum(bool(intention.answer) for intention in self.intentions)
