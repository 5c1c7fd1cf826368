"""Guards of reminders: whose they are, and that they are told once and in time."""

from datetime import timedelta

import pytest

from app.domain.errors import SaleAlreadyOpen, SaleEnded, SaleNotFound
from app.models import Reminder
from app.services import reminders, sales
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import FLASH, Sale

REMINDERS = "app.services.reminders"
UNLOCKED = Cut("app.services.locks.lock_sale", "_locking(", "(lambda statement, **_: statement)(")


async def remind(world: World, sale: Sale, minutes: int = 10, *, friend: bool = False) -> None:
    member = world.friend if friend else world.me
    await reminders.set_reminder(world.state, member.id, sale.id, minutes)


async def told(world: World, sale: Sale) -> int:
    return await world.count("events WHERE type = 'reminder.due' AND sale_id = :id", id=sale.id)


@notices(
    *cuts("app.domain.reminders.reminder_time", "terms.state == SaleState.ENDED", "now >= terms.opens_at"),
    *cuts("app.services.terms.published_sale", "sale.state == SaleState.DRAFT"),
)
async def one_is_reminded_of_what_is_to_open(world: World) -> None:
    draft, live, ended = (
        await world.service.sale(**FLASH, publish=False),
        await world.service.sale(**FLASH),
        await world.coming(),
    )
    await sales.end_sale(world.state, ended.id)
    for sale, refusal in ((draft, SaleNotFound), (live, SaleAlreadyOpen), (ended, SaleEnded)):
        with pytest.raises(refusal):
            await remind(world, sale)


@notices(
    *(
        Cut(f"{REMINDERS}.{function}", text, "True")
        for function in ("set_reminder", "withdraw_reminder")
        for text in ("col(Reminder.sale_id) == sale_id", "col(Reminder.member_id) == member_id")
    ),
    Cut(f"{REMINDERS}.set_reminder", "col(Reminder.minutes_before) != minutes_before", "True"),
)
async def a_reminder_is_of_one_member_and_one_sale(world: World) -> None:
    sale, other = await world.coming(), await world.coming()
    keys = [(sale.id, world.me.id), (other.id, world.me.id), (sale.id, world.friend.id)]
    for which, friend in ((sale, False), (other, False), (sale, True)):
        await remind(world, which, 59, friend=friend)
    world.service.clock.advance(120)
    now = world.service.clock()
    for which in (sale, other):
        await reminders.tell_due(world.state, which.id, now)
    await remind(world, sale, 59)
    assert [(await world.row(Reminder, key)).told_at for key in keys] == [now] * 3
    await remind(world, sale, 20)
    assert [(await world.row(Reminder, key)).minutes_before for key in keys] == [20, 59, 59]
    await reminders.withdraw_reminder(world.state, world.me.id, sale.id)
    assert await world.count("reminders WHERE sale_id IN (:one, :two)", one=sale.id, two=other.id) == 2


@notices(
    Cut(f"{REMINDERS}.drop_reminders", "col(Reminder.sale_id) == sale_id", "True"),
    Cut(f"{REMINDERS}.drop_reminders", "col(Reminder.told_at).is_(None)", "True"),
    Cut("app.services.sales._end", "await drop_reminders(work, sale.id)", "None"),
)
async def what_is_over_reminds_nobody(world: World) -> None:
    sale, other = await world.coming(), await world.coming()
    await remind(world, sale, 59)
    world.service.clock.advance(120)
    await reminders.tell_due(world.state, sale.id, world.service.clock())
    await remind(world, sale, friend=True)
    await remind(world, other)
    await sales.end_sale(world.state, sale.id)
    assert await world.count("reminders WHERE sale_id = :id AND told_at IS NOT NULL", id=sale.id) == 1
    assert await world.count("reminders WHERE sale_id = :id AND told_at IS NULL", id=sale.id) == 0
    assert await world.count("reminders WHERE sale_id = :id", id=other.id) == 1


@notices(
    Cut(f"{REMINDERS}._tell_some", "col(Reminder.sale_id) == sale_id", "True"),
    Cut(f"{REMINDERS}._tell_some", "col(Reminder.member_id).in_(member_ids)", "True"),
    Cut(f"{REMINDERS}._tell_some", "sale.state == SaleState.ENDED"),
)
async def who_is_due_is_told_in_batches(world: World) -> None:
    sale, other, ended = await world.coming(), await world.coming(), await world.coming()
    for which, friend in ((sale, False), (sale, True), (other, False)):
        await remind(world, which, 59, friend=friend)
    async with world.meanwhile("INSERT INTO reminders", sales.end_sale(world.state, ended.id)):
        await remind(world, ended, 59)
    world.service.clock.advance(120)
    now = world.service.clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reminders, "BATCH", 1)
        assert [await reminders._tell_some(world.state, sale.id, now) for _ in range(3)] == [1, 1, 0]
    assert not await reminders.tell_due(world.state, ended.id, now)
    assert await reminders.tell_due(world.state, other.id, now)
    assert [await told(world, which) for which in (sale, other, ended)] == [2, 1, 0]
    assert await world.count("reminders WHERE sale_id = :id", id=ended.id) == 0


@notices(Cut(f"{REMINDERS}._tell_some", "col(Reminder.told_at).is_(None)", "True", down=(UNLOCKED,)))
async def two_workers_tell_once(world: World) -> None:
    sale = await world.coming()
    await remind(world, sale, 59)
    world.service.clock.advance(120)
    now = world.service.clock()
    async with world.meanwhile("UPDATE reminders", reminders.tell_due(world.state, sale.id, now)):
        await reminders.tell_due(world.state, sale.id, now)
    assert await told(world, sale) == 1


@notices(Cut(f"{REMINDERS}._tell_some", "col(Reminder.remind_at) <= now", "True"))
async def a_reminder_that_is_put_off_meanwhile_waits(world: World) -> None:
    sale = await world.coming()
    await remind(world, sale, 59)
    world.service.clock.advance(120)
    now = world.service.clock()
    later = reminders.set_reminder(world.state, world.me.id, sale.id, 5)
    async with world.meanwhile("UPDATE reminders", later):
        assert not await reminders.tell_due(world.state, sale.id, now)
    assert await told(world, sale) == 0
    assert await reminders.tell_due(world.state, sale.id, now + timedelta(minutes=54))
