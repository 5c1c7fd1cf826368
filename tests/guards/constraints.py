"""Every key, CHECK, foreign key and NOT NULL of the tables, and for each the statement that it alone refuses."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import CheckConstraint, Constraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

import app.models as _tables

assert _tables  # importing it fills the metadata
FORMAT = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
NOBODY = "'nobody'"
OTHER_ORDER = "(SELECT max(id) FROM orders WHERE state = 'cancelled')"
OTHER_MEMBER = "(SELECT max(id) FROM members WHERE id NOT IN (SELECT member_id FROM seats))"

NO_MEMBER = "(SELECT max(id) FROM members WHERE id NOT IN (SELECT member_id FROM memberships))"
OTHER_NUMBER = "CASE WHEN number = 1 THEN 2 ELSE 1 END"
OTHER_SKU = "(SELECT max(id) FROM skus WHERE id NOT IN (SELECT sku_id FROM offers))"
OTHER_PUSH = "(SELECT max(id) FROM pushes WHERE state = 'scheduled')"


@dataclass(frozen=True, slots=True)
class Offence:
    """A change of one row among those of `where`; columns are set to SQL expressions."""

    where: str = "true"
    sets: dict[str, str] = field(default_factory=dict)


def offence(where: str = "true", **sets: str) -> Offence:
    return Offence(where, sets)


COPIES = {
    "pk_members": offence(subject=NOBODY),
    "pk_identities": offence(member_id=OTHER_MEMBER),
    "pk_invites": offence(day="NULL"),
    "uq_invites_day": offence("day IS NOT NULL", code=NOBODY),
    "pk_uses": offence(member_id=OTHER_MEMBER),
    "uq_uses_member": offence(number="number + 1"),
    "pk_operator_keys": offence(key_hash=NOBODY),
    "uq_operator_keys_key_hash": offence(id=NOBODY),
    "pk_offers": offence(sku_id=OTHER_SKU),
    "uq_offers_sale_id_sku_id": offence(id=NOBODY),
    "pk_seats": offence(member_id=OTHER_MEMBER, order_id=OTHER_ORDER),
    "uq_seats_group_id_member_id": offence("number = 1 AND size = 3", number="3", order_id=OTHER_ORDER),
    "pk_purchases": offence(order_id=OTHER_ORDER),
    "pk_coupons": offence(code=NOBODY),
    "uq_coupons_code": offence(id=NOBODY),
    "pk_redemptions": offence(member_id=NOBODY, order_id=NOBODY),
    "uq_redemptions_coupon_id_member_id_member_number": offence(number=OTHER_NUMBER, order_id=NOBODY),
    "uq_redemptions_order_id": offence(number=OTHER_NUMBER, member_id=NOBODY),
    "pk_orders": offence("bargain_id IS NULL", request_key=NOBODY),
    "uq_orders_sale_id_member_id_request_key": offence("bargain_id IS NULL", id=NOBODY),
    "uq_orders_bargain": offence("bargain_id IS NOT NULL", id=NOBODY, request_key=NOBODY),
    "pk_bargains": offence("state = 'bought'"),
    "uq_bargains_running": offence("state = 'cutting'", id=NOBODY),
    "pk_cuts": offence(part="part + 1"),
    "uq_cuts_bargain_id_member_id_part": offence(number="slots"),
    "uq_orders_ticket": offence("ticket IS NOT NULL", id=NOBODY, request_key=NOBODY),
    "pk_payments": offence("state = 'created'", request_key=NOBODY),
    "uq_payments_order_id_request_key": offence("state = 'created'", id=NOBODY),
    "uq_payments_kept": offence("outcome = 'kept'", id=NOBODY, request_key=NOBODY),
    "uq_sales_slot": offence("series_id IS NOT NULL", id=NOBODY),
    "pk_reconciliations": offence(provider=NOBODY),
    "uq_reconciliations_provider_day": offence(id=NOBODY),
    "pk_refunds": offence(reason="'late'"),
    "uq_refunds_payment_id_reason": offence(id=NOBODY),
    "pk_entries": offence("state = 'left'"),
    "uq_entries_sale_id_offer_id_rank": offence(
        "rank IS NOT NULL AND state = 'waiting'", id=NOBODY, state="'left'"
    ),
    "uq_entries_open": offence("state = 'waiting' AND rank IS NULL", id=NOBODY),
    "pk_transfers": offence(cause=NOBODY),
    "uq_transfers_cause": offence(id=NOBODY),
    "pk_postings": offence(line="line + 1000000"),
    "uq_postings_account_id_line": offence(number="number + 10"),
    "pk_payouts": offence(request_key=NOBODY),
    "uq_payouts_member_id_request_key": offence(id=NOBODY),
    "pk_tips": offence(number="20", request_key=NOBODY),
    "uq_tips_sender_id_day_number": offence(id=NOBODY, request_key=NOBODY),
    "uq_tips_sender_id_request_key": offence(id=NOBODY, number="20"),
    "pk_rewards": offence(number="9", member_id=OTHER_MEMBER),
    "uq_rewards_policy_id_order_id_level_number": offence(id=NOBODY, member_id=OTHER_MEMBER),
    "uq_rewards_policy_id_order_id_member_id": offence(id=NOBODY, number="9"),
    "pk_notices": offence("kind = 'order'"),
    "uq_notices_member_id_day_number": offence("kind = 'push'", id=NOBODY, push_id=OTHER_PUSH),
    "uq_notices_push": offence("kind = 'push'", id=NOBODY, day="'2000-01-01'"),
    "uq_notices_digest": offence("kind = 'digest'", id=NOBODY),
    "pk_pushes": offence(request_key=NOBODY),
    "uq_pushes_sender_id_request_key": offence(id=NOBODY),
    "pk_memberships": offence("role = 'member'"),
    "uq_memberships_owner": offence("role = 'owner'", member_id=NO_MEMBER),
    "pk_posts": offence("kind = 'text'", request_key=NOBODY),
    "uq_posts_author_id_request_key": offence("kind = 'text'", id=NOBODY),
    "uq_posts_check_in": offence("kind = 'check_in'", id=NOBODY, request_key=NOBODY),
    "pk_comments": offence(request_key=NOBODY),
    "uq_comments_author_id_request_key": offence(id=NOBODY),
    "pk_reports": offence(subject_id=NOBODY),
    "uq_reports_subject_id_reporter_id": offence(id=NOBODY),
    "pk_bindings": offence("chat_id IS NULL"),
    "uq_bindings_chat": offence("state = 'active' AND chat_id IS NOT NULL", id=NOBODY),
    "pk_chat_numbers": offence(subject=NOBODY),
    "uq_chat_numbers_subject": offence(number="number + 1000000"),
    "pk_messages": offence(message_id=NOBODY),
    "uq_messages_binding_id_message_id": offence(id=NOBODY),
    "pk_outgoing": offence("push_id IS NULL"),
    "uq_outgoing_push": offence("push_id IS NOT NULL", id=NOBODY),
    "pk_sandbox_charges": offence(token=NOBODY),
    "uq_sandbox_charges_token": offence(id=NOBODY),
}
"""What else has to differ for a copied row to offend this key alone. Keys that are not named here: nothing."""

CHANGES = {
    "ck_sales_window": offence(closes_at="opens_at"),
    "ck_sales_group_size": offence("kind = 'group'", kind="'flash'"),
    "ck_sales_bargain": offence("kind = 'group'", kind="'bargain'", group_size="1"),
    "ck_sales_ttls": offence(hold_ttl_seconds="group_ttl_seconds + 1"),
    "ck_sales_min_size": offence(min_size="group_size + 1"),
    "ck_reminders_minutes_before": offence(minutes_before="0"),
    "ck_reminders_told_in_time": offence("told_at IS NOT NULL", remind_at="told_at + interval '1 second'"),
    "ck_sales_order_limit": offence(order_limit="0"),
    "ck_sales_member_limit": offence(member_limit="0"),
    "ck_sales_sale_kind": offence("kind = 'group'", kind=NOBODY, group_size="1"),
    "ck_sales_sale_state": offence(state=NOBODY),
    "ck_sales_allocation": offence("draws_at IS NULL", allocation=NOBODY),
    "ck_sales_draws_at": offence("kind = 'flash' AND draws_at IS NULL", draws_at="opens_at + interval '1 second'"),
    "ck_sales_draw_window": offence("allocation = 'draw'", draws_at="opens_at"),
    "ck_sales_max_weight": offence(max_weight="6"),
    "ck_sales_seed": offence("allocation = 'draw' AND state <> 'draft'", seed="NULL"),
    "ck_sales_drawn_at": offence("draws_at IS NULL", drawn_at="opens_at", entries_hash=NOBODY),
    "ck_sales_entries_hash": offence("drawn_at IS NOT NULL", entries_hash="NULL"),
    "ck_offers_price": offence(price="0"),
    "ck_offers_list_price": offence(list_price="price - 1"),
    "ck_offers_solo_price": offence(solo_price="price - 1"),
    "ck_offers_stock": offence(stock="0"),
    "ck_invites_invite_channel": offence(channel=NOBODY),
    "ck_invites_day_number": offence(day_number="101"),
    "ck_invites_max_uses": offence(max_uses="0"),
    "ck_uses_number": offence(number="max_uses + 1"),
    "ck_touches_times": offence(first_at="last_at + interval '1 second'"),
    "ck_touches_taps": offence(taps="0"),
    "ck_touches_touch_kind": offence(kind=NOBODY),
    "ck_referrals_inviter_id": offence(inviter_id="member_id"),
    "ck_referrals_invite_channel": offence(channel=NOBODY),
    "ck_referrals_touch_kind": offence(kind=NOBODY),
    "ck_refusals_refusal_reason": offence(reason=NOBODY),
    "ck_community_days_counted": offence(counted="version + 1"),
    "ck_community_days_score": offence(score="101"),
    "ck_causes_handled": offence(handled="version + 1"),
    "ck_causes_counted": offence(counted="version + 1"),
    "ck_marks_mark_kind": offence(kind=NOBODY),
    "ck_members_seen_by": offence(seen_by_friends=NOBODY),
    "ck_members_sweep_at": offence("erased_at IS NULL", sweep_at="created_at"),
    "ck_groups_size": offence(size="501"),
    "ck_groups_ended": offence("state = 'open'", ended_at="deadline_at"),
    "ck_groups_succeeded_in_time": offence("state = 'succeeded'", ended_at="deadline_at + interval '1 second'"),
    "ck_groups_failed_with_reason": offence("state = 'failed'", fail_reason="NULL"),
    "ck_groups_group_state": offence("state = 'open'", state=NOBODY),
    "ck_groups_fail_reason": offence("state = 'failed'", fail_reason=NOBODY),
    "ck_groups_merged_into": offence("state = 'failed'", merged_into="id"),
    "ck_groups_filled_up": offence(covered="size"),
    "ck_seats_number": offence(number="size + 1"),
    "ck_units_number": offence(number="stock + 1"),
    "ck_purchases_number": offence(number="member_limit + 1"),
    "ck_coupons_window": offence(closes_at="opens_at"),
    "ck_coupons_value": offence(value="0"),
    "ck_coupons_max_discount": offence("kind = 'fixed'", max_discount="1"),
    "ck_coupons_min_spend": offence(min_spend="-1"),
    "ck_coupons_total": offence(total="0"),
    "ck_coupons_member_limit": offence(member_limit="0"),
    "ck_coupons_coupon_kind": offence("kind = 'fixed'", kind=NOBODY),
    "ck_redemptions_number": offence(number="total + 1"),
    "ck_redemptions_member_number": offence(member_number="member_limit + 1"),
    "ck_orders_amount": offence(amount="amount - 1"),
    "ck_orders_discount": offence("discount = 0", discount="-1", amount="amount + 1"),
    "ck_orders_quantity": offence(quantity="-1", unit_price="-amount"),
    "ck_orders_settled_price": offence(settled_price="unit_price + 1"),
    "ck_orders_min_quantity": offence(min_quantity="0"),
    "ck_orders_settled_quantity": offence(settled_quantity="quantity + 1", min_quantity="1"),
    "ck_orders_on_unfilled": offence(on_unfilled=NOBODY),
    "ck_orders_paid_at": offence("state = 'confirmed'", paid_at="NULL"),
    "ck_orders_confirmed_at": offence("state = 'confirmed'", confirmed_at="NULL"),
    "ck_orders_order_state": offence("state = 'confirmed'", state=NOBODY),
    "ck_bargains_price": offence("state = 'cutting'", price="start_price + 1"),
    "ck_bargains_slots": offence("state = 'cutting' AND taken = 0", slots="1"),
    "ck_bargains_taken": offence("state = 'cutting'", taken="-1"),
    "ck_bargains_floor": offence("state = 'cutting'", price="floor_price"),
    "ck_bargains_won": offence("state = 'cutting'", state="'won'"),
    "ck_bargains_bargain_state": offence("state = 'bought'", state=NOBODY),
    "ck_cuts_number": offence(number="slots + 1"),
    "ck_cuts_part": offence(part="6"),
    "ck_cuts_amount": offence(amount="0"),
    "ck_helps_number": offence(number="daily_limit + 1"),
    "ck_entries_quantity": offence(quantity="0"),
    "ck_entries_weight": offence(weight="6"),
    "ck_entries_rank": offence("rank IS NOT NULL", rank="0"),
    "ck_entries_order_id": offence("state = 'waiting'", order_id=NOBODY),
    "ck_entries_group_id": offence("state = 'waiting'", group_id=NOBODY),
    "ck_entries_entry_state": offence("state = 'waiting'", state=NOBODY),
    "ck_pictures_jpeg": offence(jpeg="''::bytea"),
    "ck_payments_amount": offence("state = 'created'", amount="0"),
    "ck_payments_refunded_amount": offence("outcome = 'kept'", refunded_amount="captured_amount + 1"),
    "ck_payments_captured": offence("state = 'created'", captured_amount="amount"),
    "ck_payments_captured_at": offence("state = 'created'", captured_at="created_at"),
    "ck_payments_outcome": offence("state = 'created'", outcome="'refunded'"),
    "ck_payments_kept_in_full": offence("outcome = 'kept'", amount="amount + 1"),
    "ck_payments_payment_state": offence("state = 'created'", state=NOBODY),
    "ck_payments_payment_outcome": offence("outcome = 'kept'", outcome=NOBODY),
    "ck_accounts_floor": offence("kind = 'pending' AND lines > 0", balance="-1"),
    "ck_accounts_ceiling": offence("kind = 'owed' AND lines > 0", balance="1"),
    "ck_accounts_lines": offence(lines="-1"),
    "ck_accounts_account_kind": offence(kind=NOBODY),
    "ck_transfers_transfer_kind": offence(kind=NOBODY),
    "ck_postings_amount": offence(amount="0"),
    "ck_postings_number": offence(number="0"),
    "ck_postings_line": offence(line="0"),
    "ck_payouts_fee": offence(fee="amount"),
    "ck_payouts_paid_at": offence("state = 'waiting'", paid_at="created_at"),
    "ck_payouts_payout_state": offence("state = 'waiting'", state=NOBODY),
    "ck_tips_receiver_id": offence(receiver_id="sender_id"),
    "ck_tips_number": offence(number="21"),
    "ck_tips_amount": offence(amount="20001"),
    "ck_reward_policies_scope": offence("sale_id IS NOT NULL", sale_id="NULL"),
    "ck_reward_policies_first": offence("first_amount IS NULL", first_amount="1"),
    "ck_reward_policies_second": offence("role = 'inviter'", second_amount="1", second_basis_points="1"),
    "ck_reward_policies_basis_points": offence("first_basis_points IS NOT NULL", first_basis_points="10001"),
    "ck_reward_policies_amounts": offence("first_amount IS NOT NULL", first_amount="0"),
    "ck_reward_policies_caps": offence(order_cap="0"),
    "ck_reward_policies_mature_days": offence(mature_days="-1"),
    "ck_reward_policies_reward_role": offence("second_amount IS NULL", role=NOBODY),
    "fk_reward_policies_community_id": offence("community_id IS NOT NULL", community_id=NOBODY),
    "ck_rewards_level": offence(level="3"),
    "ck_rewards_number": offence(number="0"),
    "ck_rewards_amount": offence(amount="-1"),
    "ck_rewards_mature_at": offence("state = 'matured'", mature_at="NULL"),
    "ck_rewards_reward_state": offence("state = 'pending'", state=NOBODY),
    "ck_rewards_reward_limit": offence(limited_by=NOBODY),
    "ck_segments_segment_kind": offence(kind=NOBODY),
    "ck_facts_orders": offence(orders="-1"),
    "ck_facts_spent": offence(spent="-1"),
    "ck_facts_check_ins": offence(night_check_ins="check_ins + 1"),
    "ck_facts_device_kind": offence(device=NOBODY),
    "ck_consents_consented": offence(fact=NOBODY),
    "ck_endpoints_cursor": offence(cursor="-1"),
    "ck_endpoints_failures": offence(failures="-1"),
    "ck_endpoints_disabled": offence("state = 'active'", disabled_reason="'gone'"),
    "ck_endpoints_old_secret": offence("old_secret IS NULL", old_secret=NOBODY),
    "ck_endpoints_endpoint_state": offence("state = 'active'", state=NOBODY),
    "ck_endpoints_disabled_reason": offence("state = 'disabled'", disabled_reason=NOBODY),
    "ck_deliveries_attempts": offence("delivered_at IS NULL", attempts="-1"),
    "ck_deliveries_delivered": offence("attempts = 0", delivered_at="created_at"),
    "fk_deliveries_endpoint_id": offence("attempts = 0", endpoint_id=NOBODY),
    "fk_deliveries_event_id": offence("attempts = 0", event_id="0"),
    "ck_lanes_failures": offence(failures="10"),
    "ck_attempts_number": offence(number="0"),
    "ck_attempts_answered": offence("error IS NULL", error=NOBODY),
    "ck_attempts_duration_ms": offence(duration_ms="-1"),
    "fk_attempts_endpoint_id_event_id": offence(event_id="0"),
    "ck_notices_notice_kind": offence("kind = 'order'", kind=NOBODY),
    "ck_notices_number": offence("kind = 'push'", number="4"),
    "ck_notices_place": offence("kind = 'push'", number="NULL"),
    "ck_notices_day": offence("kind = 'push'", day="NULL"),
    "ck_notices_push_id": offence("kind = 'push'", push_id="NULL"),
    "fk_notices_push_id": offence("kind = 'push'", push_id=NOBODY),
    "ck_pushes_cost": offence(cost="0"),
    "ck_pushes_recipients": offence(recipients="0"),
    "ck_pushes_sent_at": offence("state = 'sent'", sent_at="NULL"),
    "ck_pushes_push_state": offence("state = 'scheduled'", state=NOBODY),
    "ck_communities_form": offence("form = 'forum'", form=NOBODY),
    "ck_communities_lifespan": offence("lifespan = 'lasting'", lifespan=NOBODY),
    "ck_communities_purpose": offence("purpose = 'sales'", purpose=NOBODY),
    "ck_communities_community_state": offence("state = 'draft'", state=NOBODY),
    "ck_communities_join_mode": offence("join_mode = 'open'", join_mode=NOBODY),
    "ck_communities_on_dissolve": offence("lifespan = 'flash'", on_dissolve=NOBODY),
    "ck_communities_on_dissolve_rule": offence("lifespan = 'lasting'", on_dissolve="'erase'"),
    "ck_communities_closes_at": offence("lifespan = 'lasting'", closes_at="created_at"),
    "ck_communities_memory_days": offence("form = 'chat'", memory_days="NULL"),
    "ck_communities_memory_range": offence("form = 'chat'", memory_days="0"),
    "ck_communities_answer_minutes": offence("purpose = 'service'", answer_minutes="NULL"),
    "ck_communities_answer_range": offence("purpose = 'service'", answer_minutes="0"),
    "ck_communities_period_days": offence("join_mode = 'paid'", period_days="NULL"),
    "ck_communities_period_range": offence("join_mode = 'paid'", period_days="0"),
    "ck_communities_plan": offence("join_mode = 'paid'", plan_sale_id="NULL"),
    "ck_communities_statement": offence("state = 'open'", need="''"),
    "ck_communities_dissolved_at": offence("state = 'draft'", dissolved_at="created_at"),
    "ck_communities_wound_up_at": offence("state = 'draft'", wound_up_at="created_at"),
    "ck_communities_member_count": offence(member_count="-1"),
    "ck_communities_quiet": offence(quiet_from="1440"),
    "ck_memberships_membership_state": offence("state = 'applied'", state=NOBODY),
    "ck_memberships_role": offence("state = 'active' AND role = 'member'", role=NOBODY),
    "ck_memberships_role_held": offence("state = 'applied'", role="'expert'"),
    "ck_memberships_joined_at": offence("state = 'active' AND paid_until IS NULL", joined_at="NULL"),
    "ck_memberships_left_at": offence("state = 'active'", left_at="joined_at", leave_reason="'other'"),
    "ck_memberships_reason_given": offence("state = 'left'", leave_reason="NULL"),
    "ck_memberships_leave_reason": offence("state = 'left'", leave_reason=NOBODY),
    "ck_memberships_paid_until": offence("state = 'applied'", paid_until="applied_at"),
    "ck_memberships_push_wish": offence(push_wish=NOBODY),
    "ck_periods_days": offence(days="0"),
    "ck_posts_day": offence("kind = 'check_in'", day="NULL"),
    "ck_posts_streak": offence("kind = 'check_in'", streak="NULL"),
    "ck_posts_group_card": offence("kind = 'text'", group_id=NOBODY),
    "ck_posts_flash_card": offence("kind = 'text'", sale_id=NOBODY),
    "ck_posts_answered_at": offence("kind = 'text'", answered_at="created_at"),
    "ck_posts_counts": offence(comment_count="-1"),
    "ck_posts_post_kind": offence("kind = 'text'", kind=NOBODY),
    "ck_comments_reaction_count": offence(reaction_count="-1"),
    "ck_reactions_reaction_kind": offence(kind=NOBODY),
    "ck_reports_decided_at": offence("state = 'open'", decided_at="created_at"),
    "ck_reports_report_reason": offence(reason=NOBODY),
    "ck_reports_report_state": offence("state = 'upheld'", state=NOBODY),
    "ck_encounters_receiver_id": offence(receiver_id="giver_id"),
    "ck_jobs_offered": offence("state = 'offered'", holder_id=OTHER_MEMBER),
    "ck_jobs_held": offence("state = 'taken'", holder_id="NULL"),
    "ck_jobs_ended_at": offence("state = 'offered'", ended_at="(SELECT max(created_at) FROM posts)"),
    "ck_jobs_job_state": offence("state = 'taken'", state=NOBODY),
    "fk_jobs_id": offence("state = 'offered'", id=NOBODY),
    "fk_jobs_holder_id": offence("state = 'taken'", holder_id=NOBODY),
    "ck_hands_number": offence(number="21"),
    "ck_hands_receiver_id": offence(receiver_id="giver_id"),
    "ck_bindings_platform_name": offence("chat_id IS NULL", platform=NOBODY),
    "ck_bindings_language": offence(language=NOBODY),
    "ck_bindings_binding_state": offence("state = 'active'", state=NOBODY),
    "ck_bindings_sealed": offence("state = 'active'", credentials="''"),
    "ck_bindings_removed_at": offence("state = 'active'", removed_at="created_at"),
    "ck_bindings_tested_at": offence("tested_at IS NULL", tested_at="created_at"),
    "ck_bindings_failed_at": offence("failed_at IS NULL", failed_at="created_at"),
    "ck_chat_numbers_number": offence(number="0"),
    "ck_messages_attempts": offence(attempts="6"),
    "ck_messages_forgotten": offence("state = 'answered'", reply_token=NOBODY),
    "ck_messages_message_state": offence("state = 'answered'", state=NOBODY),
    "ck_robots_failures": offence(failures="-1"),
    "ck_announcements_due_at": offence("due_at IS NULL", due_at="said_at"),
    "ck_announcements_joined": offence(joined="-1"),
    "ck_announcements_message_id": offence("message_id IS NOT NULL", message_id="NULL"),
    "ck_outgoing_content": offence("state = 'sent'", content=NOBODY),
    "ck_outgoing_ended_at": offence("state = 'sent'", ended_at="NULL"),
    "ck_outgoing_reason": offence("state = 'sent'", reason=NOBODY),
    "ck_outgoing_outgoing_state": offence("state = 'sent'", state=NOBODY),
    "ck_link_codes_subject": offence("subject IS NULL", provider=NOBODY),
    "ck_link_codes_made_by": offence("subject IS NULL", member_id="NULL"),
    "ck_link_codes_used_at": offence("used_at IS NULL", used_at="created_at"),
    "fk_link_codes_member_id": offence("member_id IS NOT NULL", member_id=NOBODY),
    "ck_reconciliations_done_at": offence("state = 'done'", done_at="NULL"),
    "ck_reconciliations_lines": offence("state = 'done'", lines="NULL"),
    "ck_reconciliations_found": offence("state = 'done'", found="NULL"),
    "ck_reconciliations_reconciliation_state": offence("state = 'waiting'", state=NOBODY),
    "ck_differences_missing_here": offence("kind = 'state'", amount_here="NULL"),
    "ck_differences_missing_there": offence("kind = 'state'", amount_there="NULL"),
    "ck_differences_line_kind": offence(line=NOBODY),
    "ck_differences_difference_kind": offence("kind = 'state'", kind=NOBODY),
    "ck_refunds_amount": offence(amount="0"),
    "ck_refunds_succeeded_at": offence("state = 'succeeded'", succeeded_at="NULL"),
    "ck_refunds_refund_reason": offence(reason=NOBODY),
    "ck_refunds_refund_state": offence(state=NOBODY, succeeded_at="NULL"),
}
"""The change of a row that offends each CHECK alone, and a foreign key where not every row will do."""

ONLY_ADDED = {
    "transfers": {"id": NOBODY, "cause": NOBODY},
    "postings": {"number": "number + 10", "line": "line + 1000000"},
}
"""Tables whose rows do not change: there it is a new row, with a key of its own, that offends."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One guard of the database: the statement it refuses, and the one that takes it away."""

    name: str
    table: str
    offends: str
    removal: str


