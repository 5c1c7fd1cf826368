"""Guards of logins: who is believed, what a member is known by, sessions that end, and phone numbers."""

import json
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest

from app.demo.platforms.telegram_login import sign_init_data
from app.demo.platforms.wechat_login import WeChatLoginStandIn
from app.domain.errors import (
    IdentityLast,
    IdentityLimit,
    IdentityTaken,
    LoginRefused,
    LoginUnavailable,
    SessionNotFound,
    TokenInvalid,
)
from app.domain.identities import WECHAT_UNION, may_be_code
from app.domain.phones import normalise
from app.gateways.chat.transport import ChatHttp
from app.gateways.logins.provider import Confirmed
from app.gateways.logins.telegram import TelegramLogins
from app.gateways.logins.wechat import HOST, WeChatLogins
from app.gateways.sealing import blind_index
from app.models import Phone
from app.schemas.sessions import SessionCreate, SessionPublic
from app.services import erased, erasure, identities, links, members, numbers, phones, sessions
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.planted import plant
from tests.service import Member

IDENTITIES, SESSIONS, PHONES, ERASED = (
    f"app.services.{name}" for name in ("identities", "sessions", "phones", "erased")
)
TELEGRAM, WECHAT = "app.gateways.logins.telegram", "app.gateways.logins.wechat"
CONFIRM, ASK = f"{TELEGRAM}.TelegramLogins.confirm", f"{WECHAT}.WeChatLogins._ask"
BOT, NUMBER = "42:TEST", "+8613912345678"


@notices(
    *cuts("app.domain.phones.normalise", "not E164.fullmatch(plain)"),
    Cut("app.domain.phones.normalise", "LIKE_HOME_MOBILE.match(plain) and (not is_mobile)", "False"),
    Cut("app.domain.identities.may_be_code", "pattern.fullmatch(code) is not None", "True"),
)
async def a_number_is_a_number_and_a_code_a_code(_: World) -> None:
    for wrong in ("+0123456789", "+86139123456", "+1555\u0661234567"):
        assert normalise(wrong) is None
    assert not may_be_code("wechat", "a.b")


@notices(
    *cuts(
        CONFIRM,
        "not hmac.compare_digest(right.encode(), signature.encode())",
        "signed.count('\\n') != len(fields) - 1",
        "age > self._window",
        "age < -CLOCKS_APART",
    ),
    *cuts(f"{TELEGRAM}._fields", "len(fields) != len(pairs)", "any(('=' in name for name in fields))"),
    Cut(f"{TELEGRAM}._fields", "max_num_fields=MAX_FIELDS", "max_num_fields=None"),
    *cuts(f"{TELEGRAM}._moment", "not SECONDS.fullmatch(auth_date)"),
    *cuts(f"{TELEGRAM}._user", "if user.is_bot"),
)
async def telegram_is_believed_what_it_signed_just_now(world: World) -> None:
    logins, now = TelegramLogins(BOT, timedelta(minutes=5)), world.service.clock()

    def opened(seconds: float = 0, bot: str = BOT, **fields: str) -> str:
        signed_at = str(int((now + timedelta(seconds=seconds)).timestamp()))
        return sign_init_data(bot, {"auth_date": signed_at, "user": json.dumps({"id": 42})} | fields)

    good = opened(x="1", y="2")
    assert (await logins.confirm(good, now)).subject == "42"
    many = {f"field{number}": "" for number in range(20)}
    joined = good.replace("x=1&y=2", urlencode({"x": "1\ny=2"}))
    assert joined != good
    for wrong in (
        opened(bot="42:OTHER"),
        joined,
        f"{good}&x=1",
        opened(0, BOT, **{"c=d": "e"}),
        opened(-302),
        opened(62),
        opened(auth_date="soon"),
        opened(user=json.dumps({"id": 42, "is_bot": True})),
        opened(0, BOT, **many),
    ):
        with pytest.raises(LoginRefused):
            await logins.confirm(wrong, now)


