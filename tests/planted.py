"""Everything that is logged while tests run, searched for the secrets they used.

Whoever makes a secret plants it; whoever starts a process hears what it printed. What any logger says is heard by
itself. At the end of the run nothing that was heard may hold anything that was planted. Each process of a run that
is shared among several searches what was said in it.
"""

import io
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from app.domain.keys import SAMPLE_KEY
from app.logs import keep_secrets

ENDING = 8
"""By so many last characters a secret is found; shorter ones cannot be planted."""
DIFFERENT = 4
"""Characters that a secret has at least."""
SECRET_FIELDS = frozenset({"access_token", "refresh_token", "visitor_token", "secret", "phone", "credentials"})
"""Fields of requests and answers in JSON whose texts are secrets."""
CODE_PATHS = frozenset(
    {"/v1/sessions", *(f"/v1/members/me/{name}" for name in ("identities", "phone", "link-codes"))}
)
"""Where `code` is one of these fields, too: elsewhere it is an invite's or a coupon's."""
PHONE = re.compile(r"\+?[\d -]{8,20}")
OF_OURS = re.compile(r"ktk_[0-9A-Za-z]{38}|eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")
"""The forms of keys and tokens: those that a process makes for itself nobody else plants."""
PAGES = re.compile(r"/(?:link|sandbox/pay)/([\w-]{16,})")
"""Addresses that let in whoever knows them."""
STAND_INS_SECRETS = ("token", "secret", "key")
"""What the names of a stand-in's secrets end with."""
FOUND = "planted secrets that were logged"
_planted: set[str] = set()
_heard = io.StringIO()


def plant(*secrets: str) -> None:
    """Nothing that is logged may have one of these texts in it, nor what they are in an address."""
    for secret in secrets:
        assert _can_be_found(secret), f"{secret!r} is too short or too plain to be found"
        _planted.update({secret, quote(secret, safe="")})


def plant_fields(body: bytes, path: str = "") -> None:
    """Plant the secrets in a request to this path or in its answer, if it is one in JSON."""
    names = SECRET_FIELDS | {"code"} if path in CODE_PATHS else SECRET_FIELDS
    if any(b'"%s"' % name.encode() in body for name in names):
        with suppress(ValueError):
            plant(*filter(_can_be_found, _secret_texts(json.loads(body), names, inside=False)))


def plant_addresses(text: str) -> None:
    """Plant the secrets in the addresses of pages that are in a text."""
    plant(*filter(_can_be_found, PAGES.findall(text)))


def plant_stand_in(stand_in: object) -> None:
    """Plant what a stand-in of a chat platform, which keeps them as attributes, has for secrets."""
    of_it = {name: value for name, value in vars(stand_in).items() if name.endswith(STAND_INS_SECRETS)}
    plant(*(value for value in of_it.values() if isinstance(value, str)))


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
    lines = _heard.getvalue().splitlines()
    found = {(secret, line) for line in lines for secret in _within(line, endings)}
    found |= {(secret, line) for line in lines for secret in OF_OURS.findall(line) if secret != SAMPLE_KEY}
    _heard.seek(0)
    _heard.truncate()
    return found


def _within(line: str, endings: dict[str, list[str]]) -> Iterator[str]:
    for end in range(ENDING, len(line) + 1):
        for secret in endings.get(line[end - ENDING : end], ()):
            if line.endswith(secret, 0, end):
                yield secret


def _secret_texts(value: Any, names: frozenset[str], *, inside: bool) -> Iterable[str]:
    """With provider `dev` a code is any name, unless it is the number of a phone."""
    match value:
        case {"provider": "dev", "code": str(code)} if "code" in names and not PHONE.fullmatch(code):
            yield from _secret_texts(value, names - {"code"}, inside=inside)
        case dict():
            for name, own in value.items():
                yield from _secret_texts(own, names, inside=inside or name in names)
        case list():
            for own in value:
                yield from _secret_texts(own, names, inside=inside)
        case str() if inside:
            yield value.removeprefix("+86")


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
