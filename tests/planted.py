"""Everything that is logged while tests run, searched for the secrets they used.

Whoever makes a secret plants it; whoever starts a process hears what it printed. What any logger says is heard by
itself. At the end of the run nothing that was heard may hold anything that was planted. Each process of a run that
is shared among several searches what was said in it.
"""

import io
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from app.logs import keep_secrets

ENDING = 8
"""By so many last characters a secret is found; shorter ones cannot be planted."""
DIFFERENT = 4
"""Characters that a secret has at least."""
SECRET_FIELDS = frozenset({"access_token", "refresh_token", "secret", "phone", "link_code", "credentials"})
"""Fields of requests and answers in JSON whose texts are secrets."""
FOUND = "planted secrets that were logged"
_planted: set[str] = set()
_heard = io.StringIO()


def plant(*secrets: str) -> None:
    """Nothing that is logged may have one of these texts in it, nor what they are in an address."""
    for secret in secrets:
        assert len(secret) >= ENDING, f"{secret!r} is too short to be found"
        _planted.update({secret, quote(secret, safe="")})


def plant_fields(body: bytes) -> None:
    """Plant the secrets in a request or an answer of the API, if it is one in JSON."""
    if any(b'"%s"' % name.encode() in body for name in SECRET_FIELDS):
        with suppress(ValueError):
            plant(*filter(_can_be_found, _secret_texts(json.loads(body), inside=False)))


def _can_be_found(text: str) -> bool:
    """Whether a text is found only where it was meant; `000…0` is in many ids that there are none of."""
    return len(text) >= ENDING and len(set(text)) >= DIFFERENT


def hear(text: str) -> None:
    """What a process has printed is logged, too."""
    _heard.write(f"{text}\n")


def search() -> set[tuple[str, str]]:
    """Secrets that were logged, each with a line it is in; and forget what was heard."""
    endings = defaultdict(list)
    for secret in _planted:
        endings[secret[-ENDING:]].append(secret)
    found = {(secret, line) for line in _heard.getvalue().splitlines() for secret in _within(line, endings)}
    _heard.seek(0)
    _heard.truncate()
    return found


def _within(line: str, endings: dict[str, list[str]]) -> Iterator[str]:
    for end in range(ENDING, len(line) + 1):
        for secret in endings.get(line[end - ENDING : end], ()):
            if line.endswith(secret, 0, end):
                yield secret


def _secret_texts(value: Any, *, inside: bool) -> Iterable[str]:
    match value:
        case dict():
            for name, own in value.items():
                yield from _secret_texts(own, inside=inside or name in SECRET_FIELDS)
        case list():
            for own in value:
                yield from _secret_texts(own, inside=inside)
        case str() if inside:
            yield value


class Listener:
    """The part of it that pytest calls."""

    def __init__(self) -> None:
        self.lines, self.secrets = 0, 0
        self.found: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def pytest_sessionstart(self) -> None:
        """Hear every logger at every level that the service itself lets speak, behind its own filters."""
        call_handlers, formatter = logging.Logger.callHandlers, logging.Formatter("%(name)s: %(message)s")

        def listening(logger: logging.Logger, record: logging.LogRecord) -> None:
            hear(formatter.format(record))
            call_handlers(logger, record)

        self._patch.setattr(logging.Logger, "callHandlers", listening)
        logging.getLogger().setLevel(logging.DEBUG)
        keep_secrets()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search, and fail the run where something was found: tell it to whoever shares the tests out."""
        self._patch.undo()
        self.lines += _heard.getvalue().count("\n")
        self.secrets += len(_planted)
        self.found += [f"{secret!r} in {line!r}" for secret, line in sorted(search())]
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["planted"] = (self.lines, self.secrets, self.found)
        elif self.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a process of a shared run has found."""
        lines, secrets, found = getattr(node, "workeroutput", {}).get("planted", (0, 0, []))
        self.lines += lines
        self.secrets += secrets
        self.found += found

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how many, where anything was planted."""
        if self.secrets:
            terminalreporter.write_line(f"{FOUND}: {len(self.found)} of {self.secrets}, in {self.lines} lines")
        for line in self.found:
            terminalreporter.write_line(line, red=True)
