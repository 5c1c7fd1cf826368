from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.chromium import arguments, find_chromium


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    path = find_chromium()
    if path is None:
        pytest.skip("there is no Chromium here: name one in CHROMIUM, or put one on the PATH")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=arguments())
        yield chromium
        await chromium.close()
