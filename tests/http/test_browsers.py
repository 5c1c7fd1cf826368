"""What browsers need besides the API: a way to the documentation, and permission to call from elsewhere."""

import httpx
import pytest

from app.config import Settings
from app.main import create_app, in_front
from tests.service import Service

PAGE = "http://localhost:5173"


async def test_the_root_leads_to_the_documentation(service: Service) -> None:
    reply = await service.http.get("/", follow_redirects=True)
    assert (reply.status_code, reply.url.path) == (200, "/docs")


@pytest.mark.parametrize(
    ("allowed", "answers"), [(f"https://x.example, {PAGE}", True), ("https://x.example", False)]
)
async def test_a_page_of_another_origin_may_call_when_it_is_named(
    service: Service, allowed: str, *, answers: bool
) -> None:
    settings = Settings(cors_origins=allowed)
    app = in_front(create_app(settings, service.state), settings)
    preflight = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,idempotency-key",
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        reply = await http.options("/v1/invites", headers=preflight)
    assert (reply.headers.get("access-control-allow-origin") == PAGE) == answers
