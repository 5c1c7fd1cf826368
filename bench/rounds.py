"""Claims, refusals and reads, each beside the same on an empty application.

The runs of a round follow one another, so that a ratio compares neighbours in time.
"""

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from statistics import median

from bench.claimants import always, claim_body, plain_get, plain_post
from bench.load import Run, saturate
from bench.shop import Shop, opened_naive_shop, opened_shop
from bench.stage import Stage

RUNS = {
    "claim": ("empty", "claim", "open", "empty, fewer", "claim, fewer"),
    "naive": ("claim", "naive"),
    "refusal": ("empty", "refusal"),
    "read": ("empty get", "read", "read, unchanged"),
    "latency": ("claim",),
}
"""Which runs a measurement is made of."""
ARRIVING = 0.7
"""Which part of the claims a second that saturate the server arrive when latency is measured."""
Results = dict[str, list[Run]]


async def measure(stage: Stage, wanted: Collection[str]) -> None:
    """Make the runs of the measurements that are wanted, round by round, and report what they came to."""
    options, report = stage.options, stage.report
    many, fewer = options.connections, options.fewer_connections
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(opened_shop(stage))
        post_empty, get_empty = _empty_runs(shop, stack)
        runs: dict[str, Callable[[], Awaitable[Run]]] = {
            "empty": lambda: post_empty(many),
            "claim": lambda: shop.fill(many),
            "open": lambda: shop.open(many),
            "empty, fewer": lambda: post_empty(fewer),
            "claim, fewer": lambda: shop.fill(fewer),
            "refusal": lambda: shop.refuse(many),
            "empty get": lambda: get_empty(many),
            "read": lambda: shop.read(many),
        }
        if shop.etags:
            runs["read, unchanged"] = lambda: shop.read_unchanged(many)
        if "naive" in wanted:
            naive_shop = await stack.enter_async_context(opened_naive_shop(shop))
            runs["naive"] = lambda: naive_shop.buy(many)
        needed = {name for measurement in RUNS if measurement in wanted for name in RUNS[measurement]}
        results: Results = {name: [] for name in runs if name in needed}
        for number in range(options.rounds):
            report.say(f"Round {number + 1} of {options.rounds}, {many} connections, fewer: {fewer}")
            for name, done in results.items():
                done.append(await runs[name]())
                report.say_run(name, done[-1])
        _report(stage, results)
        if "latency" in wanted:
            await _measure_latency(shop, results)


def _empty_runs(
    shop: Shop, stack: AsyncExitStack
) -> tuple[Callable[[int], Awaitable[Run]], Callable[[int], Awaitable[Run]]]:
    """The yardstick: the body of a claim posted to an empty application, and a group read from it.

    It is sent neither a token nor an Idempotency-Key: it would only have to skip them.
    """
    stage = shop.stage
    empty = stack.enter_context(stage.yardstick("empty"))

    async def run(request: bytes, connections: int, expected: int) -> Run:
        return await saturate(
            empty.port,
            [always(request)] * connections,
            expected=expected,
            seconds=stage.options.seconds,
            warm_up=stage.options.warm_up,
            meters=stage.meters(empty),
        )

    post = plain_post(f"/v1/sales/{shop.sold_out.id}/groups", claim_body(shop.sold_out))
    get = plain_get(f"/v1/groups/{shop.groups[0]}")
    return lambda connections: run(post, connections, 201), lambda connections: run(get, connections, 200)


def _report(stage: Stage, results: Results) -> None:
    options = stage.options
    for name, of, to, goal, note in (
        (
            "claim_vs_empty",
            "claim",
            "empty",
            "≥ 1.0",
            f"durable claims/s ÷ requests/s, {options.connections} connections",
        ),
        ("open_vs_empty", "open", "empty", "", "the same, groups opened only"),
        (
            "claim_vs_empty_fewer",
            "claim, fewer",
            "empty, fewer",
            "",
            f"as claim_vs_empty, {options.fewer_connections} connections",
        ),
        ("claim_vs_naive", "claim", "naive", "≥ 20", "÷ the usual SELECT … FOR UPDATE endpoint"),
        ("refusal_vs_empty", "refusal", "empty", "≥ 2.5", "sold-out refusals/s, members authenticated"),
        ("read_vs_empty", "read", "empty get", "≥ 1.5", "GET of a group ÷ GET of the empty application"),
        ("unchanged_vs_empty", "read, unchanged", "empty get", "", "the same, answered 304"),
    ):
        if of in results and to in results:
            ratios = [ours.rate / theirs.rate for ours, theirs in zip(results[of], results[to], strict=True)]
            stage.report.add(name, ratios, goal=goal, note=note)
    for name, runs in results.items():
        key = name.replace(", ", "_").replace(" ", "_")
        stage.report.add(f"{key}_per_second", [run.rate for run in runs], "/s")
        stage.report.add(f"{key}_cpu_us", [run.cpu_us("server") for run in runs], "µs", note="CPU of the server")
        if name in {"claim", "naive", "refusal"}:
            for whose, shares in (
                ("server", [run.server_busy for run in runs]),
                ("others", [run.others_busy for run in runs]),
            ):
                stage.report.add(f"{key}_{whose}_busy", shares, note="part of a core; near 1 it is the limit")
            for neighbour in ("postgresql", "valkey", "client"):
                stage.report.add(
                    f"{key}_{neighbour}_cpu_us",
                    [run.cpu_us(neighbour) for run in runs],
                    "µs",
                    note=f"CPU of {neighbour}, on the other core",
                )


async def _measure_latency(shop: Shop, results: Results) -> None:
    options, report = shop.stage.options, shop.stage.report
    rate = ARRIVING * median(run.rate for run in results["claim"])
    report.say(f"Latency at {rate:,.0f} claims/s")
    found = []
    for _ in range(options.rounds):
        found.append(await shop.arrive(rate))
        report.say(
            f"  p50 {found[-1].p50_ms:.1f} ms, p99 {found[-1].p99_ms:.1f} ms, most {found[-1].max_ms:.0f} ms"
        )
    report.add("p50_ms", [one.p50_ms for one in found], "ms", note=f"at {rate:,.0f} claims/s, 70 % of saturation")
    report.add("p99_ms", [one.p99_ms for one in found], "ms", goal="≤ 4 × p50", note="the same")
    report.add("p99_vs_p50", [one.p99_ms / one.p50_ms for one in found], goal="≤ 4")
