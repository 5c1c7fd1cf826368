"""What products and invites look like: always as things stand, drawn once, and shown to whoever has the link."""

import asyncio
import re
import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from app.gateways import drawing
from app.gateways.drawing import fonts
from app.limiting import Limiter
from app.services import pictures, posters
from tests.gateways.test_drawing import decoded, encoded, halves, needs_chinese, painted
from tests.http.refusals import check_refusal, unchanged
from tests.service import BARGAIN, FLASH, Member, Sale, Service

FORMS = ("poster.png", "poster.svg", "preview.png", "preview.svg", "qr.png", "qr.svg")
PNG, JPEG = encoded(halves((600, 400)), "PNG"), encoded(Image.new("RGB", (60, 40), "lime"), "JPEG")


async def invite(member: Member, **target: str) -> dict[str, Any]:
    """A new invite."""
    reply = await member.post("/v1/invites", target)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def look(service: Service, code: str, form: str, **headers: str) -> httpx.Response:
    """A picture of an invite."""
    reply = await service.http.get(f"/v1/invites/{code}/{form}", headers=headers)
    assert reply.status_code == 200, reply.text
    return reply


async def read(service: Service, code: str, language: str = "zh") -> str:
    """All that a poster says."""
    svg = (await look(service, code, f"poster.svg?lang={language}")).text
    return "\n".join(re.findall("<text[^>]*>([^<]*)</text>", svg))


async def put(service: Service, product_id: str, file: Any, kind: str = "image/png") -> httpx.Response:
    headers = service.operator | {"content-type": kind}
    return await service.http.put(f"/v1/ops/products/{product_id}/picture", content=file, headers=headers)


async def product_of(service: Service, sale: Sale) -> dict[str, Any]:
    return dict((await service.http.get(f"/v1/sales/{sale.id}")).json()["offers"][0])


