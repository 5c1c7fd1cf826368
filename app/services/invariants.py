"""The promises as queries: each must find nothing. `GET /v1/ops/invariants` runs them all on one snapshot."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.bargains import BARGAIN_TRANSITIONS
from app.domain.bindings import BINDING_TRANSITIONS
from app.domain.communities import COMMUNITY_TRANSITIONS
from app.domain.endpoints import ENDPOINT_TRANSITIONS
from app.domain.entries import ENTRY_TRANSITIONS, SERVED_ENTRY_STATES
from app.domain.groups import GROUP_TRANSITIONS
from app.domain.jobs import JOB_TRANSITIONS
from app.domain.machines import Table
from app.domain.memberships import MEMBERSHIP_TRANSITIONS
from app.domain.orders import ACTIVE_ORDER_STATES, ORDER_TRANSITIONS, PAID_SEAT_STATES
from app.domain.payments import PAYMENT_TRANSITIONS
from app.domain.payouts import PAYOUT_TRANSITIONS, RESERVED_STATES
from app.domain.pushes import PUSH_TRANSITIONS
from app.domain.reconciliations import RECONCILIATION_TRANSITIONS
from app.domain.refunds import REFUND_TRANSITIONS
from app.domain.rewards import BOOKED_STATES, COUNTED_STATES, REWARD_TRANSITIONS
from app.domain.sales import SALE_TRANSITIONS
from app.models.columns import quoted
from app.schemas.invariants import InvariantsPublic, Violation
from app.state import State

LIMIT = 100
"""Violations shown of each invariant."""
ACTIVE = quoted(ACTIVE_ORDER_STATES)
PAID = quoted(PAID_SEAT_STATES)


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule, and a query of (subject, detail) that finds what breaks it."""

    id: str
    rule: str
    query: str


def _paths(kind: str, table: Table[Any]) -> str:
    """Events that are not a step of the table, or do not begin where the last one ended."""
    births = {
        "bargain": "cutting",
        "binding": "active",
        "community": "draft",
        "endpoint": "active",
        "entry": "waiting",
        "group": "open",
        "job": "offered",
        "order": "held",
        "payment": "created",
        "payout": "waiting",
        "push": "scheduled",
        "reconciliation": "waiting",
        "refund": "created",
        "reward": "pending",
        "sale": "draft",
    }
    steps = ", ".join(f"'{source}>{target}'" for source in sorted(table) for target in sorted(table[source]))
    return f"""
        SELECT subject, coalesce(from_state, '-') || ' > ' || to_state FROM (
            SELECT subject, from_state, to_state,
                   lag(to_state) OVER (PARTITION BY subject ORDER BY id) AS last_state
            FROM events WHERE to_state IS NOT NULL AND type LIKE '{kind}.%'
        ) AS history
        WHERE coalesce(from_state, '-') <> coalesce(last_state, '-')
           OR (from_state IS NULL AND to_state <> '{births[kind]}')
           OR (from_state IS NOT NULL AND from_state || '>' || to_state NOT IN ({steps}))"""


def _told(kind: str, plural: str) -> str:
    """Rows whose state is not what their last event says."""
    return f"""
        SELECT {plural}.id, state || ', last event says ' || coalesce(to_state, 'nothing')
        FROM {plural} LEFT JOIN (
            SELECT subject, to_state, row_number() OVER (PARTITION BY subject ORDER BY id DESC) AS back
            FROM events WHERE to_state IS NOT NULL AND type LIKE '{kind}.%'
        ) AS told ON told.subject = {plural}.id AND back = 1
        WHERE to_state IS NULL OR to_state <> state"""


MACHINES: dict[str, tuple[str, Table[Any]]] = {
    "group": ("groups", GROUP_TRANSITIONS),
    "order": ("orders", ORDER_TRANSITIONS),
    "payment": ("payments", PAYMENT_TRANSITIONS),
    "refund": ("refunds", REFUND_TRANSITIONS),
    "sale": ("sales", SALE_TRANSITIONS),
    "bargain": ("bargains", BARGAIN_TRANSITIONS),
    "entry": ("entries", ENTRY_TRANSITIONS),
    "reward": ("rewards", REWARD_TRANSITIONS),
    "payout": ("payouts", PAYOUT_TRANSITIONS),
    "community": ("communities", COMMUNITY_TRANSITIONS),
    "job": ("jobs", JOB_TRANSITIONS),
    "push": ("pushes", PUSH_TRANSITIONS),
    "binding": ("bindings", BINDING_TRANSITIONS),
    "endpoint": ("endpoints", ENDPOINT_TRANSITIONS),
    "reconciliation": ("reconciliations", RECONCILIATION_TRANSITIONS),
}
MEMBERSHIP_STEPS = ", ".join(
    f"'{source}>{target}'"
    for source in sorted(MEMBERSHIP_TRANSITIONS)
    for target in sorted(MEMBERSHIP_TRANSITIONS[source])
)

