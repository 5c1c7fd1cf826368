"""What the documents say is what the code does."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from app.domain.keys import SAMPLE_KEY
from app.gateways.dealer import LUA
from app.workers.loop import JOBS, SANDBOX_JOB
from docs.tables import DOCS, error_classes, filled
from tests.planted import hear
from tests.receivers import HOST
from tests.service import Service, free_port

ROOT = DOCS.parent
SESSION = re.compile(r"```sh\n(URL=.*?)```", re.DOTALL)
RECEIVER = re.compile(r"```python\n(.*?)```", re.DOTALL)
OPERATORS = re.compile(r"```sh\n(KEY=.*?)```", re.DOTALL)


@pytest.mark.parametrize("document", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_tables_come_from_the_code(document: Path) -> None:
    text = document.read_text()
    assert text == filled(text), "run `make docs`"


def test_every_error_has_a_code_of_its_own_and_two_texts() -> None:
    classes = error_classes()
    assert len({kind.code for kind in classes}) == len(classes)
    for kind in classes:
        assert re.fullmatch(r"[a-z_]+", kind.code)
        assert re.search(r"[一-鿿]", kind.zh), kind.code
        assert not re.search(r"[一-鿿]", kind.en), kind.code


def test_every_script_states_its_contract() -> None:
    scripts = sorted(LUA.glob("*.lua"))
    assert scripts
    for script in scripts:
        head = script.read_text().partition("\n\n")[0]
        for word in ("KEYS", "ARGV", "Returns", "Replay"):
            assert re.search(rf"^-- {word} ", head, re.MULTILINE), f"{script.name}: {word}"


def test_links_lead_somewhere() -> None:
    for document in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_both_readmes_have_the_same_session() -> None:
    sessions = [SESSION.search((ROOT / name).read_text()) for name in ("README.md", "README.zh-CN.md")]
    without_comments = [re.sub(r"^#.*\n", "", found[1], flags=re.MULTILINE) for found in sessions if found]
    assert len(without_comments) == 2
    assert without_comments[0] == without_comments[1]


async def test_the_sessions_of_the_documents_work_when_pasted(service: Service, tmp_path: Path) -> None:
    """Those of the README, and those that go on from them in `growing.md`. The sale it picks is the oldest one, as
    after `make run`; here that is any group sale of three.
    """
    text = (ROOT / "README.md").read_text()
    found, operators = SESSION.search(text), OPERATORS.search(text)
    assert found
    assert operators
    sale = await service.sale()
    session = found[1].replace('$(call $URL/v1/sales | pick \'["items"][-1]["id"]\')', sale.id)
    assert sale.id in session
    session += operators[1].replace(SAMPLE_KEY, service.operator_key)
    assert service.operator_key in session
    receiver = RECEIVER.search((DOCS / "webhooks.md").read_text())
    assert receiver
    (tmp_path / "receiver.py").write_text(receiver[1])
    port = str(free_port())
    for guide in ("growing.md", "communities.md", "logins.md", "webhooks.md", "chat.md"):
        session += "\n".join(re.findall("```sh\n(.*?)```", (DOCS / guide).read_text(), re.DOTALL))
    session += "op $URL/v1/ops/invariants | pick '[\"ok\"]'"

    async def work() -> None:
        while True:
            for job in [*JOBS, SANDBOX_JOB]:
                await job.run_once(service.state, service.clock())
            await asyncio.sleep(0.1)

    working = asyncio.create_task(work())
    try:
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            session,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ
            | {"URL": service.url, "RECEIVER": f"http://{HOST}:{port}", "RECEIVER_PORT": port}
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        output, errors = await shell.communicate()
        hear(errors.decode())
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    lines = output.decode().strip().splitlines()
    assert shell.returncode == 0, errors.decode()
    assert lines[-1] == "True", "the invariants hold"
    assert "confirmed" in lines
    assert any('"state":"live"' in line for line in lines), "the operator's sale is published"
    assert any('"state":"fulfilled"' in line for line in lines), "and the order shipped"
    assert any(line.startswith("endpoint.tested ept_") for line in lines), "a receiver of webhooks hears it"
    assert {"owner", "expert", "小满", "blocked", "dissolved"} <= set(lines), "a community is made, led and ended"
    assert any('"balance":400' in line for line in lines), "who brought two buyers is rewarded"
    assert any(line.startswith('<meta property="og:image"') for line in lines)
    assert any(line.startswith("channel,chat,") for line in lines), "the figures come as CSV"
    assert (tmp_path / "invite-qr.png").read_bytes().startswith(b"\x89PNG")
    assert "event: snapshot" in lines
    assert "event: end" in lines
