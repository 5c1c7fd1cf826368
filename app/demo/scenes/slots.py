"""Daily slots 场次: one is selling, the others are still to come, and who asked for it is reminded."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.demo.client import Json
from app.demo.scenes.scene import Scene

APART_MINUTES = 10
STOCK = 2
LABELS = {"scheduled": "即将开始", "live": "进行中", "ended": "已结束"}


async def play(scene: Scene) -> None:
    """Lay a draft out in three slots, buy in the one that is open, and wait for another."""
    draft = await scene.sale("秒杀 · 明前龙井", kind="flash", stock=STOCK, price=1900, publish=False)
    layout = plan(datetime.now(UTC))
    for _ in range(2):
        laid = await scene.operate("POST", f"sales/{draft['id']}/slots", layout)
    scene.expect("slots, laid out twice", 3, len(laid["items"]))
    await scene.operate("POST", f"sales/{draft['id']}/slots/publish")
    now, following, _ = (await scene.get(f"/v1/sales?series_id={draft['id']}"))["items"]
    first, second = await scene.members(2)

    reminder = f"/v1/sales/{following['id']}/reminder"
    await scene.service.call("PUT", reminder, token=second.token, body={"minutes_before": 1440})
    early = await scene.post(second, f"/v1/sales/{following['id']}/admission", {})
    scene.expect("at the door before it opens", ("waiting", None), (early["state"], early["ticket"]))
    order = (await scene.buy(first, now))["order"]
    await scene.pay(first, order["id"])
    mine = await scene.until("/v1/reminders", _is_told, second)
    scene.expect(f"that {second.name} was reminded", True, _is_told(mine))
    await scene.operate("POST", f"sales/{now['id']}/end")

    slots = (await scene.get(f"/v1/sales?series_id={draft['id']}"))["items"]
    scene.expect(
        "units left of each slot", [STOCK - 1, STOCK, STOCK], [slot["offers"][0]["left"] for slot in slots]
    )
    scene.expect("states", ["ended", "scheduled", "scheduled"], [slot["state"] for slot in slots])
    for slot in slots:
        scene.row(f"{slot['opens_at'][11:16]} UTC 场", LABELS[slot["state"]])


def plan(now: datetime) -> dict[str, Any]:
    """Three slots, of which the first is open. Near midnight the day is that of another place."""
    at = [now.replace(second=0) + timedelta(minutes=APART_MINUTES * number) for number in range(3)]
    offset = 0 if at[0].date() == at[-1].date() else 8
    at = [moment + timedelta(hours=offset) for moment in at]
    day = at[0].date().isoformat()
    return {
        "first_day": day,
        "last_day": day,
        "times": [f"{moment:%H:%M}" for moment in at],
        "minutes": APART_MINUTES,
        "timezone": "Asia/Shanghai" if offset else "UTC",
    }


def _is_told(page: Json) -> bool:
    return [item["told_at"] is not None for item in page["items"]] == [True]