@notices(
    *cuts(f"{WECHAT}.WeChatLogins._phone", "info.watermark.appid != self._app_id"),
    *cuts(
        ASK,
        "if failure.errcode in CODE_REFUSED",
        "failure.errcode in TOKEN_REFUSED and 'access_token' in content.get('params', {})",
    ),
    Cut(ASK, "if failure.errcode:", "if False:"),
    Cut(ASK, "'access_token' in content.get('params', {})", "True"),
    Cut(ASK, "reply.raise_for_status()", "None"),
)
async def wechat_is_believed_what_it_says_of_our_app(world: World) -> None:
    stand_in, now = WeChatLoginStandIn(), world.service.clock()
    plant(stand_in.app_secret, stand_in.session_key)
    http = ChatHttp("http://stand-in", httpx.ASGITransport(stand_in.app())).to({HOST})
    logins = WeChatLogins(stand_in.app_id, stand_in.app_secret, http)
    assert (await logins.confirm(stand_in.log_in("oX"), now)).subject == "oX"
    with pytest.raises(LoginRefused):
        await logins.confirm("0" * 32, now)
    with pytest.raises(LoginRefused):
        await logins.confirm_phone(stand_in.tell_phone(NUMBER[3:], app_id="wx0"), now)
    stand_in.end_tokens()
    assert await logins.confirm_phone(stand_in.tell_phone(NUMBER[3:]), now) == NUMBER
    for failure in (40001, 45011, 500):
        stand_in.fails = [failure]
        with pytest.raises(LoginUnavailable):
            await logins.confirm(stand_in.log_in("oX"), now)

    def shown(_: httpx.Request) -> httpx.Response:
        return httpx.Response(502, json={"openid": "oX", "errcode": 0})

    broken = WeChatLogins("wx", "secret", httpx.AsyncClient(transport=httpx.MockTransport(shown)))
    with pytest.raises(LoginUnavailable):
        await broken.confirm("code", now)

    def refused(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"openid": "oX", "errcode": 45011})

    unwilling = WeChatLogins("wx", "secret", httpx.AsyncClient(transport=httpx.MockTransport(refused)))
    with pytest.raises(LoginUnavailable):
        await unwilling.confirm("code", now)


async def gone(world: World) -> Member:
    """A member who was just erased."""
    member = await world.service.member()
    await erasure.erase(world.state, member.id, forfeit_balance=True)
    return member


async def known_by(world: World, member: Member) -> dict[str, str]:
    """The ids of what a member is known by, by provider and subject."""
    page = await identities.list_identities(world.state, member.id)
    return {f"{item.provider} {item.subject}": item.id for item in page.items}


@notices(
    *cuts(
        f"{IDENTITIES}.link",
        "await lock_member(work.session, member_id) is None",
        "len(await _find_all(work.session, member_id)) > MAX_IDENTITIES",
    ),
    *cuts(f"{IDENTITIES}._take", "row.member_id != member_id"),
)
async def what_one_is_known_by_is_nobody_elses(world: World) -> None:
    one, two = await world.service.members(2)
    name, left = uuid4().hex, await gone(world)
    await identities.link_identity(world.state, one.id, "dev", name)
    with pytest.raises(IdentityTaken):
        await identities.link_identity(world.state, two.id, "dev", name)
    with pytest.raises(TokenInvalid):
        await identities.link_identity(world.state, left.id, "dev", uuid4().hex)
    for _ in range(18):
        await identities.link_identity(world.state, one.id, "dev", uuid4().hex)
    with pytest.raises(IdentityLimit):
        await identities.link_identity(world.state, one.id, "dev", uuid4().hex)


