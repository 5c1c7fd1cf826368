"""Whether a member may write something in a community: its words, and how much of it."""

from sqlmodel import col, select

from app.domain.encounters import COMMENTS, POSTS, SHOWS_FROM, Level, wait_seconds
from app.domain.errors import PostLimit, TrustTooLow, WordsBlocked
from app.domain.memberships import Standing
from app.domain.words import is_blocked
from app.models import Comment, Post
from app.services.encounters import trust_level
from app.services.standing import Place
from app.services.transactions import Work


async def check_words(
    work: Work,
    place: Place,
    author_id: str,
    model: type[Post | Comment],
    body: str,
    *,
    shows: bool,
    free: bool = False,
) -> None:
    """Raise `WordsBlocked`, `TrustTooLow` or `PostLimit` unless a member may write this here and now. `shows` is
    whether it has more than words; `free` is what has a limit of its own. Those whom the community gave a role are
    trusted.
    """
    if is_blocked(body, place.community.blocked_words):
        raise WordsBlocked
    if place.standing == Standing.MEMBER:
        level = await trust_level(work.session, place.community.id, author_id, work.now)
        if shows and level < SHOWS_FROM:
            raise TrustTooLow(level=level, needed=SHOWS_FROM)
        if not free:
            await _check_pace(work, place, author_id, model, level)


async def _check_pace(work: Work, place: Place, author_id: str, model: type[Post | Comment], level: Level) -> None:
    most = (POSTS if model is Post else COMMENTS)[level]
    rows = await work.session.exec(
        select(model.created_at)
        .where(model.community_id == place.community.id, model.author_id == author_id)
        .order_by(col(model.id).desc())
        .offset(most - 1)
        .limit(1),
    )
    wait = wait_seconds(rows.first(), work.now)
    if wait:
        raise PostLimit(limit=most, retry_after_seconds=wait)
