"""Guards at the doors: sessions, tokens, operators' keys, invites, signatures."""

import json
import warnings
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from fastapi import Request
from jwt.warnings import InsecureKeyLengthWarning
from sqlmodel import select

from app import deps
from app.config import Environment
from app.domain.errors import (
    ApiKeyInvalid,
    CommunityNotFound,
    CredentialsMissing,
    GroupClosed,
    IdempotencyKeyMissing,
    ProviderDisabled,
    ProviderNotFound,
    SaleEnded,
    SaleNotFound,
    ScopeMissing,
    SignatureInvalid,
    TokenExpired,
    TokenInvalid,
)
from app.domain.keys import build_key
from app.domain.operators import Scope
from app.gateways.payments import signing
from app.models import OperatorKey
from app.routers.sandbox import _signed
from app.schemas.invites import InviteCreate
from app.schemas.sandbox import ChargeRef
from app.schemas.sessions import SessionCreate, SessionPublic
from app.services import invites, operators, orders, sales, sessions
from app.services.sample import add_sample
from app.state import _open_logins
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

SESSIONS, OPERATORS, INVITES, IDENTITIES = (
    f"app.services.{name}" for name in ("sessions", "operators", "invites", "identities")
)
SIGNING, DEPS = "app.gateways.payments.signing", "app.deps"


async def log_in(world: World, provider: str = "dev") -> SessionPublic:
    return await sessions.create_session(world.state, SessionCreate(provider=provider, code=uuid4().hex))


@notices(
    *cuts(f"{IDENTITIES}.find_provider", "name not in set(Login)"),
    Cut("app.state._open_logins", "settings.has_sandbox", "True"),
)
async def anybody_may_be_anybody_in_development_only(world: World) -> None:
    with pytest.raises(ProviderNotFound):
        await log_in(world, "other")
    settings = world.state.settings.model_copy(update={"environment": Environment.PRODUCTION})
    logins, phones = _open_logins(settings, world.state.http)
    assert not phones
    with pytest.raises(ProviderDisabled):
        await sessions.create_session(
            replace(world.state, logins=logins), SessionCreate(provider="dev", code=uuid4().hex)
        )


@notices(
    Cut(f"{SESSIONS}.refresh_session", "col(Session.refresh_hash) == _hash(secret)", "True"),
    *cuts(f"{SESSIONS}.refresh_session", "session.expires_at <= now"),
    Cut(f"{SESSIONS}.refresh_session", "if copied:\n        know", "if False:\n        know"),
    Cut(f"{SESSIONS}._was_just_used", "col(Session.refreshed_at) > work.now - GRACE", "True"),
    Cut(f"{SESSIONS}._was_just_used", "Session.refresh_hash == _hash(next_secret)", "True"),
    Cut(
        f"{SESSIONS}.refresh_session",
        "session.revoked_at is not None",
        "False",
        down=(Cut(f"{SESSIONS}.refresh_session", "col(Session.revoked_at).is_(None)", "True"),),
    ),
)
async def a_refresh_token_works_once_and_its_copy_ends_the_session(world: World) -> None:
    first = await log_in(world)
    second = await sessions.refresh_session(world.state, first.refresh_token)
    assert (await sessions.refresh_session(world.state, first.refresh_token)).refresh_token == second.refresh_token
    third = await sessions.refresh_session(world.state, (await log_in(world)).refresh_token)
    with pytest.raises(TokenInvalid):
        await sessions.refresh_session(world.state, f"{third.refresh_token}x")
    world.service.clock.advance(31)
    for token in (first.refresh_token, second.refresh_token, third.refresh_token):
        with pytest.raises(TokenInvalid):
            await sessions.refresh_session(world.state, token)
    other = await log_in(world)
    world.service.clock.advance(world.state.settings.refresh_token_seconds + 1)
    with pytest.raises(TokenExpired):
        await sessions.refresh_session(world.state, other.refresh_token)


@notices(Cut(f"{SESSIONS}.refresh_session", "col(Session.revoked_at).is_(None)", "True"))
async def a_session_that_ends_just_now_is_not_refreshed(world: World) -> None:
    session = await log_in(world)
    id_ = session.refresh_token.partition(".")[0]

    async def end() -> None:
        with pytest.raises(TokenInvalid):
            await sessions.refresh_session(world.state, f"{id_}.copied-before")

    async with world.meanwhile("UPDATE sessions", end()):
        with pytest.raises(TokenInvalid):
            await sessions.refresh_session(world.state, session.refresh_token)


