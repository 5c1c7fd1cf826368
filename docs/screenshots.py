"""Plays the way of a friend who was sent a link, in a browser of phone size, and keeps pictures of it.

`make screenshots` runs it. It starts the service with sample data, and needs Chromium: on the PATH, or named in
CHROMIUM.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, Page, async_playwright

from app.domain.keys import SAMPLE_KEY
from tests.browser.chromium import arguments, find_chromium

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "screenshots"
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
NAMES = ["林小满", "陈默", "王一诺", "赵子龙", "周周"]
START_SECONDS = 60


class Crowd:
    """Members who use the API beside the browser."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.keys = 0

    async def call(self, path: str, body: Any, token: str | None = None) -> dict[str, Any]:
        self.keys += 1
        headers = {"idempotency-key": f"shot-{self.keys}"} | ({"authorization": f"Bearer {token}"} if token else {})
        reply = await self.http.post(path, json=body, headers=headers)
        reply.raise_for_status()
        return dict(reply.json())

    async def log_in(self, name: str) -> str:
        body = {"provider": "dev", "code": name, "name": name}
        return str((await self.call("/v1/sessions", body))["access_token"])

    async def pay(self, token: str, order_id: str) -> None:
        payment = await self.call(f"/v1/orders/{order_id}/payments", {"provider": "sandbox"}, token)
        (await self.http.post(payment["pay_url"])).raise_for_status()


async def play(browser: Browser, crowd: Crowd, tongue: str) -> None:
    """One friend's way, in one language."""
    page = await open_page(browser, tongue)
    sale = await new_sale(crowd.http, tongue)
    offer = sale["offers"][0]["id"]
    leader = await crowd.log_in(NAMES[0])
    opened = await crowd.call(f"/v1/sales/{sale['id']}/groups", {"offer_id": offer}, leader)
    await crowd.pay(leader, opened["order"]["id"])
    group_id = opened["group"]["id"]
    link = (await crowd.call("/v1/invites", {"group_id": group_id, "channel": "chat"}, leader))["url"]

    await page.goto(link)
    await keep(page, f"{tongue}-1-landing")
    for name in NAMES[1:3]:
        token = await crowd.log_in(f"{name}{tongue[0]}")
        joined = await crowd.call(f"/v1/groups/{group_id}/seats", {"offer_id": offer}, token)
        if name == NAMES[1]:
            await crowd.pay(token, joined["order"]["id"])
    await page.wait_for_selector(".seats li[data-number='3'].held")
    await page.wait_for_selector(".seats li[data-number='2'].paid")
    await keep(page, f"{tongue}-2-filling")

    await page.fill("input[name=name]", "李雷" if tongue == "zh-CN" else "Han Mei")
    await page.click(".login button")
    await page.wait_for_selector(".claim button")
    await keep(page, f"{tongue}-3-join")
    await page.click(".claim button")
    await keep(page, f"{tongue}-4-cashier")
    await page.click("form button")
    await page.click(".back")
    await page.wait_for_selector(".success:visible")
    await keep(page, f"{tongue}-5-success")

    dark = await open_page(browser, tongue, scheme="dark")
    await dark.goto(link)
    await keep(dark, f"{tongue}-6-dark")
    wide = await open_page(browser, tongue, size=DESKTOP)
    await wide.goto(link)
    await keep(wide, f"{tongue}-7-desktop")
    narrow = await open_page(browser, tongue, size={"width": 320, "height": 640})
    for name, body in (("sale", {"sale_id": sale["id"]}), ("community", {"community_id": sale["community_id"]})):
        page = narrow if name == "sale" else await open_page(browser, tongue)
        await page.goto((await crowd.call("/v1/invites", body, leader))["url"])
        await keep(page, f"{tongue}-8-{name}")
    await page.goto(f"{crowd.http.base_url}/i/NothingHere")
    await keep(page, f"{tongue}-9-unknown")


async def open_page(browser: Browser, tongue: str, *, size: Any = None, scheme: Any = "light") -> Page:
    """A page of a browser that nobody has used."""
    context = await browser.new_context(
        viewport=size or PHONE, device_scale_factor=2, locale=tongue, color_scheme=scheme
    )
    return await context.new_page()


async def keep(page: Page, name: str) -> None:
    """Take a picture, as high as the page is."""
    await page.wait_for_load_state("networkidle" if await page.locator("[data-group]").count() == 0 else "load")
    await page.wait_for_timeout(700)  # what moves has arrived
    await page.screenshot(path=FOLDER / f"{name}.png", full_page=True)
    print(f"screenshots/{name}.png")


async def new_sale(http: httpx.AsyncClient, tongue: str) -> dict[str, Any]:
    """A sale with a price ladder, of the sample data's tea."""
    ops = {"x-api-key": SAMPLE_KEY}
    known = (await http.get("/v1/sales")).json()["items"][-1]
    tea = (await http.get("/v1/ops/products", headers=ops)).json()["items"][0]
    chinese = tongue == "zh-CN"
    body = {
        "community_id": known["community_id"],
        "title": "明前龙井 · 越拼越便宜" if chinese else "Spring Longjing: the more, the cheaper",
        "description": "西湖产区，清明前头采，真空 50 克装。"
        if chinese
        else "First flush, picked before Qingming.",
        "opens_at": known["opens_at"],
        "closes_at": known["closes_at"],
        "group_size": 5,
        "min_size": 3,
        "group_ttl_seconds": 86_400,
        "hold_ttl_seconds": 900,
        "order_limit": 3,
        "member_limit": 3,
        "offers": [
            {
                "sku_id": tea["skus"][0]["id"],
                "price": 4900,
                "list_price": 6900,
                "stock": 500,
                "ladder": [{"heads": 4, "price": 4500}, {"heads": 5, "price": 3900}],
            },
            {"sku_id": tea["skus"][1]["id"], "price": 8900, "list_price": 12_900, "stock": 200},
        ],
    }
    reply = await http.post("/v1/ops/sales", json=body, headers=ops)
    reply.raise_for_status()
    sale = dict(reply.json())
    (await http.post(f"/v1/ops/sales/{sale['id']}/publish", headers=ops)).raise_for_status()
    return sale


async def main(chromium: str) -> None:
    """Start the service and a browser, and play in both languages."""
    FOLDER.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "app", "run", "--port", str(port), "--data", data]
        service = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603, ASYNC220
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                await wait_for(http, service)
                async with async_playwright() as playwright:
                    browser = await playwright.chromium.launch(executable_path=chromium, args=arguments())
                    for tongue in ("zh-CN", "en"):
                        await play(browser, Crowd(http), tongue)
        finally:
            service.terminate()
            service.wait()


async def wait_for(http: httpx.AsyncClient, service: "subprocess.Popen[bytes]") -> None:
    """Until the service is ready."""
    for _ in range(START_SECONDS * 10):
        try:
            if (await http.get("/readyz")).is_success:
                return
        except httpx.TransportError:
            if service.poll() is not None:
                break
        await asyncio.sleep(0.1)
    sys.exit("The service does not start.")


if __name__ == "__main__":
    found = find_chromium()
    if found is None:
        sys.exit("There is no Chromium here. Install one, or name yours: CHROMIUM=/path/to/chromium")
    asyncio.run(main(found))
