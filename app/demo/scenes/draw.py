"""A draw: ten enter, three win, one does not pay and the next is served; the proof is checked by its script."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.demo.client import Json, Member
from app.demo.scenes.scene import Scene, together

MEMBERS, STOCK = 10, 3
DRAWN_AFTER_SECONDS, HOLD_SECONDS = 4, 6
VERIFY = Path(__file__).parents[3] / "docs" / "verify_draw.py"


async def play(scene: Scene) -> None:
    """Enter, be drawn, pay or not, and draw again from what was published."""
    members = await scene.members(MEMBERS)
    draws_at = datetime.now(UTC) + timedelta(seconds=DRAWN_AFTER_SECONDS)
    sale = await scene.sale(
        "抽签 · 明前龙井",
        kind="flash",
        allocation="draw",
        draws_at=draws_at.isoformat(),
        hold_ttl_seconds=HOLD_SECONDS,
        stock=STOCK,
    )
    committed = sale["seed_hash"]
    scene.note(f"the hash of the seed is published: {committed}")
    wish = {"offer_id": sale["offers"][0]["id"]}
    entered = await together(scene.post(member, f"/v1/sales/{sale['id']}/entries", wish) for member in members)
    people = {entry["id"]: member for entry, member in zip(entered, members, strict=True)}
    scene.note(f"{len(people)} members entered for {STOCK} units; nobody is given a ticket to buy")
    coming = scene.post(members[0], f"/v1/sales/{sale['id']}/admission", {})
    scene.expect("a ticket before the draw", "409 sale_is_drawn", await scene.refusal(coming))

    draw = await scene.until(f"/v1/sales/{sale['id']}/draw", lambda draw: draw["seed"] is not None)
    scene.expect("winners", STOCK, len(draw["winners"]))
    scene.note(f"drawn; the seed is told: {draw['seed']}")
    await _check(scene, draw, committed)
    await _serve(scene, draw, people)


async def _check(scene: Scene, draw: Json, committed: str) -> None:
    code, told = await _verify(draw, committed)
    scene.expect("the script's winners", (0, draw["winners"]), (code, told.split()))
    scene.row("drawn again by docs/verify_draw.py", "the same winners" if code == 0 else told)
    changed = json.loads(json.dumps(draw))
    changed["entries"][0]["weight"] += 1
    code, told = await _verify(changed, committed)
    scene.expect("the script on a changed entry", 1, code)
    scene.row("with one entry changed", told.strip())


async def _verify(draw: Json, committed: str) -> tuple[int, str]:
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, str(VERIFY), committed), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await run.communicate(json.dumps(draw).encode())
    return run.returncode or 0, output.decode()


async def _serve(scene: Scene, draw: Json, people: dict[str, Member]) -> None:
    """All winners but the last pay; the first reserve gets what the last lets go, and pays."""
    *payers, sleeper = draw["winners"]
    reserve, last = (lot["id"] for lot in (draw["entries"][STOCK], draw["entries"][-1]))
    shown = await scene.get(f"/v1/entries/{last}", people[last])
    scene.expect("the last reserve number", MEMBERS - STOCK, shown["position"])
    scene.note(f"{people[last].name} is told: reserve number {shown['position']}")
    for entry_id in payers:
        await _pay(scene, people[entry_id], entry_id)
    scene.note(f"{people[sleeper].name} does not pay")
    await _pay(scene, people[reserve], reserve)
    for entry_id, wanted in [*((id_, "taken") for id_ in (*payers, reserve)), (sleeper, "lapsed")]:
        path, member = f"/v1/entries/{entry_id}", people[entry_id]
        found = await scene.until(path, lambda entry: entry["state"] in {"taken", "lapsed"}, member)
        scene.expect(f"the entry of {member.name}", wanted, found["state"])
        scene.row(member.name, f"drawn as number {found['rank']}: {found['state']}")


async def _pay(scene: Scene, member: Member, entry_id: str) -> None:
    entry = await scene.until(f"/v1/entries/{entry_id}", lambda entry: entry["order_id"] is not None, member)
    scene.note(f"{member.name} was drawn as number {entry['rank']} and pays")
    order = await scene.pay(member, entry["order_id"])
    scene.expect(f"the order of {member.name}", "confirmed", order["state"])
