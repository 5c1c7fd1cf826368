"""The command line: `python -m app …`. Every command opens the same state as the API."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
import uvloop
from pydantic import ValidationError

from app.config import Environment, Settings, stand_in_port
from app.domain.keys import SAMPLE_KEY
from app.domain.operators import Scope
from app.gateways.database import SQLITE_FILE, DatabaseNotReady, database_url, open_database
from app.gateways.payments.wechatpay import ProviderNotReady
from app.gateways.valkey import FolderInUse
from app.logs import begin_logging
from app.main import collect_less_garbage, create_app, in_front
from app.services import operators
from app.services.sample import add_sample, find_sample_invite
from app.state import open_state
from app.workers.loop import running_workers

SERVER: dict[str, Any] = {
    "access_log": False,
    # Longer than what proxies in front keep an idle connection, so that they close it and not we.
    "timeout_keep_alive": 75,
    # What watchers are sent is the same for all of them: it is not compressed for each. They have nothing to say.
    "ws_per_message_deflate": False,
    "ws_max_size": 4096,
}
"""How uvicorn serves us, whoever starts it."""

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Kaituan 开团")
DataOption = Annotated[Path | None, typer.Option(help="The folder `run` was given, when not `data` or DATA")]
keys = typer.Typer(no_args_is_help=True, help="Operators' API keys")
cli.add_typer(keys, name="keys")


@cli.command()
def run(
    port: Annotated[int, typer.Option(help="Port to listen on")] = 8000,
    data: Annotated[Path, typer.Option(help="Folder for the database and Valkey")] = Path("data"),
) -> None:
    """Try it on a laptop: API and workers in one process, SQLite, an embedded Valkey, sample data."""
    here = {} if "PUBLIC_URL" in os.environ else {"public_url": f"http://127.0.0.1:{port}"}
    if here and "CHAT_STAND_IN_URL" not in os.environ:
        # No platform reaches this address: the scene `chat` plays them beside the service.
        here["chat_stand_in_url"] = f"http://127.0.0.1:{stand_in_port(port)}"
    settings = _settings(port=port, data=data, **here)
    if settings.environment != Environment.DEVELOPMENT:
        _stop("ENVIRONMENT: `run` is for development; use `serve` and `worker`")
    _check_port(settings)
    _run(_run_everything(settings))


@cli.command()
def serve() -> None:
    """Serve the API with the settings of the environment."""
    settings = _settings()
    _run(_check(settings))
    uvicorn.run(
        "app.main:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.processes,
        timeout_graceful_shutdown=settings.drain_seconds,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        **SERVER,
    )


@cli.command()
def worker() -> None:
    """Run the workers: deadlines, refunds, the dealer's reaper. Any number may run."""
    _log()
    _run(_work(_settings()))


@cli.command()
def migrate() -> None:
    """Bring the database's tables to the newest migration."""
    _run(_migrate(_settings()))
    typer.echo("The tables are up to date.")


@keys.command("create")
def create_key(
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; repeat for several")],
    name: Annotated[str, typer.Option(help="Whose key it is")] = "operator",
    data: DataOption = None,
) -> None:
    """Make a key and print it. It is shown this once."""

    async def create() -> str:
        async with open_state(_existing(data), share=True) as state:
            return await operators.create_key(state, name, scope)

    typer.echo(_run(create()))


@keys.command("list")
def list_keys(data: DataOption = None) -> None:
    """List the keys there are, without their secrets."""

    async def find() -> list[str]:
        async with open_state(_existing(data), share=True) as state:
            return [
                f"{row.id}  {row.name}  {','.join(row.scopes)}  {'revoked' if row.revoked_at else 'active'}"
                for row in await operators.list_keys(state)
            ]

    typer.echo("\n".join(_run(find())))


@keys.command("revoke")
def revoke_key(key_id: str, data: DataOption = None) -> None:
    """End a key."""

    async def revoke() -> bool:
        async with open_state(_existing(data), share=True) as state:
            return await operators.revoke_key(state, key_id)

    if not _run(revoke()):
        _stop(f"{key_id}: no such key, or it had ended")
    typer.echo("revoked")


async def _run_everything(settings: Settings) -> None:
    _log()
    if not settings.is_sqlite:  # opening the state does that for SQLite
        await _migrate(settings)
    async with open_state(settings) as state:
        await add_sample(state)
        has_sample_key = await operators.has_key(state, SAMPLE_KEY)
        server = uvicorn.Server(
            uvicorn.Config(
                in_front(create_app(settings, state), settings),
                host=settings.host,
                port=settings.port,
                log_level="warning",
                timeout_graceful_shutdown=settings.drain_seconds,
                forwarded_allow_ips=settings.forwarded_allow_ips,
                **SERVER,
            )
        )
        # uvicorn raises the signal again when it is done; it must not end us before everything is closed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        key, code = SAMPLE_KEY if has_sample_key else None, await find_sample_invite(state)
        greeting = asyncio.create_task(_greet(server, settings, key, code))
        async with running_workers(state):
            await server.serve()
        greeting.cancel()


async def _greet(server: uvicorn.Server, settings: Settings, key: str | None, code: str | None) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.05)
    url = settings.public_url.rstrip("/")
    typer.echo(
        f"""
Kaituan 开团 is running; its data is in {settings.data}

  API documentation   {url}/docs
  Sales               {url}/v1/sales
  A friend's link     {f"{url}/i/{code}" if code else "make one with `POST /v1/invites`"}
  Operator key        {key or "make one with `make key`"}   (header X-API-Key)

  In a second shell:  make demo{"" if settings.port == 8000 else f" URL={url}"}
  Ctrl-C stops everything."""  # noqa: PLR2004
    )


async def _work(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with open_state(settings) as state, running_workers(state):
        collect_less_garbage()
        await stopped.wait()


async def _check(settings: Settings) -> None:
    """Refuse to start without a database that is ready."""
    if settings.is_sqlite:
        await _migrate(settings)
    async with open_database(database_url(settings), 1) as database:
        await database.check_ready()


async def _migrate(settings: Settings) -> None:
    if settings.is_sqlite:
        settings.data.mkdir(parents=True, exist_ok=True)
    async with open_database(database_url(settings), 1) as database:
        await database.migrate()


def _existing(data: Path | None) -> Settings:
    """The settings of a database that is there: a key in a new one would be of no use to anybody."""
    settings = _settings(**({} if data is None else {"data": data}))
    if not settings.database_url and not (settings.data / SQLITE_FILE).exists():
        _stop(f"DATA: no service has run in {settings.data}; name its folder with --data")
    return settings


def _check_port(settings: Settings) -> None:
    """Say so before anything is made when somebody else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            _stop(
                f"PORT: cannot listen on {settings.host}:{settings.port} ({error.strerror});"
                " choose another: make run PORT=9000 DATA=some/folder"
            )


def _settings(**overrides: Any) -> Settings:
    try:
        return Settings(**overrides)
    except ValidationError as error:
        for item in error.errors():
            place = ".".join(str(part).upper() for part in item["loc"])
            typer.echo(f"{place}{': ' if place else ''}{item['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from None


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return uvloop.run(work)
    except (DatabaseNotReady, FolderInUse, ProviderNotReady) as error:
        _stop(str(error))
    except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        _stop(f"DATA: cannot use {error.filename} ({error.strerror})")


def _stop(message: str) -> None:
    typer.echo(message, err=True)
    sys.exit(2)


def _log() -> None:
    begin_logging(os.environ.get("LOG_LEVEL", "WARNING"))
