"""Every scene of `make demo SCENE=…`, played at a service as `make run` starts it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.demo.scenes import SCENES
from tests.service import free_port
from tests.test_cli import command, press_ctrl_c, started


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    data: Path = tmp_path_factory.mktemp("scenes")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with started("run", "--port", str(port), "--data", str(data), ready=f"{url}/readyz") as process:
        yield url
        await press_ctrl_c(process)  # killed, it would leave its Valkey behind


@pytest.mark.parametrize("scene", SCENES)
async def test_a_scene_keeps_its_promises(url: str, scene: str) -> None:
    code, output = await command("demo", "--url", url, "--scene", scene, COLUMNS="200", FLASH_MEMBERS="300")
    assert (code, output.splitlines()[-1]) == (0, "violations: 0"), output


async def test_a_scene_that_is_not_there_is_named(url: str) -> None:
    code, output = await command("demo", "--url", url, "--scene", "nothing")
    assert code == 2
    assert all(scene in output for scene in SCENES)
