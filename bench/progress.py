"""Telling how far a long run is, on the error stream: the standard output ends with the JSON."""

from dataclasses import dataclass, field
from time import monotonic

from rich.console import Console


@dataclass(slots=True)
class Progress:
    """Began when it was made."""

    _console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False), kw_only=True)
    _begun: float = field(default_factory=monotonic, kw_only=True)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return monotonic() - self._begun

    def say(self, text: str, style: str = "dim") -> None:
        """Tell what is going on, and how many seconds after the start."""
        self._console.print(f"{self.seconds:4.0f} s  {text}", style=style, markup=False, soft_wrap=True)
