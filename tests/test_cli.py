"""The commands as people run them: real processes, ended as people end them."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.databases import create_database
from tests.planted import hear, plant
from tests.service import free_port

ROOT = Path(__file__).parents[1]


async def command(*arguments: str, module: str = "app", **environment: str) -> tuple[int, str]:
    """Run a command to its end: exit code, and everything it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if arguments[:2] != ("keys", "create"):  # which prints one
        hear(output.decode())
    return process.returncode or 0, output.decode()


@asynccontextmanager
async def started(
    *arguments: str, ready: str, module: str = "app", **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in a group of its own, once `ready` answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with httpx.AsyncClient() as http:
            for _ in range(2400):
                assert process.returncode is None, "it ended before it was ready"
                try:
                    if (await http.get(ready)).status_code == 200:
                        break
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
            else:
                raise AssertionError("it never answered")
        yield process
    finally:
        if process.returncode is None:  # with its own processes, which would keep its output open
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        hear(await rest_of(process))


async def rest_of(process: asyncio.subprocess.Process) -> str:
    """What it has printed that nobody has read. A process of its own that is left may keep the output open."""
    assert process.stdout
    printed = b""
    with suppress(TimeoutError):
        while more := await asyncio.wait_for(process.stdout.read(2**16), 1):
            printed += more
    return printed.decode()


async def press_ctrl_c(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """What a terminal does: SIGINT to the whole group. Exit code and output."""
    os.killpg(process.pid, signal.SIGINT)
    output, _ = await process.communicate()
    hear(output.decode())
    return process.returncode or 0, output.decode()


async def test_run_starts_stops_and_finds_its_data(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("run", "--port", str(port), "--data", str(tmp_path / "data"))
    ready = f"http://127.0.0.1:{port}/v1/sales"
    async with started(*arguments, ready=ready) as process, httpx.AsyncClient() as http:
        sales = (await http.get(ready)).json()["items"]
        assert [len(sale["offers"]) for sale in sales] == [1, 2]
        children = psutil.Process(process.pid).children(recursive=True)
        assert [child.name() for child in children] == ["valkey-server"]
        refused = await command("run", "--port", str(free_port()), "--data", str(tmp_path / "data"))
        assert refused[0] == 2
        assert "another service is running" in refused[1]
        code, output = await press_ctrl_c(process)
    assert code == 0
    assert "Traceback" not in output
    key = re.search(r"ktk_\w+", output)
    assert key
    assert not any(child.is_running() for child in children)
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(ready)

    async with started(*arguments, ready=ready) as process, httpx.AsyncClient() as http:
        assert [sale["id"] for sale in (await http.get(ready)).json()["items"]] == [sale["id"] for sale in sales]
        invariants = await http.get(f"http://127.0.0.1:{port}/v1/ops/invariants", headers={"x-api-key": key[0]})
        assert invariants.json()["ok"] is True
        leftover = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await process.wait()
    assert leftover[0].is_running(), "kill -9 leaves the Valkey behind"
    async with started(*arguments, ready=ready) as process:
        assert not leftover[0].is_running(), "and the next start stops it"
        assert (await press_ctrl_c(process))[0] == 0


async def test_a_key_can_be_made_and_a_stream_be_open_while_it_runs(tmp_path: Path) -> None:
    port, data = free_port(), str(tmp_path / "data")
    url = f"http://127.0.0.1:{port}"
    async with (
        started("run", "--port", str(port), "--data", data, ready=f"{url}/readyz") as process,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        code, output = await command("keys", "create", "--scope", "invariants", DATA=data)
        assert code == 0, output
        answer = await http.get("/v1/ops/invariants", headers={"x-api-key": output.strip()})
        assert answer.json()["ok"] is True

        session = (await http.post("/v1/sessions", json={"provider": "dev", "code": "alice"})).json()
        plant(session["access_token"], session["refresh_token"], answer.request.headers["x-api-key"])
        sale = (await http.get("/v1/sales")).json()["items"][-1]
        opened = await http.post(
            f"/v1/sales/{sale['id']}/groups",
            json={"offer_id": sale["offers"][0]["id"]},
            headers={"authorization": f"Bearer {session['access_token']}", "idempotency-key": "k"},
        )
        async with http.stream("GET", f"/v1/groups/{opened.json()['group']['id']}/live") as stream:
            lines = stream.aiter_lines()
            while "snapshot" not in await anext(lines):
                pass
            ending = asyncio.create_task(press_ctrl_c(process))
            assert not any("event: end" in line for line in [line async for line in lines]), (
                "the group is not final"
            )
        code, output = await ending
    assert code == 0
    assert "Traceback" not in output, output


async def test_a_process_that_is_told_to_stop_serves_on_for_a_moment(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ("run", "--port", str(port), "--data", str(tmp_path / "data"))
    async with (
        started(*arguments, ready=f"{url}/readyz", LINGER_SECONDS="60") as process,
        httpx.AsyncClient(base_url=url) as http,
    ):
        assert "connection" not in (await http.get("/livez")).headers
        process.send_signal(signal.SIGTERM)
        while (ready := await http.get("/readyz")).status_code != 503:
            await asyncio.sleep(0.01)
        assert ready.json() == {"database": True, "dealer": True, "leaving": True}
        answer = await http.get("/v1/sales")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
        hear(output.decode())
        assert b"Traceback" not in output, output.decode()


async def test_api_and_workers_as_processes_of_their_own(postgresql: str, valkey: str) -> None:
    """As in production: migrate, two API processes behind one port, a worker, a key from the command line."""
    port = free_port()
    environment = {
        "ENVIRONMENT": "staging",
        "SECRET_KEY": "a secret of thirty-two characters",
        "DATABASE_URL": await create_database(postgresql, migrated=False),
        "REDIS_URL": valkey,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "PROCESSES": "2",
        "WORKERS_INSIDE": "false",
    }
    code, output = await command("serve", **environment)
    assert (code, "migrate" in output) == (2, True)
    assert (await command("migrate", **environment))[0] == 0
    code, output = await command("keys", "create", "--scope", "orders", "--scope", "invariants", **environment)
    key = output.strip()
    assert (code, key[:4]) == (0, "ktk_")
    plant(key, environment["SECRET_KEY"])
    code, output = await command("keys", "list", **environment)
    assert (code, "orders,invariants  active" in output, key in output) == (0, True, False)

    url = f"http://127.0.0.1:{port}"
    async with (
        started("serve", ready=f"{url}/readyz", **environment) as api,
        started("worker", ready=f"{url}/livez", **environment) as worker,
        httpx.AsyncClient(base_url=url, headers={"x-api-key": key}) as http,
    ):
        assert (await http.get("/v1/ops/invariants")).json()["ok"] is True
        assert (await http.post("/v1/ops/communities", json={"name": "x"})).json()["code"] == "scope_missing"
        key_id = output.split()[0]
        assert (await command("keys", "revoke", key_id, **environment))[0] == 0
        assert (await http.get("/v1/ops/invariants")).json()["code"] == "api_key_invalid"
        for process in (worker, api):
            process.send_signal(signal.SIGTERM)
            output_bytes, _ = await process.communicate()
            hear(output_bytes.decode())
            assert b"Traceback" not in output_bytes, output_bytes.decode()


async def test_a_server_of_ones_own_logs_no_secrets(tmp_path: Path) -> None:
    """`uvicorn` as it comes, with its access log."""
    port, phone = free_port(), "+8613800138000"
    url, factory = f"http://127.0.0.1:{port}", ("--factory", "app.main:app_from_environment", "--port", str(port))
    plant(phone)
    async with (
        started(*factory, module="uvicorn", ready=f"{url}/livez", DATA=str(tmp_path / "data")) as process,
        httpx.AsyncClient(base_url=url) as http,
    ):
        await http.get("/v1/ops/orders", params={"phone": phone})
        _, output = await press_ctrl_c(process)
    assert '"GET /v1/ops/orders HTTP/1.1" 401' in output


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ENVIRONMENT": "production"}, "SECRET_KEY"),
        ({"ENVIRONMENT": "nonsense"}, "ENVIRONMENT"),
        ({"PROCESSES": "2"}, "PROCESSES"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "DATABASE_URL"),
    ],
)
async def test_a_wrong_setting_stops_the_start_and_is_named(
    environment: dict[str, str], named: str, tmp_path: Path
) -> None:
    code, output = await command("serve", **environment, DATA=str(tmp_path))
    assert code == 2
    assert named in output
    assert "Traceback" not in output
