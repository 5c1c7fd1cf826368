"""Two simulated communities: the score tells them apart, and the page that shows it can be made again."""

import json
from xml.etree import ElementTree as ET

from docs.health import DAYS, DOCS, MEMBERS, SEED, document, play, plots
from docs.plots import Plot, draw


async def test_who_only_advertises_is_told_apart_from_who_is_in_balance() -> None:
    advertising, balanced = [told.weeks[30] for told in await play(SEED + 1, 30, 40)]
    assert advertising.score is not None
    assert balanced.score is not None
    assert balanced.score >= advertising.score + 15
    assert balanced.shares is not None
    assert advertising.shares is not None
    assert balanced.shares.members > advertising.shares.members
    assert sum(balanced.balance.given.values()) > 5 * sum(advertising.balance.given.values())
    assert advertising.leave_reasons["too_many_pushes"] > 0
    assert {one.part for one in advertising.advice[:2]} & {"staying", "balance", "answers"}


async def test_the_same_seed_gives_the_same_page() -> None:
    first, again, other = [await play(seed, 3, 8) for seed in (1, 1, 2)]
    pages = [document(found, 1, 3, 8) + draw(plots(found), "one") for found in (first, again, other)]
    assert pages[0] == pages[1] != pages[2]


def test_the_page_says_how_it_was_made() -> None:
    page = (DOCS / "community-health.md").read_text()
    assert f"`python -m docs.health --seed {SEED} --days {DAYS} --members {MEMBERS}`" in " ".join(page.split())
    assert "`make health`" in page
    assert "community-health.svg" in page
    assert all(word in page for word in ("advertising", "in balance", "dying", "alive", "推送"))


def test_a_plot_is_drawn_within_its_bounds() -> None:
    picture = draw([Plot("a & b", "1 < 2", {"x": [None, 0, 50], "y": [10, 1000, 3]}, top=100)], "title")
    root = ET.fromstring(picture)  # noqa: S314 - our own
    lines = [line.attrib["points"] for line in root.iter("{http://www.w3.org/2000/svg}polyline")]
    points = [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]
    assert [len(line) for line in points] == [2, 3]
    assert json.loads(f"[{root.attrib['viewBox'].replace(' ', ',')}]") == [0, 0, 940, 296]
    assert all(46 <= x <= 378 and 44 <= y <= 216 for line in points for x, y in line)
    assert draw([Plot("none", "", {"x": [None]})], "empty").count("polyline") == 0
