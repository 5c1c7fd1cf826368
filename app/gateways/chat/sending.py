"""How platforms are spoken to, whichever it is: what they answer, and what may be told of it."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from app.gateways.chat.platform import Card, ChatUnavailable, Credentials

MAX_REASON = 200
LONGEST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform said: an HTTP status below 500, and the JSON object with it, if there was one."""

    status: int
    content: dict[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def is_ok(self) -> bool:
        return httpx.codes.is_success(self.status)


async def call(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    content: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask a platform for something. Raises `ChatUnavailable` when nobody answers, and for 429 and 5xx.

    An address may be a secret itself, so nothing that names it goes on.
    """
    try:
        response = await http.request(method, url, json=content, headers=headers)
    except httpx.HTTPError as error:
        raise ChatUnavailable(f"no answer ({type(error).__name__})") from None
    answer = _answer(response)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise ChatUnavailable("too many messages (429)", _wait(response, answer.content))
    if response.is_server_error:
        raise ChatUnavailable(f"out of order ({response.status_code})", _wait(response, answer.content))
    return answer


def seconds(value: object) -> float | None:
    """How long to wait, when that was said in a way that makes sense: from nothing to an hour."""
    try:
        wait = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return min(wait, LONGEST_WAIT_SECONDS) if wait >= 0 else None


def reason(credentials: Credentials, *said: object) -> str:
    """Why a platform refused, for operators: one line, and none of the binding's secrets in it."""
    text = " ".join(" ".join(str(part) for part in said if part is not None).split())
    secrets = {secret for active in credentials.values() for secret in active}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return shortened(text, MAX_REASON)


def shortened(text: str, limit: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(card: Card, limit: int) -> str:
    """A card without its buttons as text."""
    return shortened("\n".join((card.title, *card.lines)), limit)


def first(credentials: Credentials, name: str) -> str | None:
    """The secret to sign with, if there is one."""
    return next(iter(credentials.get(name, ())), None)


def _answer(response: httpx.Response) -> Answer:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        content = None
    return Answer(response.status_code, content if isinstance(content, dict) else {}, response.text[:MAX_REASON])


def _wait(response: httpx.Response, content: dict[str, Any]) -> float | None:
    parameters = content.get("parameters")
    inner = parameters.get("retry_after") if isinstance(parameters, dict) else None
    said = (content.get("retry_after"), inner, response.headers.get("retry-after"))
    return next((wait for wait in map(seconds, said) if wait is not None), None)
