"""A tip (打赏) goes from a member's balance to another's."""

MAX_TIP = 20_000
"""Most that one tip may be, in minor units."""
DAILY_TIPS = 20
"""Tips that a member may give in a day (UTC)."""
