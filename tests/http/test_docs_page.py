"""The pages we serve load nothing from anywhere else."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from tests.http.world import World
from tests.service import Service

LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "form": "action", "a": "href"}


class Addresses(HTMLParser):
    """Collects what a page loads or leads to, by tag, and its inline scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.inline: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, value or "") for name, value in attrs if name == LOADING.get(tag)]
        self._inside = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag not in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline.append(data)


async def check_page(service: Service, path: str, **headers: str) -> Addresses:
    """Assert that everything a page names is ours and answers."""
    reply = await service.http.get(path, headers=headers)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    page = Addresses(reply.text)
    page.found = [(tag, urljoin(path, address)) for tag, address in page.found]
    assert "//" not in "".join(page.inline)
    for tag, address in page.found:
        if (tag, address) == ("link", f"{service.url}{path}"):
            continue  # what it is called itself
        assert address.startswith("/"), (tag, address)
        assert not address.startswith("//"), (tag, address)
        if tag not in {"form", "a"} and not address.endswith("/picture"):
            assert (await service.http.get(address)).status_code == 200, address
    return page


async def test_documentation_is_local(service: Service) -> None:
    page = await check_page(service, "/docs")
    loaded = dict(page.found)
    assert {tag for tag, _ in page.found} >= {"script", "link"}
    assert any("/openapi.json" in script for script in page.inline)
    assert (await service.http.get(loaded["script"])).headers["content-type"].startswith("text/javascript")
    styles = [address for tag, address in page.found if tag == "link" and address.endswith(".css")]
    assert styles
    for address in styles:
        reply = await service.http.get(address)
        assert reply.headers["content-type"].startswith("text/css")
        assert not re.findall(r"""@import|url\(\s*["']?(?!data:)[a-z]*:?//""", reply.text)


@pytest.mark.parametrize("tongue", ["en", "zh-CN"])
async def test_cashier_is_local(service: Service, world: World, tongue: str) -> None:
    path = f"/sandbox/pay/{world.ids['token']}"
    page = await check_page(service, path)
    assert ("form", f"{path}/form") in page.found
    reply = await service.http.get(path, headers={"accept-language": tongue})
    assert f'lang="{tongue}"' in reply.text
    assert "<script" not in reply.text
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("tongue", ["en", "zh-CN"])
async def test_landing_page_is_local(service: Service, world: World, tongue: str) -> None:
    targets = [{name: world.ids[name]} for name in ("group_id", "sale_id", "community_id")]
    for target in targets:
        code = (await world.member.post("/v1/invites", target)).json()["code"]
        headers = {"accept": "text/html", "accept-language": tongue}
        page = await check_page(service, f"/i/{code}", **headers)
        assert {"script", "link"} <= {tag for tag, _ in page.found}
        assert page.inline == []
        reply = await service.http.get(f"/i/{code}", headers=headers)
        assert f'lang="{tongue}"' in reply.text


async def test_cashier_escapes_what_it_shows(service: Service) -> None:
    sale = await service.sale(title="<script>alert(1)</script>&\"'")
    member = await service.member()
    order_id = (await member.open(sale)).json()["order"]["id"]
    page = (await service.http.get(await member.start_payment(order_id))).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
async def test_pages_we_do_not_serve(service: Service, path: str) -> None:
    assert (await service.http.get(path)).status_code == 404
