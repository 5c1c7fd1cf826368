"""Who may call what: every route there is, and the people it lets in."""

from enum import StrEnum


class Person(StrEnum):
    """Whoever may call, as a community sees them. Nobody is not logged in; an operator has a key of every scope."""

    NOBODY = "nobody"
    STRANGER = "stranger"
    APPLICANT = "applicant"
    BLOCKED = "blocked"
    MEMBER = "member"
    EXPERT = "expert"
    MODERATOR = "moderator"
    LEADER = "leader"
    OWNER = "owner"
    OPERATOR = "operator"


EVERYBODY = frozenset(Person)
LOGGED_IN = EVERYBODY - {Person.NOBODY, Person.OPERATOR}
OPERATORS = frozenset({Person.OPERATOR})
LED_BY = frozenset({Person.LEADER, Person.OWNER})
KEPT_BY = LED_BY | {Person.MODERATOR}
WITHIN = KEPT_BY | {Person.MEMBER, Person.EXPERT}

PUBLIC = """
    home docs openapi static livez readyz
    open_invite show_group_page show_sale_page return_from_cashier join log_in log_out pay_order make_own_link
    receive_notice verify_chat_hook receive_chat_hook show_link_page log_in_by_link
    create_charge close_charge query_charge show_page pay pay_by_form pay_out refund query_refund
    get_bargain get_bargain_changes watch_bargain watch_bargain_by_websocket
    get_group get_changes watch_group watch_group_by_websocket list_groups list_sales get_sale
    get_draw show_code show_poster show_picture
    create_session refresh_session
    list_open_communities get_community
"""
"""Some of these look at signatures or secrets of their own, which have their own tests."""
FOR_MEMBERS = """
    list_bargains cut_price buy_at_bargain start_bargain
    list_my_coupons quote_coupon
    get_entry leave list_entries enter
    join_group open_group buy
    list_invites create_invite revoke_invite type_code
    get_me update_me export_me erase_me list_my_communities get_facts put_facts delete_facts
    list_notices read_notices get_balance get_inviters get_branch list_my_rewards get_statement give_tip
    list_orders get_order cancel_order create_payment list_my_payouts create_payout
    list_sessions end_session end_all_sessions list_identities link_identity unlink_identity set_phone forget_phone
    create_link_code
    list_reminders set_reminder withdraw_reminder
    get_admission get_in_line get_challenge
"""
FOR_OPERATORS = """
    list_communities create_community get_community_settings update_community open_community set_owner
    dissolve_community get_health list_days rank_communities list_pushes_of stop_push
    list_community_posts hide_community_post unhide_community_post list_community_reports
    preview list_segments create_segment delete_segment get_segment list_segment_members
    erase_member get_tags put_tags
    list_coupons create_coupon get_coupon end_coupon grant_coupon
    list_events get_growth get_branches check_invariants inspect_branch list_suspicions
    find_members search_orders complete_order refund_order ship_order
    list_reconciliations create_reconciliation get_reconciliation
    list_payouts approve_payout reject_payout
    list_products create_product get_product update_product put_picture drop_picture
    list_policies create_policy get_policy top_up_budget end_policy list_rewards decline_reward release_reward
    list_all_sales create_sale get_any_sale update_sale end_sale pause_sale publish_sale resume_sale simulate_sale
    lay_out_slots publish_slots
    list_bindings create_binding get_binding update_binding remove_binding try_binding
    create_endpoint list_endpoints get_endpoint change_endpoint remove_endpoint rotate_secret send_test
    redeliver_since list_deliveries get_delivery redeliver
"""
WITHIN_ONE = """
    update_membership list_profiles get_profile list_written list_streaks list_posts get_post list_comments
    create_post create_comment take_job
    react_to_post react_to_comment take_reaction_back take_comment_reaction_back report_post report_comment
"""
FOR_ONE = "remove_post remove_comment finish_job withdraw_job hand_job_on"
"""For who wrote it, or has the job: here that is the owner."""
FOR_KEEPERS = """
    approve_member decline_member remove_member block_member unblock_member
    pin_post unpin_post hide_post unhide_post hide_comment unhide_comment
    list_reports uphold_report dismiss_report
"""
FOR_LEADERS = """
    edit_community list_pushes send_push preview_push get_push cancel_push get_own_health list_own_days
"""
COMMUNITY: dict[str, frozenset[Person]] = {
    "join_community": LOGGED_IN - {Person.BLOCKED},
    "enrol": EVERYBODY - {Person.BLOCKED},
    "get_membership": LOGGED_IN - {Person.STRANGER},
    "leave_community": WITHIN | {Person.APPLICANT},
    **dict.fromkeys(("set_role", "hand_over", *FOR_ONE.split()), frozenset({Person.OWNER})),
    **dict.fromkeys(WITHIN_ONE.split(), WITHIN),
    **dict.fromkeys(FOR_KEEPERS.split(), KEPT_BY),
    **dict.fromkeys(FOR_LEADERS.split(), LED_BY),
}
"""Of one community, by the standing of who calls."""
LETS_IN: dict[str, frozenset[Person]] = {
    **dict.fromkeys(PUBLIC.split(), EVERYBODY),
    **dict.fromkeys(FOR_MEMBERS.split(), LOGGED_IN),
    **dict.fromkeys(FOR_OPERATORS.split(), OPERATORS),
    **COMMUNITY,
}