def find_rules() -> Iterator[Rule]:
    """Every guard of every table. Raises `KeyError` for a CHECK that `CHANGES` does not know how to offend."""
    for table in SQLModel.metadata.sorted_tables:
        columns = [column.name for column in table.columns]
        for constraint in sorted(table.constraints, key=name_of):
            name = name_of(constraint)
            removal = f"ALTER TABLE {table.name} DROP CONSTRAINT {name} CASCADE"
            match constraint:
                case PrimaryKeyConstraint() | UniqueConstraint():
                    yield Rule(name, table.name, _copy(table.name, columns, COPIES.get(name, Offence())), removal)
                case CheckConstraint():
                    yield Rule(name, table.name, _change(table.name, CHANGES[name]), removal)
                case ForeignKeyConstraint():
                    change = Offence(sets=dict.fromkeys(constraint.column_keys, NOBODY))
                    yield Rule(name, table.name, _change(table.name, CHANGES.get(name, change)), removal)
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if index.unique:
                name = str(index.name)
                yield Rule(name, table.name, _copy(table.name, columns, COPIES[name]), f"DROP INDEX {name}")
        for column in table.columns:
            if not column.nullable and not column.primary_key:  # a primary key's columns are its own
                yield Rule(
                    f"{table.name}.{column.name} NOT NULL",
                    table.name,
                    _change(table.name, Offence(sets={column.name: "NULL"})),
                    f"ALTER TABLE {table.name} ALTER COLUMN {column.name} DROP NOT NULL",
                )


def name_of(constraint: Constraint) -> str:
    """A constraint's name as it is in the database."""
    return str(FORMAT.format_constraint(constraint))


def _change(table: str, change: Offence) -> str:
    if table in ONLY_ADDED:
        columns = [column.name for column in SQLModel.metadata.tables[table].columns]
        return _copy(table, columns, Offence(change.where, ONLY_ADDED[table] | change.sets))
    sets = ", ".join(f"{column} = {value}" for column, value in change.sets.items())
    return f"UPDATE {table} SET {sets} WHERE ctid = (SELECT min(ctid) FROM {table} WHERE {change.where})"


def _copy(table: str, columns: list[str], change: Offence) -> str:
    values = ", ".join(change.sets.get(column, column) for column in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}"
        f" WHERE ctid = (SELECT min(ctid) FROM {table} WHERE {change.where})"
    )
