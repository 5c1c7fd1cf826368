"""Members of whom something is known, many at a time: for previews of segments that are measured."""

from sqlalchemy import text

from app.state import State
from bench.rows import seeded

FILLS = (
    """
    INSERT INTO members (id, name, seen_by_friends, created_at, bucket)
    SELECT {member}, 'member' || i, 'named', now() - i % 400 * interval '1 day',
           right({member}, 3)
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS i ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO facts (member_id, orders, spent, first_order_at, last_order_at, check_ins, night_check_ins, device,
                       city)
    SELECT {member}, orders, orders * 4900, CASE WHEN orders > 0 THEN now() - interval '200 days' END,
           CASE WHEN orders > 0 THEN now() - hash % 200 * interval '1 day' END,
           hash % 30, hash % 30 / 2, CASE WHEN hash % 3 = 0 THEN 'phone' END, CASE WHEN hash % 5 = 0 THEN '杭州' END
    FROM (SELECT i, abs(hashint4(i)) AS hash, abs(hashint4(i + 1)) % 30 AS orders
          FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS i) AS drawn ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO memberships (community_id, member_id, state, role, application, nickname, bio, shown, push_wish,
                             joined_at, bucket)
    SELECT :community_id, {member}, 'active', 'member', '', '', '', '{{}}', 'each', now(), right({member}, 3)
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS i ON CONFLICT DO NOTHING
    """,
    """
    UPDATE communities SET member_count = member_count + CAST(:last AS int) - CAST(:first AS int) + 1
    WHERE id = :community_id
    """,
)


async def fill(state: State, community_id: str, count: int, first: int = 0) -> None:
    """Make `count` members of a community, numbered from `first` on, and facts of each. On PostgreSQL."""
    values = {"community_id": community_id, "first": first, "last": first + count - 1}
    async with state.database.transaction() as session:
        connection = await session.connection()
        for statement in FILLS:
            names = {name: values[name] for name in values if f":{name}" in statement}
            await connection.execute(text(statement.format(member=seeded("mem", "i"))), names)
