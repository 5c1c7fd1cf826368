"""What the run looks like: live in a terminal, now and then a line elsewhere, and the tables at the end."""

import asyncio
import io
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.demo.books import Books
from app.demo.client import Json
from app.demo.plan import Story

LINE_EVERY_SECONDS = 5.0
PICTURE_EVERY_SECONDS = 0.25
BAR_WIDTH = 36
PANEL_WIDTH = 84
PIPED_WIDTH = 100
SIGNS = {"CNY": "¥"}


def make_console() -> Console:
    """A console that sends control codes to terminals only, whatever the environment says."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    terminal = sys.stdout.isatty()
    return Console(force_terminal=terminal, width=None if terminal else PIPED_WIDTH, highlight=False, markup=False)


class Display:
    """Shows the books while the run goes on."""

    def __init__(self, console: Console, books: Books, title: str, currency: str) -> None:
        self.console = console
        self.books = books
        self.title = title
        self.currency = currency
        self.doing = "logging in"
        self._started = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show the run for the time of the context."""
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            # Refreshed from the event loop: a thread of its own would read the books while they are written.
            with Live(console=self.console, get_renderable=self._picture, auto_refresh=False) as live:
                async with _repeated(live.refresh, PICTURE_EVERY_SECONDS):
                    yield
        else:
            async with _repeated(self._print_line, LINE_EVERY_SECONDS):
                yield

    def _print_line(self) -> None:
        counts = " · ".join(f"{name} {value}" for name, value in self._counts())
        self.console.print(f"[{self.seconds:3.0f} s] {self.doing}: {counts}", soft_wrap=True)

    def _picture(self) -> RenderableType:
        books = self.books
        grid = Table.grid(padding=(0, 2))
        for name, done, wanted in (
            ("members logged in", books.members, books.members_wanted),
            ("groups opened", len(books.groups), books.groups_wanted),
            ("groups ended", sum(group.final for group in books.groups), books.groups_wanted),
            ("orders settled", sum(order.settled for order in books.orders), len(books.orders)),
        ):
            bar = ProgressBar(total=max(wanted, 1), completed=done, width=BAR_WIDTH)
            grid.add_row(name, bar, f"{done}/{wanted}")
        counts = Table.grid(padding=(0, 3))
        for name, value in self._counts()[1:]:
            counts.add_row(name, value)
        latest = Text("\n".join(books.latest), style="dim", no_wrap=True, overflow="ellipsis")
        parts = Group(grid, Text(), counts, Text(), latest)
        return Panel(
            parts,
            title=Text(self.title),
            subtitle=f"{self.seconds:.0f} s · {self.doing}",
            width=min(PANEL_WIDTH, self.console.width),
        )

    def _counts(self) -> list[tuple[str, str]]:
        books, states = self.books, self.books.group_states()
        filled = sum(group.filled for group in books.groups)
        return [
            ("members", f"{books.members}/{books.members_wanted}"),
            ("groups opened", f"{len(books.groups)}, filled {filled}"),
            ("succeeded", f"{states['succeeded']}, failed {states['failed']}"),
            ("seats paid", str(books.seats_paid)),
            ("captured", format_money(books.captured, self.currency)),
            ("refunded", format_money(books.refunded, self.currency)),
        ]


@asynccontextmanager
async def _repeated(show: Callable[[], None], every_seconds: float) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            show()
            await asyncio.sleep(every_seconds)

    repeating = asyncio.create_task(repeat())
    try:
        yield
    finally:
        repeating.cancel()
        show()


def print_result(display: Display, invariants: Json | None, watchers: int, put_off: int) -> int:
    """The tables, every broken promise, and their number as the last line. Returns that number."""
    books, console = display.books, display.console
    console.print(_stories(books))
    console.print(_totals(display, invariants, watchers, put_off))
    found = [] if invariants is None else invariants["violations"]
    broken = [f"{item['invariant']} {item['rule']}: {item['subject']} {item['detail']}" for item in found]
    for number, breach in enumerate([*books.broken, *broken], start=1):
        console.print(f"{number}. {breach}", style="red", soft_wrap=True)
    violations = len(books.broken) + len(broken)
    console.print(f"violations: {violations}")
    return violations


def format_money(amount: int, currency: str) -> str:
    """Minor units as people read them: 390000 CNY is ¥3,900.00."""
    return f"{SIGNS.get(currency, currency + ' ')}{amount / 100:,.2f}"


def _stories(books: Books) -> Table:
    table = Table(title="Stories 情景", title_justify="left")
    for name in ("what the members did", "groups", "succeeded", "failed"):
        table.add_column(name, justify="left" if name.startswith("what") else "right")
    ended = Counter((group.cast.story, group.state) for group in books.groups)
    for story in Story:
        succeeded, failed = ended[story, "succeeded"], ended[story, "failed"]
        total = sum(group.cast.story is story for group in books.groups)
        if total:
            table.add_row(story, str(total), str(succeeded), str(failed))
    return table


def _totals(display: Display, invariants: Json | None, watchers: int, put_off: int) -> Table:
    books, groups, orders = display.books, display.books.group_states(), display.books.order_states()
    money = [format_money(amount, display.currency) for amount in (books.captured, books.refunded, books.kept)]
    table = Table(title="Result 结果", title_justify="left", show_header=False)
    table.add_row("groups opened 开团", str(len(books.groups)))
    table.add_row("groups succeeded 成团", str(groups["succeeded"]))
    table.add_row("groups failed 未成团", str(groups["failed"]), end_section=True)
    for state, count in sorted(orders.items()):
        table.add_row(f"orders {state}", str(count))
    table.add_section()
    for name, amount in zip(("captured 实收", "refunded 退款", "kept 留存"), money, strict=True):
        table.add_row(f"money {name}", amount)
    table.add_section()
    table.add_row("refusals as expected", str(books.refusals))
    table.add_row("live changes seen", f"{books.changes_seen}, watchers {watchers}")
    table.add_row("answers put off and asked for again", str(put_off))
    if books.too_slow:
        table.add_row("groups this machine was too slow for", str(books.too_slow))
    if books.without_turn:
        table.add_row("members left without a turn, for lack of time", str(books.without_turn))
    table.add_row("invariants 对账", _tell_invariants(invariants))
    table.add_row("duration", f"{display.seconds:.0f} s")
    return table


def _tell_invariants(invariants: Json | None) -> str:
    if invariants is None:
        return "no answer"
    if invariants["ok"]:
        return f"ok, {len(invariants['checked'])} checked"
    return f"{len(invariants['violations'])} violations"