READ = f"{SESSIONS}.read_token"


@notices(
    *cuts(
        "app.services.tokens.read_signed",
        "not hmac.compare_digest(urlsafe_b64encode(signing.digest()).rstrip(b'='), signature.encode())",
    ),
    *cuts(
        READ,
        "not (meant_for_us and numbers and isinstance(member_id, str))",
        "expires_at <= state.clock().timestamp()",
    ),
    Cut(READ, "claims['aud'] == AUDIENCE", "True"),
    Cut(READ, "claims['iss'] == ISSUER", "True"),
    Cut(READ, "isinstance(issued_at, int)", "True"),
    Cut(READ, "isinstance(expires_at, int)", "True"),
    Cut(READ, "state.settings.key_for('access token')", "state.settings.key_for('operator key')"),
)
async def only_our_own_tokens_are_believed_until_they_expire(world: World) -> None:
    now, key = int(world.service.clock().timestamp()), world.state.settings.key_for("access token")
    good = {"sub": world.me.id, "iat": now, "exp": now + 60, "aud": "kaituan-members", "iss": "kaituan"}

    def read(claims: dict[str, Any], key: bytes = key, algorithm: str = "HS256") -> str:
        with warnings.catch_warnings(action="ignore", category=InsecureKeyLengthWarning):
            return sessions.read_access_token(world.state, jwt.encode(claims, key, algorithm))

    assert read(good) == world.me.id
    forged = [good | {"aud": "others"}, good | {"iss": "others"}]
    forged += [good | {"exp": float(now + 60)}, good | {"iat": "now"}]
    forged += [{name: value for name, value in good.items() if name != left} for left in good]
    for claims in forged:
        with pytest.raises(TokenInvalid):
            read(claims)
    with pytest.raises(TokenInvalid):
        read(good, b"x" * 32)
    with pytest.raises(TokenInvalid):
        read(good, algorithm="HS512")
    with pytest.raises(TokenExpired):
        read(good | {"exp": now})


@notices(
    *cuts(
        f"{OPERATORS}.authenticate",
        "not is_well_formed(key)",
        "row.revoked_at is not None",
        "scope not in row.scopes",
    ),
    *cuts(f"{OPERATORS}.revoke_key", "row.revoked_at is not None"),
    Cut(f"{OPERATORS}.authenticate", "OperatorKey.key_hash == _hash(state, key)", "True"),
    Cut("app.domain.keys.is_well_formed", "checksum(match[1]) == match[2]", "True"),
    Cut(f"{OPERATORS}._hash", "state.settings.key_for('operator key')", "b'known'"),
    Cut(f"{OPERATORS}._hash", "return ", "return key or "),
)
async def an_operators_key_is_kept_as_a_hash_and_opens_its_scopes(world: World) -> None:
    key = await operators.create_key(world.state, uuid4().hex, [Scope.SALES])
    await operators.authenticate(world.state, key, Scope.SALES)
    with pytest.raises(ScopeMissing):
        await operators.authenticate(world.state, key, Scope.ORDERS)
    wrong = f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"
    await operators.create_key(world.state, "misspelled", [Scope.SALES], wrong)
    unknown = build_key(uuid4().hex)
    for other in (wrong, unknown):
        with pytest.raises(ApiKeyInvalid):
            await operators.authenticate(world.state, other, Scope.SALES)
    settings = world.state.settings.model_copy(update={"secret_key": "x" * 32})
    assert operators._hash(world.state, key) != operators._hash(replace(world.state, settings=settings), key)
    async with world.database.snapshot() as session:
        row = (await session.exec(select(OperatorKey).order_by(OperatorKey.id.desc()).offset(1).limit(1))).one()  # type: ignore[attr-defined]
    assert key not in row.key_hash
    assert await operators.revoke_key(world.state, row.id)
    assert not await operators.revoke_key(world.state, row.id)
    with pytest.raises(ApiKeyInvalid):
        await operators.authenticate(world.state, key, Scope.SALES)


@notices(
    *cuts(f"{DEPS}.get_member_id", "viewer_id is None"), *cuts(f"{DEPS}.get_request_key", "idempotency_key is None")
)
async def members_show_their_token_and_name_their_key(_: World) -> None:
    with pytest.raises(CredentialsMissing):
        await deps.get_member_id(None)
    with pytest.raises(IdempotencyKeyMissing):
        await deps.get_request_key(None)