async def latin(service: Service, sale: Sale) -> None:
    """Name a sale in Latin letters only."""
    product = await product_of(service, sale)
    await service.ops("PATCH", f"products/{product['product_id']}", {"title": "Longjing"})
    await service.ops("PATCH", f"sales/{sale.id}", {"title": "Three together"})
    await service.ops("PATCH", f"communities/{sale.body['community_id']}", {"name": "Tea friends"})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often something was drawn, by what draws it."""
    counts: dict[str, int] = {}

    def count(name: str) -> Callable[..., Any]:
        draw = getattr(drawing, name)

        def drawn(*arguments: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return draw(*arguments)

        return drawn

    for name in ("as_png", "as_svg", "code_png", "code_svg", "stand_in"):
        monkeypatch.setattr(drawing, name, count(name))
    return counts


# Products


async def test_a_product_is_shown_with_the_picture_it_was_given(service: Service) -> None:
    sale = await service.sale()
    offer = await product_of(service, sale)
    product_id, url = offer["product_id"], offer["picture_url"]
    assert url == f"{service.url}/v1/products/{product_id}/picture"
    assert (await service.ops("GET", f"products/{product_id}")).json()["picture_url"] == url
    made_up = await service.http.get(url)
    assert (made_up.status_code, made_up.headers["content-type"]) == (200, "image/jpeg")

    tags = [made_up.headers["etag"]]
    for file, kind, size in ((PNG, "image/png", (600, 400)), (JPEG, "image/jpeg; x=y", (60, 40))):
        reply = await put(service, product_id, file, kind)
        assert reply.status_code == 200, reply.text
        assert (reply.json()["picture_url"], reply.json()["width"], reply.json()["height"]) == (url, *size)
        shown = await service.http.get(url, headers={"if-none-match": tags[-1]})
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
        assert shown.headers["cache-control"].startswith("public, max-age=")
        assert Image.open(BytesIO(shown.content)).size == size
        assert len(shown.content) == reply.json()["size_bytes"]
        tags.append(shown.headers["etag"])
    assert len(set(tags)) == 3
    known = await service.http.get(url, headers={"if-none-match": tags[-1]})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tags[-1])

    for _ in range(2):
        assert (await service.ops("DELETE", f"products/{product_id}/picture")).status_code == 204
    assert (await service.http.get(url)).content == made_up.content
    assert await service.violations() == []


async def test_a_file_that_is_no_picture_changes_nothing(service: Service) -> None:
    product_id = (await product_of(service, await service.sale()))["product_id"]
    assert (await put(service, product_id, PNG)).status_code == 200
    before = (await service.http.get(f"/v1/products/{product_id}/picture")).content
    wrong = [
        (b"", "image/png"),
        (PNG[:200], "image/png"),
        (PNG, "image/webp"),
        (PNG, "text/html"),
        (PNG, "image/svg+xml"),
    ]
    async with unchanged(service):
        for file, kind in wrong:
            problem = check_refusal(await put(service, product_id, file, kind), "picture_invalid")
            assert problem["reason"]
        problem = check_refusal(await put(service, product_id, b"x" * 1_048_577), "body_too_large")
        assert problem["limit_bytes"] == 1_048_576
    assert (await service.http.get(f"/v1/products/{product_id}/picture")).content == before


async def test_a_picture_of_a_megabyte_is_taken(service: Service) -> None:
    product_id = (await product_of(service, await service.sale()))["product_id"]
    file = PNG + bytes(1_048_576 - len(PNG))  # what is behind the picture is left away
    reply = await put(service, product_id, file)
    assert reply.status_code == 200, reply.text
    assert reply.json()["size_bytes"] < 20_000


async def test_two_uploads_at_once_leave_one_picture(service: Service) -> None:
    product_id = (await product_of(service, await service.sale()))["product_id"]
    files = [encoded(Image.new("RGB", (50 + number, 50)), "PNG") for number in range(6)]
    replies = await asyncio.gather(*(put(service, product_id, file) for file in files))
    assert [reply.status_code for reply in replies] == [200] * 6
    shown = await service.http.get(f"/v1/products/{product_id}/picture")
    assert 50 <= Image.open(BytesIO(shown.content)).size[0] < 56


# Invites


async def test_every_code_leads_to_the_invite(service: Service) -> None:
    sale = await service.sale()
    await latin(service, sale)
    made = await invite(await service.member(), sale_id=sale.id)
    for form in ("qr.png", "poster.png"):
        reply = await look(service, made["code"], f"{form}?lang=en" if "poster" in form else form)
        assert reply.headers["content-type"] == "image/png"
        assert decoded(Image.open(BytesIO(reply.content))) == [made["url"]]
    for form in ("qr.svg", "poster.svg"):
        reply = await look(service, made["code"], form)
        assert reply.headers["content-type"] == "image/svg+xml"
        assert decoded(painted(reply.text)) == [made["url"]]
    sizes = [
        Image.open(BytesIO((await look(service, made["code"], f"qr.png?size={size}")).content)).size
        for size in (100, 1200)
    ]
    assert sizes == [(100, 100), (1200, 1200)]
    for size in (99, 1201):
        check_refusal(await service.http.get(f"/v1/invites/{made['code']}/qr.png?size={size}"), "invalid_request")


async def test_to_look_is_no_tap_and_needs_a_good_code(service: Service) -> None:
    sale = await service.sale()
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    async with unchanged(service):
        for form in FORMS:
            reply = await service.http.get(f"/v1/invites/{code}/{form}")
            assert reply.status_code in {200, 307}
            check_refusal(await service.http.get(f"/v1/invites/ABCDEFGHJK/{form}"), "invite_not_found")
        service.clock.advance(31 * 86_400)
        for form in FORMS:
            check_refusal(await service.http.get(f"/v1/invites/{code}/{form}"), "invite_expired")


async def test_a_poster_tells_how_its_group_stands(service: Service) -> None:
    sale = await service.sale(ladder=[(3, 4500)], group_size=3, min_size=2, list_price=6900)
    leader, friend, third = await service.members(3)
    claim = (await leader.open(sale)).json()
    group_id, order_id = claim["group"]["id"], claim["order"]["id"]
    code = (await invite(leader, group_id=group_id))["code"]
    said = await read(service, code)
    for words in (
        "m***0 邀请你一起拼团",
        "茶友",
        "龙井",
        "¥49",
        "¥69",
        "再有 3 人付款，每件 ¥45",
        "还差 1 人成团",
        "1/3",
    ):
        assert words in said, said
    assert leader.name not in said
    await leader.pay(order_id)
    assert "再有 2 人付款，每件 ¥45" in await read(service, code)
    second = (await friend.join(sale, group_id)).json()["order"]["id"]
    assert "人数已够，等待付款\n2/3" in await read(service, code)
    await friend.pay(second)
    assert "已够成团，还可加入 1 人\n2/3" in await read(service, code)
    assert "¥45" in await read(service, code), "the next to join pays that"
    last = (await third.join(sale, group_id)).json()["order"]["id"]
    assert "已满员，等待付款\n3/3" in await read(service, code)
    await third.pay(last)
    said = await read(service, code)
    assert "3 人拼团成功\n3/3" in said
    assert "截止" not in said
    assert "3 people bought together" in await read(service, code, "en")
    assert await service.violations() == []


async def test_a_poster_of_a_group_whose_time_is_up(service: Service) -> None:
    sale = await service.sale()
    leader = await service.member()
    claim = (await leader.open(sale)).json()
    code = (await invite(leader, group_id=claim["group"]["id"]))["code"]
    await leader.pay(claim["order"]["id"])
    assert "截止" in await read(service, code)
    service.clock.advance(3601)
    assert "时间已到，正在结算" in await read(service, code)
    await service.tick()
    assert "未成团，自动退款" in await read(service, code)
    assert "everybody is refunded" in await read(service, code, "en")


SALES: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ({}, ("3 人团", "满 3 人成团", "未成团自动全额退款"), ("Group of 3", "3 people make a group")),
    ({"ladder": [(3, 4500)], "min_size": 2}, ("满 2 人即成团", "3 人付款，每件 ¥45"), ("2 people are enough",)),
    (FLASH, ("秒杀", "限量 100 件", "邀请你来抢购"), ("Flash sale", "Only 100 of them")),
    (BARGAIN, ("砍价", "好友帮砍 5 刀到底价", "¥99"), ("Bargain", "5 cuts by friends")),
    ({"stocks": [5, 5]}, ("¥49", "起"), ("CN¥49", "and up")),
    ({"currency": "JPY"}, ("JP¥4,900",), ("¥4,900",)),
]


@pytest.mark.parametrize(("terms", "chinese", "english"), SALES)
async def test_a_poster_tells_how_a_sale_sells(
    service: Service, terms: dict[str, Any], chinese: tuple[str, ...], english: tuple[str, ...]
) -> None:
    sale = await service.sale(**terms)
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    for words, language in ((chinese, "zh"), (english, "en")):
        said = await read(service, code, language)
        assert [word for word in words if word not in said] == [], said
    assert "截止" in await read(service, code)
    await service.ops("POST", f"sales/{sale.id}/pause")
    assert "暂停中" in await read(service, code)
    await service.ops("POST", f"sales/{sale.id}/end")
    assert "已结束" in await read(service, code)


async def test_a_poster_of_what_is_still_to_come(service: Service) -> None:
    times: dict[str, Any] = {"opens_at": "2098-12-01T12:00:00Z", "closes_at": "2098-12-02T12:00:00Z"}
    coming = await service.sale(**FLASH, **times)
    code = (await invite(await service.member(), sale_id=coming.id))["code"]
    assert "2098年12月1日 20:00（北京时间） 开抢" in await read(service, code)
    assert "Opens 1 Dec 2098, 12:00 UTC" in await read(service, code, "en")
    later = str(service.clock().replace(year=2098))
    drawn = await service.sale(**FLASH, allocation="draw", draws_at=later, closes_at="2099-12-31T00:00:00Z")
    code = (await invite(await service.member(), sale_id=drawn.id))["code"]
    said = await read(service, code)
    assert "抽签" in said
    assert "2098年" in said


async def test_a_poster_of_a_community(service: Service) -> None:
    community = await service.community(name="西湖茶友", need="一起喝到当季的好茶")
    code = (await invite(await service.member(), community_id=community["id"]))["code"]
    said = await read(service, code)
    for words in ("西湖茶友", "一起喝到当季的好茶", "邀请你加入社群"):
        assert words in said, said


async def test_a_poster_says_nothing_of_a_community_that_not_everybody_may_see(service: Service) -> None:
    owner = await service.member()
    listed = {"name": "us", "kind": "static", "member_ids": [owner.id]}
    segment = (await service.ops("POST", "segments", listed)).json()
    community = await service.community(owner, name="西湖茶友", need="当季的好茶", see_segment_id=segment["id"])
    said = await read(service, (await invite(owner, community_id=community["id"]))["code"])
    assert "邀请你加入社群" in said
    assert not any(words in said for words in ("西湖茶友", "当季的好茶"))


async def test_the_language_is_the_reader_s(service: Service) -> None:
    sale = await service.sale()
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    chinese, english = "长按识别二维码", "Press and hold"
    for path, accept, wanted in (
        ("poster.svg", "zh-CN", chinese),
        ("poster.svg", "en", english),
        ("poster.svg", "", english),
        ("poster.svg?lang=zh", "en", chinese),
        ("poster.svg?lang=en", "zh", english),
    ):
        reply = await look(service, code, path, **{"accept-language": accept})
        assert wanted in reply.text
        assert reply.headers["vary"] == "accept-language"


async def test_a_poster_shows_the_product(service: Service) -> None:
    sale = await service.sale()
    await latin(service, sale)
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    before = await look(service, code, "poster.png?lang=en")
    product_id = (await product_of(service, sale))["product_id"]
    await put(service, product_id, encoded(Image.new("RGB", (60, 40), "lime"), "JPEG"), "image/jpeg")
    after = await look(service, code, "poster.png?lang=en", **{"if-none-match": before.headers["etag"]})
    pixel: Any = Image.open(BytesIO(after.content)).getpixel((375, 400))
    assert pixel[1] > 240
    assert max(pixel[0], pixel[2]) < 20
    assert (await look(service, code, "preview.png?lang=en")).content[:4] == b"\x89PNG"
    assert "data:image/jpeg;base64," in (await look(service, code, "poster.svg")).text


async def test_the_svg_asks_nobody_for_anything(service: Service) -> None:
    sale = await service.sale(title='<script>alert("1")</script>')
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    for form in ("poster.svg", "preview.svg"):
        reply = await look(service, code, form)
        assert set(re.findall(r'(?:href|src)="([^"]{0,22})', reply.text)) == {"data:image/jpeg;base64"}
        assert "<script" not in reply.text
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert reply.headers["x-content-type-options"] == "nosniff"


@needs_chinese
async def test_a_poster_in_chinese_is_pixels_where_there_is_a_font(service: Service) -> None:
    sale = await service.sale()
    made = await invite(await service.member(), sale_id=sale.id)
    for form, size in (("poster.png", (750, 1334)), ("preview.png", (1200, 630))):
        image = Image.open(BytesIO((await look(service, made["code"], f"{form}?lang=zh")).content))
        assert (image.format, image.size) == ("PNG", size)
        assert decoded(image) == ([made["url"]] if "poster" in form else [])


async def test_without_a_font_for_its_letters_a_poster_is_svg(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "find_fonts", tuple)
    sale = await service.sale(currency="CHF")  # the letters that come with Pillow have no sign of the yuan
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    for form in ("poster", "preview"):
        reply = await service.http.get(f"/v1/invites/{code}/{form}.png?lang=zh")
        assert (reply.status_code, reply.headers["location"]) == (307, f"{form}.svg?lang=zh")
        assert reply.headers["cache-control"] == "no-store"
        there = await service.http.get(str(reply.url.join(reply.headers["location"])))
        assert (there.status_code, there.headers["content-type"]) == (200, "image/svg+xml")
        assert "龙井" in there.text
    shown = await service.http.get(f"/v1/products/{(await product_of(service, sale))['product_id']}/picture")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg"), "without letters"
    await latin(service, sale)
    assert (await look(service, code, "poster.png?lang=en")).headers["content-type"] == "image/png"


# Drawn once


async def test_what_was_drawn_is_not_drawn_again(service: Service, counted: dict[str, int]) -> None:
    sale = await service.sale()
    leader, friend = await service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    code = (await invite(leader, group_id=group_id))["code"]
    first = await look(service, code, "poster.svg")
    second = await look(service, code, "poster.svg")
    assert counted.pop("as_svg") == 1
    assert (first.content, first.headers["etag"]) == (second.content, second.headers["etag"])
    service.state.drawings.clear()
    known = await service.http.get(
        f"/v1/invites/{code}/poster.svg", headers={"if-none-match": first.headers["etag"]}
    )
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first.headers["etag"])
    assert known.headers["cache-control"] == first.headers["cache-control"]
    assert "as_svg" not in counted, "who has the newest is told so without drawing it"

    await friend.join(sale, group_id)
    changed = await look(service, code, "poster.svg", **{"if-none-match": first.headers["etag"]})
    assert counted.pop("as_svg") == 1
    assert changed.headers["etag"] != first.headers["etag"]
    assert "2/3" in changed.text


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> "Hold":
    """QR codes that are not drawn before one lets them."""
    hold = Hold(threading.Event())
    draw = drawing.code_png

    def slowly(text: str, size: int) -> bytes:
        hold.drawn.append(size)
        assert hold.go.wait(30)
        return draw(text, size)

    monkeypatch.setattr(drawing, "code_png", slowly)
    return hold


class Hold:
    def __init__(self, go: threading.Event) -> None:
        self.go, self.drawn = go, list[int]()


async def test_twenty_who_ask_at_once_have_it_drawn_once(service: Service, held_up: Hold) -> None:
    sale = await service.sale()
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    asking = [asyncio.create_task(look(service, code, "qr.png?size=400")) for _ in range(20)]
    queue: Any = service.state.batches(pictures._draw)
    while sum(len(futures) for futures in queue._futures.values()) < 20:
        await asyncio.sleep(0.01)
    held_up.go.set()
    assert len({reply.content for reply in await asyncio.gather(*asking)}) == 1
    assert held_up.drawn == [400]


async def test_a_few_drawings_wait_and_more_are_refused(service: Service, held_up: Hold) -> None:
    sale = await service.sale()
    member, most = await service.member(), pictures.DRAWINGS_WAITING + pictures.DRAWN_AT_ONCE
    codes = [(await invite(member, sale_id=sale.id))["code"] for _ in range(2)]
    paths = [f"/v1/invites/{code}/qr.png?size={100 + 50 * number}" for number in range(20) for code in codes]
    asking = [asyncio.create_task(service.http.get(path)) for path in paths]
    done: set[asyncio.Task[httpx.Response]] = set()
    while len(done) < 40 - most:
        done, _ = await asyncio.wait(asking, timeout=0.05)
    assert len(held_up.drawn) == pictures.DRAWN_AT_ONCE
    for task in done:
        check = task.result()
        assert (check.status_code, check.json()["code"]) == (503, "busy")
        assert check.headers["retry-after"]
    held_up.go.set()
    replies = await asyncio.gather(*asking)
    assert sum(reply.status_code == 200 for reply in replies) == most
    assert len(service.state.drawings) <= pictures.DRAWINGS_KEPT


async def test_what_is_kept_is_bounded(service: Service) -> None:
    sale = await service.sale()
    code = (await invite(await service.member(), sale_id=sale.id))["code"]
    sketches = [await posters.sketch_code(service.state, code, 100 + number, svg=False) for number in range(80)]
    for sketch in sketches:
        await pictures.draw(service.state, sketch)
    assert len(service.state.drawings) == pictures.DRAWINGS_KEPT
    assert sketches[0].seen not in service.state.drawings
    assert sketches[-1].seen in service.state.drawings


async def test_one_address_has_only_so_many_pictures_drawn(service: Service) -> None:
    sale, member = await service.sale(), await service.member()
    code = (await member.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    limiter, service.state.address_drawings = service.state.address_drawings, Limiter(0.01, 2)
    try:
        paths = [f"/v1/invites/{code}/qr.svg?size={size}" for size in (150, 200, 250)]
        replies = [await service.http.get(path) for path in (*paths, paths[0])]
    finally:
        service.state.address_drawings = limiter
    assert [reply.status_code for reply in replies] == [200, 200, 429, 200], "what is kept costs nothing"
    assert int(replies[2].headers["retry-after"]) > 0