@notices(
    *cuts(
        f"{IDENTITIES}.unlink_identity",
        "not may_unlink(row.provider, [other.provider for other in rows.values()], state.logins)",
    ),
    Cut(f"{IDENTITIES}.unlink_identity", "col(Identity.member_id) == member_id", "True"),
    Cut(f"{IDENTITIES}.unlink_identity", "col(Identity.provider) == WECHAT_UNION", "True"),
    Cut(f"{IDENTITIES}.unlink_identity", "col(LinkCode.provider) == row.provider", "True"),
    Cut(f"{IDENTITIES}.unlink_identity", "col(LinkCode.subject) == row.subject", "True"),
    Cut("app.domain.identities.may_unlink", "provider not in set(Login) or other in logins", "True"),
    Cut("app.domain.identities.may_unlink", "other in logins", "other in set(Login)"),
    Cut(f"{IDENTITIES}.unlink_identity", "ended = await end_sessions", "ended = [] and await end_sessions"),
    Cut(f"{IDENTITIES}._find_all", "Identity.member_id == member_id", "True"),
)
async def one_unlinks_ones_own_and_can_still_log_in(world: World) -> None:
    one, two = await world.service.members(2)
    (dev,) = (await known_by(world, one)).values()
    async with world.work() as work:
        for member in (one, two):
            await identities.link(work, member.id, "slack", f"U{member.id}")
            await identities._take(work, member.id, WECHAT_UNION, f"u{member.id}")
        await identities.link(work, one.id, "telegram", one.id)  # nobody logs in with it here
    with pytest.raises(IdentityLast):
        await identities.unlink_identity(world.state, one.id, dev)
    async with world.work() as work:
        await identities.link(work, one.id, "wechat", f"o{one.id}")
        await identities.link(work, one.id, "dev", f"more-{one.id}")
    for provider, subject in (("wechat", one.id), ("wechat", two.id), ("slack", one.id)):
        await links.create_link(world.state, provider, f"o{subject}")
    await identities.unlink_identity(world.state, one.id, (await known_by(world, one))[f"wechat o{one.id}"])
    for subject, provider, count in ((one.id, "wechat", 0), (two.id, "wechat", 1), (one.id, "slack", 1)):
        given = "link_codes WHERE subject = :subject AND provider = :provider"
        assert await world.count(given, subject=f"o{subject}", provider=provider) == count
    assert await world.count("identities WHERE member_id = :id", id=one.id) == 4
    assert await world.count("identities WHERE member_id = :id AND provider = 'wechat_union'", id=two.id) == 1
    await identities.unlink_identity(world.state, one.id, dev)
    with pytest.raises(TokenInvalid):
        sessions.read_access_token(world.state, one.token)
    assert sessions.read_access_token(world.state, two.token) == two.id


@notices(*cuts(f"{IDENTITIES}.unlink_identity", "await lock_member(work.session, member_id) is None"))
async def who_is_erased_unlinks_nothing(world: World) -> None:
    left = await gone(world)
    with pytest.raises(TokenInvalid):
        await identities.unlink_identity(world.state, left.id, "idn_0")


@notices(
    Cut(
        f"{IDENTITIES}.recognise",
        "known is not None and await lock_member(work.session, known.id) is not None",
        "False",
    ),
)
async def a_union_finds_who_is_not_known_otherwise(world: World) -> None:
    subject, other, union = uuid4().hex, uuid4().hex, uuid4().hex
    async with world.work() as work:
        first = await identities.recognise(work, "wechat", Confirmed(subject, union=union), None)
        second = await identities.recognise(work, "wechat", Confirmed(other, union=union), None)
        assert first.id == second.id


async def log_in(world: World, code: str = "") -> SessionPublic:
    return await sessions.create_session(world.state, SessionCreate(provider="dev", code=code or uuid4().hex))


def session_of(session: SessionPublic) -> str:
    return session.refresh_token.partition(".")[0]


