"""Every scene of `make demo SCENE=…`, played at a service as `make run` starts it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from app.demo.client import open_service
from app.demo.scenes import SCENES
from app.demo.scenes.community import KINDS, SAMPLE, play_kind
from app.demo.scenes.scene import Scene
from app.domain.keys import SAMPLE_KEY
from tests.service import free_port, plant_secrets
from tests.test_cli import command, press_ctrl_c, started


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    data: Path = tmp_path_factory.mktemp("scenes")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with started("run", "--port", str(port), "--data", str(data), ready=f"{url}/readyz") as process:
        yield url
        await press_ctrl_c(process)  # killed, it would leave its Valkey behind


async def demo(url: str, scene: str, **environment: str) -> tuple[int, str]:
    return await command("--url", url, "--scene", scene, module="app.demo", **environment)


@pytest.mark.parametrize("scene", SCENES)
async def test_a_scene_keeps_its_promises(url: str, scene: str) -> None:
    code, output = await demo(url, scene, COLUMNS="200", FLASH_MEMBERS="300")
    assert (code, output.splitlines()[-1]) == (0, "violations: 0"), output


@pytest.mark.parametrize("kind", KINDS)
async def test_a_community_behaves_as_its_kind_is_named(url: str, kind: str) -> None:
    async with open_service(url) as service:
        service.http.event_hooks = {"response": [plant_secrets]}
        scene = Scene(service, SAMPLE_KEY, Console(quiet=True))
        await play_kind(scene, kind)
    assert scene.broken == []
    assert [name for name, _ in scene.rows] == [SAMPLE["communities"][kind]["community"]["name"]]


def test_the_sample_file_has_a_community_of_every_kind() -> None:
    assert set(SAMPLE["communities"]) == set(KINDS)


async def test_a_scene_that_is_not_there_is_named(url: str) -> None:
    code, output = await demo(url, "nothing")
    assert code == 2
    assert all(scene in output for scene in SCENES)