@notices(
    *cuts("app.services.terms.published_sale", "sale.state == SaleState.DRAFT"),
    *cuts(
        f"{INVITES}.create_invite",
        "group.state in FINAL_GROUP_STATES",
        "sale.state == SaleState.ENDED",
        "await work.session.get(Member, member_id) is None",
    ),
    Cut(f"{INVITES}.create_invite", "await see_community(work.session, body.community_id, member_id, now)", "None"),
)
async def an_invite_leads_to_what_is_still_there(world: World) -> None:
    held = await world.held()
    await orders.cancel(world.state, held.order_id, world.me.id)
    draft, ended = await world.service.sale(publish=False), await world.service.sale()
    await sales.end_sale(world.state, ended.id)
    for target, refusal in (
        ({"group_id": held.group_id}, GroupClosed),
        ({"sale_id": draft.id}, SaleNotFound),
        ({"sale_id": ended.id}, SaleEnded),
        ({"community_id": f"com_{'0' * 32}"}, CommunityNotFound),
    ):
        with pytest.raises(refusal):
            await invites.create_invite(world.state, world.me.id, InviteCreate.model_validate(target))
    with pytest.raises(TokenInvalid):
        await invites.create_invite(world.state, "nobody", InviteCreate(sale_id=world.sale.id))


@notices(
    Cut(f"{SIGNING}.verify", "signed_at(time, now)", "None"),
    *cuts(f"{SIGNING}.verify", "max(map(len, (time, nonce, signature))) > MAX_HEADER_LENGTH"),
    Cut(
        f"{SIGNING}.verify",
        "key.verify(base64.b64decode(signature, validate=True), _message(time, nonce, body))",
        "None",
    ),
    Cut(f"{SIGNING}._message", "f'{time}.{nonce}.'", "f''"),
    Cut(
        "app.gateways.payments.sandbox.SandboxProvider.parse_notice",
        "signing.verify(self._cashier, headers, body, now)",
        "None",
    ),
    Cut(
        "app.gateways.payments.sandbox.NoticeBody._captured_money_is_counted",
        "self.state == ChargeState.CAPTURED",
        "False",
    ),
    Cut(
        "app.routers.sandbox._signed",
        "signing.verify(signing.merchant_key(state.settings).public_key(), request.headers, body, state.clock())",
        "None",
    ),
)
async def only_a_fresh_signature_of_the_other_side_is_believed(world: World) -> None:
    payment = await world.payment(await world.held())
    body, provider, now = payment.notice(), world.state.providers["sandbox"], world.service.clock()
    key = signing.cashier_key(world.state.settings)
    good = signing.sign(key, body, now)
    provider.parse_notice(good, body, now)
    long = "n" * 201
    times = signing.sign(key, body, now + timedelta(seconds=60))
    wrong = [
        good | {signing.TIME: "soon"},
        good | {signing.TIME: times[signing.TIME]},
        good | {signing.NONCE: times[signing.NONCE]},
        good | {signing.NONCE: long, signing.SIGNATURE: rightly(world, body, good[signing.TIME], long)},
        signing.sign(key, body, now - timedelta(seconds=302)),
        signing.sign(signing.merchant_key(world.state.settings), body, now),
    ]
    for headers in wrong:
        with pytest.raises(SignatureInvalid):
            provider.parse_notice(headers, body, now)
    uncounted = payment.notice(amount=None)
    with pytest.raises(SignatureInvalid):
        provider.parse_notice(signing.sign(key, uncounted, now), uncounted, now)
    asked = json.dumps({"id": payment.id}).encode()
    with pytest.raises(SignatureInvalid):
        await _signed(world.state, request(asked, signing.sign(key, asked, now)), ChargeRef)


def rightly(world: World, body: bytes, time: str, nonce: str) -> str:
    """The cashier's signature with a nonce of our own."""
    key = signing.cashier_key(world.state.settings)
    return b64encode(key.sign(signing._message(time, nonce, body))).decode()


def request(body: bytes, headers: dict[str, str]) -> Request:
    """A request with this body, as a route gets it."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


SAMPLE = "app.services.sample.add_sample"
EMPTY = cuts(SAMPLE, "(await session.exec(select(Sale.id))).first()")


@notices(*cuts(SAMPLE, "state.settings.environment != Environment.DEVELOPMENT", down=EMPTY))
async def a_key_that_everybody_knows_exists_in_development_only(world: World) -> None:
    settings = world.state.settings.model_copy(update={"environment": Environment.STAGING})
    assert not await add_sample(replace(world.state, settings=settings))


@notices(*EMPTY)
async def sample_data_is_for_an_empty_database(world: World) -> None:
    assert not await add_sample(world.state)