@notices(
    Cut(f"{ERASED}.end_sessions", "col(Session.member_id) == member_id", "True"),
    Cut(f"{ERASED}.end_sessions", "col(Session.revoked_at).is_(None)", "True"),
    Cut(f"{ERASED}.end_sessions", "*conditions)", "True)"),
    *cuts(f"{SESSIONS}.end_session", "if not ended"),
    *cuts(f"{SESSIONS}.read_token", "session_id in state.ended"),
    Cut(f"{SESSIONS}.list_sessions", "Session.member_id == member_id", "True"),
    Cut(f"{SESSIONS}.list_sessions", "col(Session.revoked_at).is_(None)", "True"),
    Cut(f"{SESSIONS}.list_sessions", "col(Session.expires_at) > state.clock()", "True"),
)
async def one_ends_ones_own_sessions(world: World) -> None:
    name = uuid4().hex
    first, second, other = await log_in(world, name), await log_in(world, name), await log_in(world)
    me = first.member.id
    with pytest.raises(SessionNotFound):
        await sessions.end_session(world.state, me, session_of(other), None)
    await sessions.end_session(world.state, me, session_of(first), None)
    with pytest.raises(SessionNotFound):
        await sessions.end_session(world.state, me, session_of(first), None)
    with pytest.raises(TokenInvalid):
        sessions.read_access_token(world.state, first.access_token)
    assert sessions.read_access_token(world.state, second.access_token) == me
    shown = await sessions.list_sessions(world.state, me, None)
    assert [item.id for item in shown.items] == [session_of(second)]
    world.service.clock.advance(world.state.settings.refresh_token_seconds + 1)
    assert (await sessions.list_sessions(world.state, me, None)).items == []


@notices(
    Cut(f"{ERASED}.learn", "await _learn_ended(state, now, since)", "None"),
    Cut(f"{ERASED}._learn_ended", "min(state.looked_at, now) - LATE", "now"),
    Cut(f"{ERASED}._learn_ended", "if ended_at > since", "if False"),
)
async def the_end_of_a_session_is_heard_of_late(world: World) -> None:
    session = await log_in(world)
    await erased.learn(world.state)
    await sessions.end_session(world.state, session.member.id, session_of(session), None)
    world.service.clock.advance(30)
    world.state.ended.clear()
    await erased.learn(world.state)
    assert session_of(session) in world.state.ended
    await erased.learn(world.state)
    assert session_of(session) in world.state.ended


@notices(
    *cuts(f"{PHONES}.keep", "await lock_member(work.session, member_id) is None"),
    *cuts(f"{PHONES}.set_phone", "await lock_member(work.session, member_id) is None"),
    Cut(f"{PHONES}.keep", "col(Phone.member_id) == member_id", "True"),
    Cut(f"{PHONES}.forget_phone", "col(Phone.member_id) == member_id", "True"),
    Cut(f"{PHONES}.find_members", "Phone.digest == number_digest(state, number)", "True"),
    Cut("app.services.numbers.seal_number", "seal(state.settings.key_for(SEAL), number, member_id)", "number"),
    Cut("app.services.numbers.read_number", "phone.member_id)", "'another')"),
    Cut(
        "app.services.numbers.number_digest",
        "state.settings.key_for(INDEX)",
        "b'known'",
    ),
)
async def a_number_is_its_members(world: World) -> None:
    one, two, left = *await world.service.members(2), await gone(world)
    with pytest.raises(TokenInvalid):
        await phones.set_phone(world.state, left.id, "dev", NUMBER)
    async with world.work() as work:
        await phones.keep(world.state, work, left.id, "dev", NUMBER)
    assert await world.count("phones WHERE member_id = :id", id=left.id) == 0
    await phones.set_phone(world.state, one.id, "dev", NUMBER)
    await phones.set_phone(world.state, two.id, "dev", "+442079460958")
    row = await world.row(Phone, one.id)
    assert NUMBER not in row.number
    assert numbers.read_number(world.state, row) == NUMBER
    assert (await members.get_me(world.state, one.id)).phone == "+86139****5678"
    assert one.id in {item.id for item in (await phones.find_members(world.state, NUMBER)).items}
    assert two.id not in {item.id for item in (await phones.find_members(world.state, NUMBER)).items}
    assert row.digest != blind_index(b"known", NUMBER)
    await phones.forget_phone(world.state, two.id)
    assert await world.count("phones WHERE member_id = :id", id=one.id) == 1
