"""The whole run: choose a sale, log in, play every story at once, wait for the last deadline, check, tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

import httpx

from app.demo.books import Books, keep_books, wait_settled
from app.demo.client import Member, Refused, Service, log_in, open_service
from app.demo.display import Display, make_console, print_result
from app.demo.opening import CannotPlay, choose_sale
from app.demo.plan import Cast, cast_members, name_member
from app.demo.promises import check_promises
from app.demo.stage import Stage
from app.demo.stories import tell

CANNOT_PLAY = 2
USUAL_MEMBERS = 200
LIMIT_SECONDS = 105.0
"""How long a run of the usual number of members may take; longer with more of them."""
ARRIVAL_SECONDS = 15.0
"""Groups are opened spread over this time, as they would be."""
LAST_CALL_SECONDS = 50.0
"""On a slow machine, no group is opened later than this: the rest of the time belongs to deadlines and refunds."""
GROUPS_AT_ONCE = 8
"""Groups that are being filled at the same moment; those that wait for a deadline do not count."""
SETTLE_SECONDS = 60.0
"""After the last deadline, how long refunds may take."""
WATCHERS_AT_ONCE = 100
WATCHERS_LAG_SECONDS = 5.0


async def play(url: str, key: str, members: int) -> int:
    """Have members buy together at the service, and check its promises. Returns the exit code: 0 when all
    held, 1 when one was broken, 2 when the run could not begin.
    """
    console = make_console()
    try:
        async with open_service(url) as service, open_service(url, WATCHERS_AT_ONCE) as watched:
            sale = await choose_sale(service, key, members)
            books = Books(members)
            title = f"{sale['title']} · {sale['group_size']} seats, {sale['group_ttl_seconds']} s"
            display = Display(console, books, title, sale["currency"])
            offer = max(sale["offers"], key=lambda offer: offer["left"])
            stage = Stage(service, watched, books, sale["id"], offer["id"], sale["order_limit"])
            async with display.shown(), _kept_books(books, service):
                await _run(stage, display, members, sale["group_size"])
            invariants = await check_promises(books, stage.watches, service, key)
            broken = print_result(display, invariants, len(stage.watches), service.put_off)
    except (CannotPlay, httpx.InvalidURL) as reason:
        console.print(str(reason), soft_wrap=True)
        return CANNOT_PLAY
    return 1 if broken else 0


async def _run(stage: Stage, display: Display, member_count: int, group_size: int) -> None:
    """Everything between the first login and the last refund, within a time that has a limit."""
    scale = max(1.0, member_count / USUAL_MEMBERS)
    limit, last_call = LIMIT_SECONDS * scale, LAST_CALL_SECONDS * scale
    try:
        async with asyncio.timeout(limit):
            members = await _log_in(stage, member_count)
            casts = cast_members(members, group_size)
            stage.books.groups_wanted = len(casts)
            display.doing = "buying together"
            await _tell_all(stage, casts, last_call - display.seconds)
            display.doing = "waiting for deadlines and refunds"
            last = max((group.deadline for group in stage.books.groups), default=0.0)
            await wait_settled(stage.books, stage.service, last + SETTLE_SECONDS)
            display.doing = "done"
            await _end_watches(stage)
    except TimeoutError:
        stage.books.breach(f"the run was not over after {limit:.0f} s")


async def _log_in(stage: Stage, count: int) -> list[Member]:
    """Log in as many members, with codes nobody had before."""
    run = token_hex(4)

    async def enter(index: int) -> Member | None:
        try:
            member = await log_in(stage.service, f"demo-{run}-{index}", name_member(index))
        except (Refused, httpx.TransportError) as error:
            stage.books.breach(f"a member could not log in: {error!r}")
            return None
        stage.books.members += 1
        return member

    entered = await asyncio.gather(*map(enter, range(count)))
    return [member for member in entered if member is not None]


async def _tell_all(stage: Stage, casts: list[Cast], seconds: float) -> None:
    """Tell every story that can begin within so many seconds, a few at once, begun one after the other."""
    gate, clock = asyncio.Semaphore(GROUPS_AT_ONCE), asyncio.get_running_loop().time
    last_call = clock() + seconds

    async def tell_in_turn(cast: Cast) -> None:
        await asyncio.sleep(ARRIVAL_SECONDS * cast.number / len(casts))
        async with gate:
            if clock() < last_call:
                await tell(stage, cast)
            else:
                stage.books.groups_wanted -= 1
                stage.books.without_turn += len(cast.members)

    await asyncio.gather(*map(tell_in_turn, casts))


async def _end_watches(stage: Stage) -> None:
    """Give the watchers a moment to see the end, then send them home."""
    if stage.watching:
        _, still_watching = await asyncio.wait(stage.watching, timeout=WATCHERS_LAG_SECONDS)
        for watching in still_watching:
            watching.cancel()


@asynccontextmanager
async def _kept_books(books: Books, service: Service) -> AsyncIterator[None]:
    keeping = asyncio.create_task(keep_books(books, service))
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