INVARIANTS = [
    Invariant(
        "I1",
        "units taken of an offer are no more than its stock, all numbers in range and distinct",
        """SELECT offers.id, count(*) || ' of ' || offers.stock
           FROM offers JOIN units ON units.offer_id = offers.id GROUP BY offers.id, offers.stock
           HAVING count(*) > offers.stock OR min(units.number) < 1 OR max(units.number) > offers.stock
               OR count(DISTINCT units.number) < count(*)""",
    ),
    Invariant(
        "I2",
        "an active order has exactly its quantity of units, any other none",
        f"""SELECT orders.id, orders.state || ', ' || count(units.number) || ' of ' || orders.quantity
            FROM orders LEFT JOIN units ON units.order_id = orders.id
            GROUP BY orders.id, orders.state, orders.quantity, orders.settled_quantity
            HAVING count(units.number) <> CASE WHEN orders.state IN ({ACTIVE})
                THEN coalesce(orders.settled_quantity, orders.quantity) ELSE 0 END""",
    ),
    Invariant(
        "I3",
        "a member's active purchases in a sale are no more than the limit",
        f"""SELECT orders.member_id, sales.id || ': ' || count(*) || ' of ' || sales.member_limit
            FROM orders JOIN sales ON sales.id = orders.sale_id WHERE orders.state IN ({ACTIVE})
            GROUP BY orders.member_id, sales.id, sales.member_limit HAVING count(*) > sales.member_limit""",
    ),
    Invariant(
        "I4",
        "seats of a group are no more than its size, numbers in range and distinct",
        """SELECT groups.id, count(*) || ' of ' || groups.size
           FROM groups JOIN seats ON seats.group_id = groups.id GROUP BY groups.id, groups.size
           HAVING count(*) > groups.size OR min(seats.number) < 1 OR max(seats.number) > groups.size
               OR count(DISTINCT seats.number) < count(*)""",
    ),
    Invariant(
        "I5",
        "a member has one seat in a group",
        """SELECT group_id, member_id || ': ' || count(*) FROM seats
           GROUP BY group_id, member_id HAVING count(*) > 1""",
    ),
    Invariant(
        "I6",
        "an active order has its seat and its purchase, any other has neither",
        f"""SELECT orders.id, orders.state || ': ' || count(DISTINCT seats.number) || ' seats, '
                   || count(DISTINCT purchases.number) || ' purchases'
            FROM orders
            LEFT JOIN seats ON seats.order_id = orders.id AND seats.group_id = orders.group_id
                           AND seats.number = orders.seat_number AND seats.member_id = orders.member_id
            LEFT JOIN purchases ON purchases.order_id = orders.id
            GROUP BY orders.id, orders.state
            HAVING count(DISTINCT seats.number) <> CASE WHEN orders.state IN ({ACTIVE}) THEN 1 ELSE 0 END
                OR count(DISTINCT purchases.number) <> CASE WHEN orders.state IN ({ACTIVE}) THEN 1 ELSE 0 END""",
    ),
    Invariant(
        "I7",
        "a group succeeded exactly if enough of its seats were paid before its deadline, or filled up as it shows",
        """SELECT groups.id, groups.state || ', confirmed ' || count(orders.id) || ' of ' || groups.size
                  || ', covered ' || groups.covered || ', extra ' || groups.extra
           FROM groups JOIN sales ON sales.id = groups.sale_id
           LEFT JOIN orders ON orders.group_id = groups.id AND orders.confirmed_at IS NOT NULL
           GROUP BY groups.id, groups.state, groups.size, groups.deadline_at, groups.covered, groups.extra,
                    sales.min_size
           HAVING max(orders.paid_at) > groups.deadline_at
               OR (count(orders.id) > 0) <> (groups.state = 'succeeded')
               OR (groups.state = 'succeeded' AND count(orders.id) + groups.covered + groups.extra NOT BETWEEN
                   CASE WHEN groups.size > 1 THEN coalesce(sales.min_size, groups.size) ELSE 1 END
                   AND groups.size)
               OR (groups.state <> 'succeeded' AND groups.covered + groups.extra > 0)""",
    ),
    Invariant(
        "I7 waiting",
        "whoever has paid, or still may, waits in a group that runs",
        """SELECT orders.id, orders.state || ', its group ' || groups.state
           FROM orders JOIN groups ON groups.id = orders.group_id
           WHERE orders.state IN ('held', 'paid') AND groups.state NOT IN ('open', 'filled')""",
    ),
    Invariant(
        "I7 extra",
        "the units that members took in place of others are those they keep beyond what they wanted in any case",
        """SELECT groups.id, groups.extra || ', kept ' || sum(orders.settled_quantity - orders.min_quantity)
           FROM groups JOIN orders ON orders.group_id = groups.id AND orders.settled_quantity IS NOT NULL
           GROUP BY groups.id, groups.extra
           HAVING sum(orders.settled_quantity - orders.min_quantity) <> groups.extra""",
    ),
    Invariant(
        "I8",
        "no group is full and paid and still running; filled means that every seat is taken",
        f"""SELECT id, state || ', paid ' || paid || ', taken ' || taken || ' of ' || size FROM (
                SELECT groups.id, groups.state, groups.size, count(seats.number) AS taken,
                       sum(CASE WHEN orders.state IN ({PAID}) THEN 1 ELSE 0 END) AS paid
                FROM groups LEFT JOIN seats ON seats.group_id = groups.id
                            LEFT JOIN orders ON orders.id = seats.order_id
                WHERE groups.state IN ('open', 'filled') GROUP BY groups.id, groups.state, groups.size
            ) AS running
            WHERE paid = size OR (state = 'filled') <> (taken = size) OR taken = 0""",
    ),
    *(
        Invariant(f"I9 {kind}", f"the history of every {kind} is a path of its table", _paths(kind, table))
        for kind, (_, table) in MACHINES.items()
    ),
    Invariant(
        "I10",
        "nothing ends twice",
        """SELECT subject, to_state || ' ' || count(*) || ' times' FROM events
           WHERE type IN ('group.failed', 'group.succeeded', 'order.expired', 'order.cancelled', 'order.refunded',
                          'refund.succeeded', 'payment.captured', 'sale.ended', 'bargain.bought',
                          'bargain.expired', 'reward.matured', 'reward.reversed', 'payout.paid')
           GROUP BY subject, to_state HAVING count(*) > 1""",
    ),
    Invariant(
        "I12",
        "every transfer takes what it gives, in each currency",
        """SELECT transfers.id, coalesce(accounts.currency, 'nothing') || ': ' || coalesce(sum(postings.amount), 0)
           FROM transfers LEFT JOIN postings ON postings.transfer_id = transfers.id
           LEFT JOIN accounts ON accounts.id = postings.account_id
           GROUP BY transfers.id, accounts.currency HAVING coalesce(sum(postings.amount), 1) <> 0""",
    ),
    Invariant(
        "I12 accounts",
        "what is on an account is the sum of its lines, and what its last line says",
        """SELECT accounts.id, balance || ', lines ' || lines || '; sum ' || coalesce(sum(postings.amount), 0)
                  || ' of ' || count(postings.line)
           FROM accounts LEFT JOIN postings ON postings.account_id = accounts.id
           GROUP BY accounts.id, balance, lines
           HAVING coalesce(sum(postings.amount), 0) <> balance OR count(postings.line) <> lines
               OR coalesce(max(postings.line), 0) <> lines
               OR coalesce(max(CASE WHEN postings.line = lines THEN balance_after END), 0) <> balance""",
    ),
    Invariant(
        "I12 lines",
        "every line of an account goes on from the one before",
        """SELECT account_id, 'line ' || line FROM (
               SELECT account_id, line, balance_after - amount AS before,
                      coalesce(lag(balance_after) OVER (PARTITION BY account_id ORDER BY line), 0) AS last
               FROM postings
           ) AS history WHERE before <> last""",
    ),
    Invariant(
        "I12 limits",
        "no account is below its floor or above its ceiling; only the house may be below zero, and what is owed",
        """SELECT id, balance || '' FROM accounts
           WHERE balance < floor OR balance > ceiling OR (kind NOT IN ('house', 'owed') AND coalesce(floor, -1) < 0)
              OR (kind = 'owed' AND coalesce(ceiling, 1) > 0)""",
    ),
    Invariant(
        "I12 total",
        "all accounts together hold nothing, in each currency",
        """SELECT currency, sum(balance) || '' FROM accounts GROUP BY currency HAVING sum(balance) <> 0""",
    ),
    Invariant(
        "I12 owed",
        "nobody who owes has a balance",
        """SELECT balances.id, balances.balance || ' and ' || owed.balance FROM accounts AS balances
           JOIN accounts AS owed ON owed.member_id = balances.member_id AND owed.currency = balances.currency
           WHERE balances.kind = 'balance' AND owed.kind = 'owed' AND balances.balance > 0 AND owed.balance < 0""",
    ),
    Invariant(
        "I13",
        "an order that was paid keeps exactly one payment, any other none",
        f"""SELECT orders.id, orders.state || ', kept ' || count(payments.id)
            FROM orders LEFT JOIN payments ON payments.order_id = orders.id AND payments.outcome = 'kept'
            GROUP BY orders.id, orders.state
            HAVING count(payments.id)
                <> CASE WHEN orders.state IN ({PAID}) THEN 1 ELSE 0 END""",
    ),
    Invariant(
        "I14",
        "refunds of a payment equal what was promised, never more than was captured; refunded money in full",
        """SELECT payments.id, 'captured ' || coalesce(payments.captured_amount, 0)
                  || ', promised ' || payments.refunded_amount || ', refunds ' || coalesce(sum(refunds.amount), 0)
           FROM payments LEFT JOIN refunds ON refunds.payment_id = payments.id
           GROUP BY payments.id, payments.captured_amount, payments.refunded_amount, payments.outcome
           HAVING coalesce(sum(refunds.amount), 0) <> payments.refunded_amount
               OR payments.refunded_amount > coalesce(payments.captured_amount, 0)
               OR (payments.outcome = 'refunded' AND payments.refunded_amount <> payments.captured_amount)""",
    ),
    Invariant(
        "I14 order",
        "an order is refunding exactly while a refund of it is under way, and refunded after",
        """SELECT id, state || ', refunds under way ' || under_way FROM (
               SELECT orders.id, orders.state,
                      sum(CASE WHEN refunds.state <> 'succeeded' THEN 1 ELSE 0 END) AS under_way
               FROM orders JOIN refunds ON refunds.order_id = orders.id
               WHERE orders.state IN ('refunding', 'refunded') GROUP BY orders.id, orders.state
           ) AS refunded WHERE (state = 'refunding') <> (under_way > 0)""",
    ),
    Invariant(
        "I14 bills",
        "a day that was compared with a bill counts its differences, and one that waits has none",
        """SELECT reconciliations.id, coalesce(found, 0) || ', there are ' || count(differences.subject)
           FROM reconciliations LEFT JOIN differences ON differences.reconciliation_id = reconciliations.id
           GROUP BY reconciliations.id, found HAVING count(differences.subject) <> coalesce(found, 0)""",
    ),
    Invariant(
        "I15",
        "a confirmed order is refunded only by an operator",
        """SELECT orders.id, refunds.reason FROM orders JOIN refunds ON refunds.order_id = orders.id
           JOIN payments ON payments.id = refunds.payment_id
           WHERE orders.confirmed_at IS NOT NULL AND refunds.reason IN ('group_failed')""",
    ),
    Invariant(
        "I16",
        "paid = quoted = price × quantity − discount",
        """SELECT orders.id, 'quoted ' || orders.amount || ', kept ' || payments.captured_amount
           FROM orders JOIN payments ON payments.order_id = orders.id AND payments.outcome = 'kept'
           WHERE payments.captured_amount <> orders.amount OR payments.captured_currency <> orders.currency
              OR orders.amount <> orders.unit_price * orders.quantity - orders.discount""",
    ),
    Invariant(
        "I16 floor",
        "in a bargain sale one buys at a bargain's price, never below its floor",
        """SELECT orders.id, 'at ' || orders.unit_price || ' of ' || coalesce(orders.bargain_id, 'no bargain')
           FROM orders JOIN sales ON sales.id = orders.sale_id
           LEFT JOIN bargains ON bargains.id = orders.bargain_id AND bargains.sale_id = orders.sale_id
                             AND bargains.offer_id = orders.offer_id AND bargains.member_id = orders.member_id
           WHERE (sales.kind = 'bargain') <> (orders.bargain_id IS NOT NULL)
              OR (orders.bargain_id IS NOT NULL AND bargains.id IS NULL)
              OR orders.unit_price NOT BETWEEN bargains.floor_price AND bargains.start_price""",
    ),
    Invariant(
        "I16 gap",
        "an order gets back the gap to the price its group has closed on, once it is confirmed and not before",
        """SELECT orders.id, 'joined at ' || orders.unit_price || ', settled at '
                  || coalesce(orders.settled_price, orders.unit_price)
                  || ', gap ' || coalesce(sum(refunds.amount), 0)
           FROM orders LEFT JOIN refunds ON refunds.order_id = orders.id AND refunds.reason = 'gap'
           GROUP BY orders.id, orders.unit_price, orders.settled_price, orders.quantity, orders.settled_quantity,
                    orders.confirmed_at
           HAVING coalesce(sum(refunds.amount), 0) <> orders.unit_price * orders.quantity
                   - coalesce(orders.settled_price, orders.unit_price)
                   * coalesce(orders.settled_quantity, orders.quantity)
               OR (orders.settled_price IS NOT NULL AND orders.confirmed_at IS NULL)""",
    ),
    Invariant(
        "I17",
        "money kept for running groups is what their paid orders cost",
        """SELECT group_id, 'kept ' || kept || ', orders ' || owed FROM (
               SELECT orders.group_id, sum(CASE WHEN orders.state = 'paid' THEN orders.amount ELSE 0 END) AS owed,
                      coalesce(sum(payments.captured_amount), 0) AS kept
               FROM orders JOIN groups ON groups.id = orders.group_id AND groups.state IN ('open', 'filled')
               LEFT JOIN payments ON payments.order_id = orders.id AND payments.outcome = 'kept'
               GROUP BY orders.group_id
           ) AS money WHERE kept <> owed""",
    ),
    Invariant(
        "I18",
        "a reward is on its member's accounts while it is pending or matured, and nowhere after",
        f"""SELECT rewards.id, rewards.state || ' with ' || rewards.amount || ', booked ' || coalesce(sum(
                   CASE WHEN accounts.member_id = rewards.member_id THEN postings.amount ELSE 0 END), 0)
            FROM rewards LEFT JOIN transfers ON transfers.subject = rewards.id
            LEFT JOIN postings ON postings.transfer_id = transfers.id
            LEFT JOIN accounts ON accounts.id = postings.account_id
            GROUP BY rewards.id, rewards.state, rewards.amount
            HAVING coalesce(sum(
                CASE WHEN accounts.member_id = rewards.member_id THEN postings.amount ELSE 0 END), 0)
                <> CASE WHEN rewards.state IN ({quoted(BOOKED_STATES)}) THEN rewards.amount ELSE 0 END""",
    ),
    Invariant(
        "I18 once",
        "a reward accrues, matures and is reversed once",
        """SELECT subject, kind || ' ' || count(*) || ' times' FROM transfers
           WHERE kind IN ('accrued', 'withheld', 'released', 'matured', 'reversed', 'payout_asked', 'payout_paid',
                          'payout_returned', 'tip')
           GROUP BY subject, kind HAVING count(*) > 1""",
    ),
    Invariant(
        "I18 refunded",
        "no reward of a refunded order is left, once that was looked at",
        f"""SELECT rewards.id, rewards.state || ', its order ' || orders.state
            FROM rewards JOIN orders ON orders.id = rewards.order_id JOIN causes ON causes.order_id = orders.id
            WHERE rewards.state IN ({quoted(COUNTED_STATES)}) AND causes.handled = causes.version
              AND orders.state NOT IN ({PAID})""",
    ),
    Invariant(
        "I18 caps",
        "rewards keep to the caps of their policy, and nobody is rewarded for their own order",
        f"""SELECT rewards.order_id, reward_policies.id || ': ' || sum(rewards.amount) || ' of ' || order_cap
            FROM rewards JOIN reward_policies ON reward_policies.id = rewards.policy_id
            WHERE rewards.state IN ({quoted(COUNTED_STATES)})
            GROUP BY rewards.order_id, reward_policies.id, order_cap HAVING sum(rewards.amount) > order_cap
            UNION ALL
            SELECT rewards.member_id, reward_policies.id || ': ' || sum(rewards.amount) || ' of ' || day_cap
            FROM rewards JOIN reward_policies ON reward_policies.id = rewards.policy_id
            WHERE rewards.state IN ({quoted(COUNTED_STATES)})
            GROUP BY rewards.member_id, rewards.day, reward_policies.id, day_cap
            HAVING sum(rewards.amount) > day_cap
            UNION ALL
            SELECT rewards.id, 'for an order of their own' FROM rewards
            JOIN orders ON orders.id = rewards.order_id AND orders.member_id = rewards.member_id""",
    ),
    Invariant(
        "I34",
        "what is in transit are the payouts that are under way",
        f"""SELECT accounts.id, balance || ', under way ' || coalesce(sum(payouts.amount), 0) FROM accounts
            LEFT JOIN payouts ON payouts.member_id = accounts.member_id AND payouts.currency = accounts.currency
                             AND payouts.state IN ({quoted(RESERVED_STATES)})
            WHERE accounts.kind = 'payouts' GROUP BY accounts.id, balance
            HAVING coalesce(sum(payouts.amount), 0) <> balance""",
    ),
    Invariant(
        "I34 paid",
        "what was paid out, and its fees, are the payouts that were paid",
        """SELECT kind || ' ' || accounts.currency, balance || ', payouts ' || coalesce(sum(
                  CASE WHEN kind = 'fees' THEN payouts.fee ELSE payouts.amount - payouts.fee END), 0)
           FROM accounts LEFT JOIN payouts ON payouts.currency = accounts.currency AND payouts.state = 'paid'
           WHERE kind IN ('fees', 'paid_out') GROUP BY accounts.id, kind, accounts.currency, balance
           HAVING coalesce(sum(
               CASE WHEN kind = 'fees' THEN payouts.fee ELSE payouts.amount - payouts.fee END), 0) <> balance""",
    ),
    Invariant(
        "I35",
        "every tip is booked, from its sender to its receiver",
        """SELECT tips.id, tips.amount || ', booked ' || coalesce(sum(
                  CASE WHEN accounts.member_id = tips.receiver_id THEN postings.amount ELSE 0 END), 0)
           FROM tips LEFT JOIN transfers ON transfers.subject = tips.id
           LEFT JOIN postings ON postings.transfer_id = transfers.id
           LEFT JOIN accounts ON accounts.id = postings.account_id
           GROUP BY tips.id, tips.amount
           HAVING coalesce(sum(
               CASE WHEN accounts.member_id = tips.receiver_id THEN postings.amount ELSE 0 END), 0)
               <> tips.amount""",
    ),
    Invariant(
        "I19 code",
        "no order names an invite of its own member's",
        """SELECT orders.id, orders.invite_code FROM orders JOIN invites ON invites.code = orders.invite_code
           WHERE invites.member_id = orders.member_id""",
    ),
    Invariant(
        "I20 cuts",
        "the cuts of a bargain add up to what its price has lost, and the last slot reaches the floor",
        """SELECT bargains.id, 'from ' || start_price || ' to ' || price || ', ' || taken || ' of '
                  || bargains.slots || '; ' || count(cuts.number) || ' cuts of ' || coalesce(sum(cuts.amount), 0)
           FROM bargains LEFT JOIN cuts ON cuts.bargain_id = bargains.id
           GROUP BY bargains.id, start_price, floor_price, price, bargains.slots, taken
           HAVING start_price - coalesce(sum(cuts.amount), 0) <> price OR count(cuts.number) <> taken
               OR coalesce(max(cuts.number), 0) <> taken OR count(DISTINCT cuts.number) < count(cuts.number)
               OR (price = floor_price) <> (taken = bargains.slots)""",
    ),
    Invariant(
        "I20 helps",
        "a helper helps once in a bargain, never in their own, and each help counts among those of its day",
        """SELECT cuts.bargain_id, cuts.member_id || ': ' || count(*) || ' cuts, last part ' || max(part)
           FROM cuts JOIN bargains ON bargains.id = cuts.bargain_id
           GROUP BY cuts.bargain_id, cuts.member_id, bargains.member_id, bargains.sale_id
           HAVING cuts.member_id = bargains.member_id OR min(part) <> 1 OR max(part) <> count(*)
               OR max(number) - min(number) + 1 <> count(*)
               OR 1 <> (SELECT count(*) FROM helps WHERE helps.bargain_id = cuts.bargain_id
                           AND helps.member_id = cuts.member_id AND helps.sale_id = bargains.sale_id)
           UNION ALL
           SELECT helps.bargain_id, helps.member_id || ': counted, nothing cut' FROM helps
           LEFT JOIN cuts ON cuts.bargain_id = helps.bargain_id AND cuts.member_id = helps.member_id
           WHERE cuts.number IS NULL""",
    ),
    Invariant(
        "I20 orders",
        "a bargain is ordered while an order at its price waits for its payment, and bought once it is paid",
        f"""SELECT bargains.id, bargains.state || ' at ' || bargains.price || ', orders ' || count(orders.id)
            FROM bargains LEFT JOIN orders ON orders.bargain_id = bargains.id
                 AND (orders.state IN ({ACTIVE}) OR orders.confirmed_at IS NOT NULL)
            GROUP BY bargains.id, bargains.state, bargains.price
            HAVING count(orders.id) <> CASE WHEN bargains.state IN ('ordered', 'bought') THEN 1 ELSE 0 END
                OR sum(CASE WHEN orders.unit_price = bargains.price AND orders.quantity = 1
                             AND (orders.confirmed_at IS NOT NULL) = (bargains.state = 'bought')
                            THEN 0 ELSE 1 END) <> CASE WHEN count(orders.id) = 0 THEN 1 ELSE 0 END""",
    ),
    Invariant(
        "I24 tickets",
        "an order in a flash sale was bought with a ticket of its own, or made for an entry",
        """SELECT orders.id, 'bought without a ticket' FROM orders JOIN sales ON sales.id = orders.sale_id
           WHERE sales.kind = 'flash' AND orders.ticket IS NULL AND orders.request_key NOT LIKE 'entry %'
           UNION ALL
           SELECT sale_id, ticket || ': ' || count(*) || ' orders' FROM orders WHERE ticket IS NOT NULL
           GROUP BY sale_id, ticket HAVING count(*) > 1""",
    ),
    Invariant(
        "I27 orders",
        "every order is of a sale, an offer, a group and a member that are there",
        """SELECT orders.id, 'refers to nothing' FROM orders
           LEFT JOIN sales ON sales.id = orders.sale_id
           LEFT JOIN offers ON offers.id = orders.offer_id AND offers.sale_id = orders.sale_id
           LEFT JOIN groups ON groups.id = orders.group_id AND groups.sale_id = orders.sale_id
           LEFT JOIN members ON members.id = orders.member_id
           LEFT JOIN invites ON invites.code = orders.invite_code
           WHERE sales.id IS NULL OR offers.id IS NULL OR groups.id IS NULL OR members.id IS NULL
              OR (orders.invite_code IS NOT NULL AND invites.code IS NULL)""",
    ),
    Invariant(
        "I27 places",
        "every place is taken by an order that says the same of it",
        """SELECT 'unit ' || units.offer_id || ' ' || units.number, units.order_id
           FROM units LEFT JOIN orders ON orders.id = units.order_id AND orders.offer_id = units.offer_id
           WHERE orders.id IS NULL
           UNION ALL
           SELECT 'seat ' || seats.group_id || ' ' || seats.number, seats.order_id
           FROM seats LEFT JOIN orders ON orders.id = seats.order_id AND orders.group_id = seats.group_id
                                      AND orders.member_id = seats.member_id AND orders.seat_number = seats.number
           WHERE orders.id IS NULL
           UNION ALL
           SELECT 'purchase ' || purchases.member_id || ' ' || purchases.number, purchases.order_id
           FROM purchases LEFT JOIN orders ON orders.id = purchases.order_id
                                          AND orders.sale_id = purchases.sale_id
                                          AND orders.member_id = purchases.member_id
           WHERE orders.id IS NULL""",
    ),
    Invariant(
        "I31",
        "the slots of a series do not overlap",
        """SELECT earlier.id, later.id FROM sales AS earlier
           JOIN sales AS later ON later.series_id = earlier.series_id AND later.opens_at > earlier.opens_at
           WHERE later.opens_at < earlier.closes_at""",
    ),
    Invariant(
        "I32",
        "a reminder that was told has its event",
        """SELECT reminders.sale_id, reminders.member_id FROM reminders
           LEFT JOIN events ON events.subject = reminders.sale_id AND events.member_id = reminders.member_id
                           AND events.type = 'reminder.due' AND events.created_at = reminders.told_at
           WHERE reminders.told_at IS NOT NULL AND events.id IS NULL""",
    ),
    Invariant(
        "I27 redemptions",
        "every redemption is of an active order that says the same of it, and every discount of one has its own",
        f"""SELECT 'redemption ' || redemptions.coupon_id || ' ' || redemptions.number, redemptions.order_id
            FROM redemptions LEFT JOIN coupons ON coupons.id = redemptions.coupon_id
            LEFT JOIN orders ON orders.id = redemptions.order_id AND orders.coupon_code = coupons.code
                            AND orders.member_id = redemptions.member_id AND orders.discount > 0
                            AND orders.state IN ({ACTIVE})
            WHERE orders.id IS NULL
            UNION ALL
            SELECT orders.id, orders.state || ' with ' || orders.coupon_code || ', which it does not redeem'
            FROM orders LEFT JOIN redemptions ON redemptions.order_id = orders.id
            WHERE orders.coupon_code IS NOT NULL AND orders.state IN ({ACTIVE}) AND redemptions.order_id IS NULL""",
    ),
    Invariant(
        "I33",
        "redemptions of a coupon are no more than its total, all numbers in range",
        """SELECT coupons.id, count(*) || ' of ' || coupons.total
           FROM coupons JOIN redemptions ON redemptions.coupon_id = coupons.id GROUP BY coupons.id, coupons.total
           HAVING count(*) > coupons.total OR min(redemptions.number) < 1
               OR max(redemptions.number) > coupons.total OR count(DISTINCT redemptions.number) < count(*)""",
    ),
    Invariant(
        "I33 member",
        "a member's redemptions of a coupon are no more than its limit",
        """SELECT redemptions.member_id, coupons.id || ': ' || count(*) || ' of ' || coupons.member_limit
           FROM coupons JOIN redemptions ON redemptions.coupon_id = coupons.id
           GROUP BY redemptions.member_id, coupons.id, coupons.member_limit
           HAVING count(*) > coupons.member_limit""",
    ),
    Invariant(
        "I29",
        "who was offered something has that order: of this member, in this sale, of this offer and quantity",
        f"""SELECT entries.id, entries.state || ', order ' || coalesce(entries.order_id, 'none')
            FROM entries LEFT JOIN orders ON orders.id = entries.order_id AND orders.sale_id = entries.sale_id
                AND orders.offer_id = entries.offer_id AND orders.member_id = entries.member_id
                AND orders.quantity = entries.quantity AND orders.request_key = 'entry ' || entries.id
            WHERE entries.state IN ({quoted(SERVED_ENTRY_STATES)}) AND (orders.id IS NULL
               OR (entries.state = 'taken' AND orders.paid_at IS NULL)
               OR (entries.state = 'lapsed' AND orders.state NOT IN ('expired', 'cancelled')))""",
    ),
    Invariant(
        "I29 orders",
        "an order that was made for an entry has its entry",
        """SELECT orders.id, orders.request_key FROM orders
           LEFT JOIN entries ON 'entry ' || entries.id = orders.request_key AND entries.member_id = orders.member_id
           WHERE orders.request_key LIKE 'entry %' AND entries.id IS NULL""",
    ),
    Invariant(
        "I29 end",
        "nobody waits in a sale that has ended",
        """SELECT entries.id, 'waits since ' || entries.created_at FROM entries
           JOIN sales ON sales.id = entries.sale_id WHERE entries.state = 'waiting' AND sales.state = 'ended'""",
    ),
    Invariant(
        "I29 draw",
        "who was in a draw when it was drawn has a rank of their own, from 1 without gaps, and nobody before it",
        """SELECT entries.id, 'no rank' FROM entries JOIN sales ON sales.id = entries.sale_id
           WHERE entries.line_id = sales.id AND sales.drawn_at IS NOT NULL
             AND entries.state <> 'left' AND entries.rank IS NULL
           UNION ALL
           SELECT entries.offer_id, count(*) || ' ranks up to ' || max(entries.rank)
           FROM entries JOIN sales ON sales.id = entries.sale_id WHERE entries.rank IS NOT NULL
           GROUP BY entries.offer_id, sales.drawn_at
           HAVING count(DISTINCT entries.rank) <> max(entries.rank) OR sales.drawn_at IS NULL""",
    ),
    Invariant(
        "I19 self",
        "nobody brings themselves",
        "SELECT member_id, 'in ' || scope FROM referrals WHERE inviter_id = member_id",
    ),
    Invariant(
        "I19 circle",
        "whoever was brought was brought, in the end, by somebody whom nobody brought",
        """WITH RECURSIVE reached(scope, member_id) AS (
               SELECT referrals.scope, referrals.member_id FROM referrals
               LEFT JOIN referrals AS above
                   ON above.scope = referrals.scope AND above.member_id = referrals.inviter_id
               WHERE above.member_id IS NULL
               UNION
               SELECT referrals.scope, referrals.member_id FROM reached
               JOIN referrals ON referrals.scope = reached.scope AND referrals.inviter_id = reached.member_id)
           SELECT member_id, scope FROM referrals EXCEPT SELECT member_id, scope FROM reached""",
    ),
    Invariant(
        "I19 once",
        "a member is brought once in a scope, by who made the invite",
        """SELECT member_id, scope || ': ' || count(*) FROM referrals GROUP BY scope, member_id HAVING count(*) > 1
           UNION ALL
           SELECT referrals.member_id, 'by invite ' || referrals.code || ' of ' || invites.member_id
           FROM referrals JOIN invites ON invites.code = referrals.code
           WHERE invites.member_id <> referrals.inviter_id""",
    ),
    Invariant(
        "I19 uses",
        "an invite brings no more members than it may, and is used up when it has brought as many",
        """SELECT invites.code, count(uses.number) || ' of ' || coalesce(invites.max_uses, 0)
           FROM invites LEFT JOIN uses ON uses.code = invites.code
           GROUP BY invites.code, invites.max_uses, invites.used_up_at
           HAVING count(uses.number) > coalesce(invites.max_uses, 0) OR max(uses.number) > count(uses.number)
               OR (invites.used_up_at IS NOT NULL) <> (count(uses.number) = coalesce(invites.max_uses, -1))
           UNION ALL
           SELECT referrals.code, 'has no place for ' || referrals.member_id
           FROM referrals JOIN invites ON invites.code = referrals.code AND invites.max_uses IS NOT NULL
           LEFT JOIN uses ON uses.code = referrals.code AND uses.member_id = referrals.member_id
           WHERE uses.number IS NULL""",
    ),
    Invariant(
        "I36",
        "a community counts its members as they are",
        """SELECT communities.id, member_count || ' counted, ' || count(memberships.member_id)
           FROM communities LEFT JOIN memberships
               ON memberships.community_id = communities.id AND memberships.state = 'active'
           GROUP BY communities.id, member_count HAVING member_count <> count(memberships.member_id)""",
    ),
    Invariant(
        "I36 path",
        "the history of every membership is a path of its table, and its last event tells its state",
        f"""SELECT member_id, community_id || ': ' || coalesce(from_state, '-') || ' > ' || to_state FROM (
                SELECT community_id, member_id, from_state, to_state, lag(to_state)
                    OVER (PARTITION BY community_id, member_id ORDER BY id) AS last_state
                FROM events WHERE to_state IS NOT NULL AND type LIKE 'membership.%'
            ) AS history
            WHERE coalesce(from_state, '-') <> coalesce(last_state, '-')
               OR (from_state IS NULL AND to_state NOT IN ('active', 'applied'))
               OR (from_state IS NOT NULL AND from_state || '>' || to_state NOT IN ({MEMBERSHIP_STEPS}))
            UNION ALL
            SELECT memberships.member_id, memberships.community_id || ': ' || state || ', last event ' || to_state
            FROM memberships JOIN (
                SELECT community_id, member_id, to_state,
                       row_number() OVER (PARTITION BY community_id, member_id ORDER BY id DESC) AS back
                FROM events WHERE to_state IS NOT NULL AND type LIKE 'membership.%'
            ) AS told ON told.community_id = memberships.community_id
                     AND told.member_id = memberships.member_id AND back = 1
            WHERE to_state <> state""",
    ),
    Invariant(
        "I37",
        "every order of a plan that was paid is a period of its member, which ends when its money goes back",
        f"""SELECT orders.id, orders.state || ', ' || coalesce(periods.member_id, 'no period')
            FROM orders JOIN sales ON sales.id = orders.sale_id AND sales.is_plan
            LEFT JOIN periods ON periods.order_id = orders.id
                AND periods.community_id = sales.community_id AND periods.member_id = orders.member_id
            WHERE (orders.paid_at IS NOT NULL) <> (periods.order_id IS NOT NULL)
               OR NOT periods.is_due
                  AND (orders.state IN ({PAID})) <> (periods.ended_at IS NULL)
            UNION ALL
            SELECT periods.order_id, 'of no order of a plan'
            FROM periods LEFT JOIN orders ON orders.id = periods.order_id
            LEFT JOIN sales ON sales.id = orders.sale_id AND sales.is_plan WHERE sales.id IS NULL""",
    ),
    Invariant(
        "I40",
        "a post counts the comments to it that are shown, and posts and comments the reactions to them",
        """SELECT posts.id, 'counts ' || comment_count || ' comments, shown ' || count(comments.id)
           FROM posts LEFT JOIN comments ON comments.post_id = posts.id
                AND comments.hidden_at IS NULL AND comments.removed_at IS NULL
           WHERE posts.removed_at IS NULL
           GROUP BY posts.id, comment_count HAVING count(comments.id) <> comment_count
           UNION ALL
           SELECT subjects.id, 'counts ' || reaction_count || ' reactions, made ' || count(reactions.member_id)
           FROM (SELECT id, reaction_count FROM posts UNION ALL SELECT id, reaction_count FROM comments) AS subjects
           LEFT JOIN reactions ON reactions.subject_id = subjects.id
           GROUP BY subjects.id, reaction_count HAVING count(reactions.member_id) <> reaction_count""",
    ),
    Invariant(
        "I41",
        "a question is answered since its first answer, and nothing else is",
        """SELECT posts.id, kind || ', answered ' || coalesce(answered_at || '', 'never')
           FROM posts LEFT JOIN comments ON comments.post_id = posts.id AND comments.is_answer
           GROUP BY posts.id, kind, answered_at
           HAVING coalesce(min(comments.created_at) <> answered_at,
                           count(comments.id) > 0 OR answered_at IS NOT NULL)
               OR (count(comments.id) > 0 AND kind <> 'question')""",
    ),
    Invariant(
        "I42",
        "a streak goes on from the check-in before it, or begins",
        """SELECT id, 'streak ' || streak || ' after ' || last FROM (
               SELECT id, streak, coalesce(lag(streak) OVER (
                   PARTITION BY community_id, author_id ORDER BY day), 0) AS last
               FROM posts WHERE kind = 'check_in'
           ) AS history WHERE streak <> 1 AND streak <> last + 1""",
    ),
    Invariant(
        "I43",
        "a job is with whom it was handed to last, through hands that follow each other from who offered it",
        """SELECT jobs.id, state || ', with ' || coalesce(holder_id, 'nobody') || ' after ' || count(hands.number)
           FROM jobs LEFT JOIN hands ON hands.post_id = jobs.id GROUP BY jobs.id, state, holder_id
           HAVING coalesce(max(hands.number), 0) <> count(hands.number)
               OR (holder_id IS NULL) <> (count(hands.number) = 0)
           UNION ALL
           SELECT jobs.id, 'hand ' || hands.number || ' from ' || hands.giver_id
           FROM jobs JOIN hands ON hands.post_id = jobs.id JOIN posts ON posts.id = jobs.id
           LEFT JOIN hands AS before ON before.post_id = jobs.id AND before.number = hands.number - 1
           LEFT JOIN hands AS after ON after.post_id = jobs.id AND after.number = hands.number + 1
           WHERE hands.giver_id <> coalesce(before.receiver_id, posts.author_id)
              OR (after.number IS NULL AND hands.receiver_id <> jobs.holder_id)""",
    ),
    Invariant(
        "I44",
        "of what was taken back or forgotten no words are left, and it names nobody",
        """SELECT id, 'has words' FROM posts WHERE removed_at IS NOT NULL AND body <> ''
           UNION ALL SELECT id, 'has words' FROM comments WHERE removed_at IS NOT NULL AND body <> ''
           UNION ALL
           SELECT mentions.subject_id, 'names ' || mentions.member_id FROM mentions
           JOIN (SELECT id, removed_at FROM posts UNION ALL SELECT id, removed_at FROM comments) AS subjects
               ON subjects.id = mentions.subject_id AND subjects.removed_at IS NOT NULL""",
    ),
    Invariant(
        "I45",
        "a push reached no more members at once than it says, each at a place of their day",
        """SELECT pushes.id, count(notices.id) || ' of ' || pushes.delivered
           FROM pushes JOIN notices ON notices.push_id = pushes.id
           GROUP BY pushes.id, pushes.delivered HAVING count(notices.id) > pushes.delivered""",
    ),
    Invariant(
        "I45 twice",
        "what a member was told at once does not wait for their digest",
        """SELECT overflows.push_id, 'told to ' || overflows.member_id FROM overflows
           JOIN notices ON notices.push_id = overflows.push_id AND notices.member_id = overflows.member_id""",
    ),
    Invariant(
        "I46",
        "an endpoint has a lane for each subject of which something waits for it, and no other",
        """SELECT deliveries.endpoint_id, deliveries.subject || ' waits in no lane'
           FROM deliveries JOIN endpoints ON endpoints.id = deliveries.endpoint_id AND endpoints.state <> 'removed'
           LEFT JOIN lanes ON lanes.endpoint_id = deliveries.endpoint_id AND lanes.subject = deliveries.subject
           WHERE deliveries.delivered_at IS NULL AND lanes.subject IS NULL
           UNION ALL
           SELECT lanes.endpoint_id, lanes.subject || ' has a lane in which nothing waits'
           FROM lanes LEFT JOIN deliveries ON deliveries.endpoint_id = lanes.endpoint_id
               AND deliveries.subject = lanes.subject AND deliveries.delivered_at IS NULL
           WHERE deliveries.event_id IS NULL""",
    ),
    *(
        Invariant(f"I26 {kind}", f"the last event of every {kind} tells its state", _told(kind, plural))
        for kind, (plural, _) in MACHINES.items()
    ),
]


async def check_invariants(state: State) -> InvariantsPublic:
    """Run every invariant on one snapshot of the rows."""
    async with state.database.snapshot() as session:
        violations = await find_violations(session)
    return InvariantsPublic(
        ok=not violations,
        checked=[invariant.id for invariant in INVARIANTS],
        violations=violations,
    )


async def find_violations(session: AsyncSession) -> list[Violation]:
    """What breaks an invariant, at most `LIMIT` of each."""
    found = []
    for invariant in INVARIANTS:
        rows = await (await session.connection()).execute(text(f"{invariant.query} LIMIT {LIMIT}"))
        found += [
            Violation(invariant=invariant.id, rule=invariant.rule, subject=str(subject), detail=str(detail))
            for subject, detail in rows
        ]
    return found
