"""Days of payments beside the bills of whoever plays the provider."""

from datetime import datetime, time, timedelta, tzinfo
from typing import Any

from tests.service import Service


def turn_to(service: Service, moment: time, zone: tzinfo) -> datetime:
    """Let time pass until it is this late there, on the next day; returns the moment."""
    now = service.clock().astimezone(zone)
    wanted = datetime.combine(now.date() + timedelta(days=1), moment, zone)
    service.clock.advance((wanted - now).total_seconds())
    return wanted


async def compare(service: Service, provider: str, day: datetime) -> dict[str, Any]:
    """Have a day compared, perhaps again; what was found."""
    body = {"provider": provider, "day": day.date().isoformat()}
    reply = await service.ops("POST", "reconciliations", body)
    assert reply.status_code == 202, reply.text
    await service.work()
    found = (await service.ops("GET", f"reconciliations/{reply.json()['id']}")).json()
    assert found["state"] == "done", found
    return dict(found)
