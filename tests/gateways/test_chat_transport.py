"""The way to the chat platforms: to their own hosts only, and nothing of an address in any log."""

import logging

import httpx
import pytest

from app.gateways.chat.platform import ChatRefused
from app.gateways.chat.transport import ChatHttp

HOST = "qyapi.weixin.qq.com"
SECRET = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
ADDRESS = f"https://{HOST}/bot{SECRET}/send?key={SECRET}"


class Spy(httpx.AsyncBaseTransport):
    """Answers everything, or redirects it, and remembers what it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[httpx.Request] = []
        self.status = status
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, headers={"location": "https://example.com/"}, request=request)

    async def aclose(self) -> None:
        self.is_closed = True


async def test_a_platform_is_reached_at_its_hosts() -> None:
    spy = Spy()
    reply = await ChatHttp(transport=spy).to({HOST}).post(ADDRESS, json={"a": 1})
    assert reply.status_code == 200
    assert [str(request.url) for request in spy.asked] == [ADDRESS]


@pytest.mark.parametrize(
    "address",
    [
        f"http://{HOST}/",
        "https://api.telegram.org/",
        f"https://{HOST}.example.com/",
        f"https://example.com/{HOST}",
        f"https://example.com#{HOST}",
        f"https://{HOST}@example.com/",
        f"https://user:word@{HOST}/",
        f"https://{HOST}:8443/",
        f"https://{HOST}./",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
@pytest.mark.parametrize("stand_in_url", ["", "http://127.0.0.1:9"])
async def test_nothing_else_is_reached(address: str, stand_in_url: str) -> None:
    spy = Spy()
    with pytest.raises(ChatRefused):
        await ChatHttp(stand_in_url, spy).to({HOST}).post(address)
    assert spy.asked == []


async def test_nobody_is_followed_elsewhere() -> None:
    spy = Spy(302)
    reply = await ChatHttp(transport=spy).to({HOST}).post(ADDRESS)
    assert (reply.status_code, len(spy.asked)) == (302, 1)


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    spy = Spy()
    assert (await ChatHttp(transport=spy).to({HOST}).get(ADDRESS)).status_code == 200


async def test_a_stand_in_gets_the_same_request_below_the_name_of_the_host() -> None:
    spy = Spy()
    http = ChatHttp("http://127.0.0.1:8100/platforms/", spy)
    await http.to({HOST}).post(f"https://{HOST}/a%2Fb?key=%E5%9B%A2&x=1", content=b"\xff", headers={"x-a": "b"})
    (asked,) = spy.asked
    assert str(asked.url) == f"http://127.0.0.1:8100/platforms/{HOST}/a%2Fb?key=%E5%9B%A2&x=1"
    assert (await asked.aread(), asked.method, asked.headers["x-a"]) == (b"\xff", "POST", "b")
    assert asked.headers["host"] == "127.0.0.1:8100"
    await http.aclose()
    assert spy.is_closed


async def test_addresses_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    await ChatHttp(transport=Spy()).to({HOST}).post(ADDRESS)
    said = [record.getMessage() for record in caplog.records]
    assert any(f"https://{HOST}/…" in line for line in said)
    assert not any(SECRET in line for line in said)


async def test_without_the_filter_they_would_be(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "httpx")
    http = ChatHttp(transport=Spy())
    logger = logging.getLogger("httpx")
    filters = list(logger.filters)
    logger.filters.clear()
    try:
        await http.to({HOST}).post(ADDRESS)
    finally:
        logger.filters.extend(filters)
    assert any(SECRET in record.getMessage() for record in caplog.records)
