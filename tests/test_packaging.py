"""What ships the service agrees with the service: requirements, Makefile, image, compose file, settings."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from app.cli import cli
from app.config import Environment, Settings
from app.gateways.drawing.fonts import PREFERRED

ROOT = Path(__file__).parents[1]
SETTINGS = {name.upper() for name in Settings.model_fields}
OF_POSTGRES = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<word>[^}]*))?\}")
FILLED_IN = {
    "SECRET_KEY": "a" * 64,
    "POSTGRES_PASSWORD": "b" * 64,
    "PUBLIC_URL": "https://shop.example",
}


# Requirements


def read_pins(name: str) -> dict[str, dict[str, list[str]]]:
    """Of every pinned package: its hashes by version; some have another version for another machine."""
    pins: dict[str, dict[str, list[str]]] = {}
    for block in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        requirement = Requirement(block.partition(" --hash=")[0])
        (version,) = requirement.specifier
        assert version.operator == "==", block
        versions = pins.setdefault(canonicalize_name(requirement.name), {})
        versions[version.version] = re.findall(r"--hash=(\S+)", block)
    return pins


def read_wanted(name: str) -> list[Requirement]:
    """What a requirements.in asks for, with what it includes."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    included = [line.removeprefix("-r ") for line in lines if line.startswith("-r ")]
    own = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return own + [requirement for other in included for requirement in read_wanted(other)]


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    pins = read_pins(f"{name}.txt")
    for package, versions in pins.items():
        for hashes in versions.values():
            assert hashes, package
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", item) for item in hashes)
    for wanted in read_wanted(f"{name}.in"):
        versions = pins[canonicalize_name(wanted.name)]
        assert any(map(wanted.specifier.contains, versions)), f"{wanted} is pinned at {versions}; run `make lock`"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_name_no_place_to_download_from(name: str) -> None:
    for line in (ROOT / name).read_text().splitlines():
        assert not re.search(r"://| @ |--(extra-)?index-url|--find-links|-i ", line), line


def test_what_is_tested_is_what_is_shipped() -> None:
    tested = read_pins("requirements-dev.txt")
    shipped = read_pins("requirements.txt")
    assert {package: tested.get(package) for package in shipped} == shipped


# Makefile


def test_make_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    shown = subprocess.run(["make"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert re.findall(r"^  make ([a-z-]+) +\S", shown, re.MULTILINE) == targets
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(" ".join(phony).split()) == sorted(targets)


# Image


def read_stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's stages, each a list of instructions and what they are given."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    stages: list[list[tuple[str, str]]] = []
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        instruction, _, given = line.partition(" ")
        if instruction == "FROM":
            stages.append([])
        stages[-1].append((instruction, " ".join(given.split())))
    return stages


def last(instruction: str) -> str:
    """What the image's last instruction of this kind is given."""
    return [given for name, given in read_stages()[-1] if name == instruction][-1]


def image_environment() -> dict[str, str]:
    return dict(item.split("=", 1) for name, given in read_stages()[-1] if name == "ENV" for item in given.split())


def commands() -> set[str]:
    """The commands of `python -m app`."""
    group = typer.main.get_command(cli)
    return set(getattr(group, "commands", {}))


def test_the_image_runs_the_command_line_as_nobody_special() -> None:
    assert last("USER").partition(":")[0] not in {"root", "0"}
    assert json.loads(last("ENTRYPOINT")) == ["python", "-m", "app"]
    assert json.loads(last("CMD"))[0] in commands()
    assert last("STOPSIGNAL") == "SIGTERM"


def test_the_image_has_chinese_letters_for_posters() -> None:
    installed = " ".join(given for name, given in read_stages()[-1] if name == "RUN")
    assert "fonts-wqy-microhei" in installed
    assert "wqy-microhei" in PREFERRED


def test_the_image_holds_what_exists_and_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for stage in read_stages()
        for name, given in stage
        if name == "COPY" and not given.startswith("--from")
        for source in given.split()[:-1]
    }
    assert copied == let_in
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_image_refuses_to_start_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = image_environment()
    assert set(environment) - SETTINGS == {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name in SETTINGS & set(environment):
        monkeypatch.setenv(name, environment[name])
    with pytest.raises(ValidationError, match="SECRET_KEY"):
        Settings()


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that gives every request this status; yields its port and the paths that were asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False), (404, False)])
def test_the_image_is_healthy_while_it_is_ready(status: int, is_healthy: bool) -> None:
    python, *arguments = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert python == "python"
    with answering(status) as (port, asked):
        probe = subprocess.run([sys.executable, *arguments], env={"PORT": str(port)}, check=False)
    assert asked == ["/readyz"]
    assert (probe.returncode == 0) is is_healthy


# Compose file


def read_services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def read_ours() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: service for name, service in read_services().items() if "build" in service}


def read_example() -> dict[str, str]:
    """Every variable of .env.example, with the value it shows; those behind a `#` too."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def fill_in(service: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """The environment compose gives a service. Raises `KeyError` for what is required and missing."""

    def value(found: re.Match[str]) -> str:
        if given.get(found["name"]):
            return given[found["name"]]
        if found["kind"] == "?":
            raise KeyError(found["name"])
        return found["word"] or ""

    filled = {}
    for name, text in service["environment"].items():
        if text is not None:
            filled[name] = VARIABLE.sub(value, text)
        elif name in given:
            filled[name] = given[name]
    return filled


def test_compose_and_example_name_settings_that_exist() -> None:
    services = read_services()
    assert set(services["postgres"]["environment"]) <= OF_POSTGRES
    for service in read_ours().values():
        assert set(service["environment"]) <= SETTINGS

    text = (ROOT / "docker-compose.yml").read_text()
    passed_on = {
        name for service in read_ours().values() for name, value in service["environment"].items() if value is None
    }
    read = {found["name"] for found in VARIABLE.finditer(text)} | passed_on
    assert read <= SETTINGS | OF_POSTGRES
    assert set(read_example()) == read


def test_example_shows_defaults_and_keeps_no_secret() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = {found["name"] for found in VARIABLE.finditer(text) if found["kind"] == "?"}
    assert required == set(FILLED_IN)
    for name, value in read_example().items():
        if name in required:
            assert value == "", f"{name} is for each to fill in"
        elif name not in {"ENVIRONMENT", "SANDBOX_URL"}:
            assert value == str(Settings.model_fields[name.lower()].default), name


def test_every_container_of_ours_runs_a_command_and_only_the_api_is_probed() -> None:
    for service in read_ours().values():
        command = service.get("command", json.loads(last("CMD")))
        assert set(command) <= commands()
        assert service.get("healthcheck", {}).get("disable", False) is (command != ["serve"])


@pytest.mark.parametrize("name", ["api", "worker", "migrate"])
def test_a_filled_in_example_makes_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = read_ours()[name]
    trial = read_example() | FILLED_IN | {"PUBLIC_URL": "http://127.0.0.1:8000"}
    for given, environment in ((FILLED_IN, Environment.PRODUCTION), (trial, Environment.STAGING)):
        for variable in SETTINGS:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in (image_environment() | fill_in(service, given)).items():
            if variable in SETTINGS:
                monkeypatch.setenv(variable, value)
        settings = Settings()
        assert settings.environment == environment
        assert settings.host == "0.0.0.0"
        assert not settings.workers_inside
        assert settings.database_url == f"postgresql://kaituan:{'b' * 64}@postgres:5432/kaituan"
        assert settings.redis_url == "redis://redis:6379/0"

    for missing in FILLED_IN:
        with pytest.raises(KeyError, match=missing):
            fill_in(service, FILLED_IN | {missing: ""})
