"""A friend is sent a link and buys: in a real browser of phone size, with and without JavaScript."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.promises.test_rescues import fill, rescue_sale
from tests.service import Member, Sale, Service

PATIENCE_MS = 60_000
PHONE = {"width": 390, "height": 844}


@dataclass(slots=True)
class Story:
    """A group of four with its leader, and the leader's link to it."""

    service: Service
    sale: Sale
    leader: Member
    group_id: str
    link: str

    async def join(self, name: str, *, pays: bool) -> None:
        """Somebody joins by the API, meanwhile."""
        member = await self.service.member(name)
        order = (await member.join(self.sale, self.group_id)).json()["order"]
        if pays:
            await member.pay(order["id"])


@pytest.fixture
async def story(service: Service) -> Story:
    sale = await service.sale(group_size=4, title="明前龙井 Spring tea", min_size=2, ladder=[(4, 3900)])
    leader = await service.member("林小满")
    opened = (await leader.open(sale)).json()
    await leader.pay(opened["order"]["id"])
    group_id = opened["group"]["id"]
    invite = (await leader.post("/v1/invites", {"group_id": group_id})).json()
    return Story(service, sale, leader, group_id, invite["url"])


@asynccontextmanager
async def phone(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A page in a browser that nobody has used."""
    context = await browser.new_context(**{"viewport": PHONE, "locale": "en-US"} | options)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def log_in(page: Page, name: str) -> None:
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Log in to join").click()


async def pay(page: Page, service: Service) -> None:
    """Pay at the cashier, and go back."""
    await page.get_by_role("button", name="Pay").click()
    await expect(page.get_by_text("Paid. You can go back now")).to_be_visible(timeout=PATIENCE_MS)
    await page.get_by_role("link", name="Back to your group").click()
    await service.work()


def seat(page: Page, number: int, state: str) -> Any:
    return page.locator(f".seats li[data-number='{number}'].{state}")


async def see(locator: Any) -> None:
    await expect(locator).to_be_visible(timeout=PATIENCE_MS)


async def test_a_friend_sees_the_group_fill_joins_and_pays(browser: Browser, story: Story) -> None:
    async with phone(browser) as page:
        await page.goto(story.link)
        await see(page.get_by_role("heading", name="明前龙井 Spring tea"))
        await see(page.get_by_text("林*满 invites you to buy together"))
        await see(seat(page, 1, "paid"))
        await see(seat(page, 2, "free"))
        await see(page.get_by_text("CN¥49.00"))
        await page.evaluate("window.unchanged = true")
        await page.wait_for_selector(".seats")

        await story.join("陈默", pays=False)
        await see(seat(page, 2, "held"))
        await story.join("王一诺", pays=True)
        await see(seat(page, 3, "paid"))
        await expect(page.locator("[data-field=left]")).to_have_text("1", timeout=PATIENCE_MS)
        assert await page.evaluate("window.unchanged"), "it filled without being loaded again"

        await log_in(page, "Han Mei")
        await page.get_by_role("button", name="Join here").click()
        await pay(page, story.service)
        await see(page.get_by_text("You are in: seat 4, paid"))
        await see(seat(page, 4, "you"))

        await story.service.work()
        await page.evaluate("window.unchanged = true")
        held = await story.service.group(story.group_id)
        assert (held["state"], held["paid"], held["left"]) == ("filled", 3, 0)
        story.service.clock.advance(601)
        await story.service.work()  # who held seat 2 has not paid
        await see(seat(page, 2, "free"))
        await story.join("赵子龙", pays=True)
        await see(page.get_by_text("You are in: seat 4, and it is on"))
        assert await page.evaluate("window.unchanged")
    assert (await story.service.group(story.group_id))["state"] == "succeeded"
    assert await story.service.violations() == []


async def test_all_of_it_works_without_javascript(browser: Browser, story: Story) -> None:
    async with phone(browser, java_script_enabled=False) as page:
        await page.goto(story.link)
        await see(seat(page, 1, "paid"))
        await expect(page.get_by_role("button", name="Copy the link")).to_be_hidden(timeout=PATIENCE_MS)
        await log_in(page, "Li Lei")
        await page.get_by_label("How many").fill("2")
        await page.get_by_role("button", name="Join here").click()
        await see(page.get_by_text("CN¥98.00"))
        await page.go_back()
        await see(page.get_by_text("Seat 2 is kept for you"))
        await page.get_by_role("button", name="Pay CN¥98.00").click()
        await pay(page, story.service)
        await see(page.get_by_text("You are in: seat 2, paid"))
        assert (await story.service.group(story.group_id))["paid"] == 2

        await page.get_by_role("button", name="Log out").click()
        await see(page.get_by_role("button", name="Log in to join"))
    assert await story.service.violations() == []


async def test_who_watches_a_group_that_goes_on_elsewhere_is_led_there(browser: Browser, service: Service) -> None:
    sale = await rescue_sale(service)
    first, early = await fill(service, sale, {"on_unfilled": "merge"}, {"on_unfilled": "merge"})
    service.clock.advance(60)
    second, _ = await fill(service, sale, {})
    invite = (await early[0][0].post("/v1/invites", {"group_id": first})).json()
    async with phone(browser) as page:
        await page.goto(invite["url"])
        await see(seat(page, 2, "paid"))
        service.clock.advance(3541)
        await service.work()
        await page.get_by_role("link", name="See that group").click()
        await page.wait_for_url(f"**/groups/{second}")
        await see(page.get_by_text("It is on: the group succeeded"))


async def test_nothing_is_asked_of_anybody_else_and_nothing_is_wrong(browser: Browser, story: Story) -> None:
    asked: list[str] = []
    wrong: list[str] = []
    async with phone(browser, viewport={"width": 320, "height": 640}, locale="zh-CN") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda said: (
                wrong.append(said.text)
                if said.type in {"error", "warning"} and not said.location["url"].endswith("/picture")
                else None
            ),
        )
        await page.goto(story.link)
        await story.join("陈默", pays=True)
        await see(seat(page, 2, "paid"))
        width = "document.documentElement.scrollWidth"
        assert await page.evaluate(width) <= 320, "it fits"
        await page.get_by_label("你的名字").fill("韩梅梅")
        await page.get_by_role("button", name="登录后参团").click()
        await page.get_by_role("button", name="立即参团").click()
        await page.get_by_role("button", name="确认支付").click()
        await page.get_by_role("link", name="返回我的团").click()
        await see(page.get_by_text("你已参团：3 号位，已付款"))
        assert await page.evaluate(width) <= 320
    assert asked
    assert [url for url in asked if not url.startswith(f"{story.service.url}/")] == []
    assert wrong == []
