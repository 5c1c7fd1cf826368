"""What is logged, and what is not: some libraries write down all that goes over a wire, with the secrets in it."""

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WIRES = ("aiosqlite", "httpcore", "httpx", "sqlalchemy", "websockets")
"""Below WARNING these log addresses, headers and rows."""
SERVERS = ("uvicorn.access", "uvicorn.error")
"""These log the addresses we are called at."""
FALSE_ALARM = "ASGI callable returned without completing handshake."
"""uvicorn says so whenever we refuse a WebSocket with an answer, at the level of an error."""
SECRET_PATHS = ("/link/", "/sandbox/pay/")
"""What follows lets in whoever knows it."""


def begin_logging(level: str | int) -> None:
    """Log to stderr from this level on."""
    logging.basicConfig(level=level, format=FORMAT)
    keep_secrets()


def keep_secrets() -> None:
    """Have nothing logged that is nobody else's business, or not so, at any level."""
    for name in WIRES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SERVERS:
        logging.getLogger(name).addFilter(_cut_addresses)
    logging.getLogger("uvicorn.error").addFilter(_is_so)


def _cut_addresses(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_cut(arg) if isinstance(arg, str) and arg[:1] == "/" else arg for arg in record.args)
    return True


def _is_so(record: logging.LogRecord) -> bool:
    return record.msg != FALSE_ALARM


def _cut(address: str) -> str:
    """An address without its query, in which there are signatures, codes and numbers of phones."""
    path = address.partition("?")[0]
    secret = next((start for start in SECRET_PATHS if path.startswith(start)), None)
    return path if secret is None else f"{secret}…"
