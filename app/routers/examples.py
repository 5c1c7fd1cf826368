"""Request bodies to try, as the documentation offers them. The ids are placeholders; the rest works as it is."""

from fastapi.openapi.models import Example

OFFER, SALE, GROUP = (f"{prefix}_019a0c5e7d0a7b3c8f21a4d5e6f70812" for prefix in ("off", "sal", "grp"))
COMMUNITY, SKU = (f"{prefix}_019a0c5e7d0a7b3c8f21a4d5e6f70812" for prefix in ("com", "sku"))

LOGIN: dict[str, Example] = {
    "dev": {
        "summary": "As anybody you like 任意昵称",
        "value": {"provider": "dev", "code": "alice", "name": "爱丽丝"},
    },
}
CLAIM: dict[str, Example] = {
    "one": {"summary": "One unit 一件", "value": {"offer_id": OFFER}},
    "invited": {
        "summary": "Brought by a friend 受邀参团",
        "value": {"offer_id": OFFER, "quantity": 1, "invite_code": "7Yp2KqXw3N"},
    },
    "coupon": {"summary": "With a coupon 使用优惠券", "value": {"offer_id": OFFER, "coupon_code": "TEA20"}},
}
BARGAIN: dict[str, Example] = {"offer": {"summary": "For an offer 选择报价", "value": {"offer_id": OFFER}}}
PURCHASE: dict[str, Example] = {
    "one": {
        "summary": "One unit, with the ticket you were given 凭入场券购买",
        "value": {"offer_id": OFFER, "ticket": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk"},
    },
}
ADMISSION: dict[str, Example] = {
    "plain": {"summary": "Where nothing is asked 直接排队", "value": {}},
    "device": {"summary": "With the id of your device 携带设备标识", "value": {"device": "a1b2c3d4e5f6"}},
}
ENTRY: dict[str, Example] = {
    "one": {"summary": "One unit 一件", "value": {"offer_id": OFFER}},
    "party": {"summary": "Two, or none 两件，要么全有", "value": {"offer_id": OFFER, "quantity": 2}},
}
INVITE: dict[str, Example] = {
    "group": {"summary": "To a group 邀请入团", "value": {"group_id": GROUP, "channel": "chat"}},
    "sale": {"summary": "To a sale 分享活动", "value": {"sale_id": SALE, "channel": "poster"}},
    "community": {"summary": "To a community 邀请入群", "value": {"community_id": COMMUNITY}},
    "limited": {
        "summary": "For ten members 限十人使用",
        "value": {"sale_id": SALE, "channel": "qr", "max_uses": 10},
    },
}
ME: dict[str, Example] = {
    "named": {"summary": "By my masked name 显示脱敏昵称", "value": {"seen_by_friends": "named"}},
    "hidden": {"summary": "Not at all 隐藏", "value": {"seen_by_friends": "hidden"}},
}
SALE_DRAFT: dict[str, Example] = {
    "group": {
        "summary": "Three buy together within a day 三人团",
        "value": {
            "community_id": COMMUNITY,
            "title": "三人团 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_size": 3,
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "order_limit": 2,
            "member_limit": 1,
            "attribution": {"touch": "first", "window_days": 14},
            "offers": [{"sku_id": SKU, "price": 4900, "list_price": 6900, "stock": 300}],
        },
    },
    "rescue": {
        "summary": "Groups that do not fill are rescued 救团",
        "value": {
            "community_id": COMMUNITY,
            "title": "救团 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_size": 5,
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "order_limit": 3,
            "rescue": {"merge": True, "extend_seconds": 7200, "flexible": True, "cover_seats": 1},
            "offers": [{"sku_id": SKU, "price": 4900, "solo_price": 5900, "stock": 300}],
        },
    },
    "flash": {
        "summary": "A hundred at eight o'clock, one each 秒杀",
        "value": {
            "community_id": COMMUNITY,
            "kind": "flash",
            "title": "秒杀 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "hold_ttl_seconds": 300,
            "admission": {"admit_per_second": 50, "per_address": 20},
            "offers": [{"sku_id": SKU, "price": 1900, "list_price": 6900, "stock": 100}],
        },
    },
    "bargain": {
        "summary": "Ten cuts from 99 to 49, a new friend makes two 砍价",
        "value": {
            "community_id": COMMUNITY,
            "kind": "bargain",
            "title": "砍价 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "bargain": {"slots": 10, "daily_helps": 3, "new_member_days": 7, "new_member_weight": 2},
            "offers": [{"sku_id": SKU, "price": 4900, "list_price": 9900, "stock": 100}],
        },
    },
    "draw": {
        "summary": "Entered until eight o'clock, then drawn 抽签",
        "value": {
            "community_id": COMMUNITY,
            "kind": "flash",
            "title": "抽签 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "allocation": "draw",
            "draws_at": "2099-12-30T12:00:00Z",
            "max_weight": 3,
            "hold_ttl_seconds": 300,
            "offers": [{"sku_id": SKU, "price": 1900, "list_price": 6900, "stock": 100}],
        },
    },
    "ladder": {
        "summary": "Two are enough, and more pay less 阶梯团",
        "value": {
            "community_id": COMMUNITY,
            "title": "阶梯团 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_size": 10,
            "min_size": 2,
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "offers": [
                {
                    "sku_id": SKU,
                    "price": 6000,
                    "stock": 300,
                    "ladder": [{"heads": 3, "price": 5000}, {"heads": 5, "price": 4500}],
                }
            ],
        },
    },
}
SALE_CHANGE: dict[str, Example] = {
    "stock": {"summary": "More stock 加库存", "value": {"offers": [{"sku_id": SKU, "stock": 500}]}},
    "end": {"summary": "A later end 延长活动", "value": {"closes_at": "2100-12-31T16:00:00Z"}},
}
SLOTS: dict[str, Example] = {
    "week": {
        "summary": "A week, three times a day 每天三场，共七天",
        "value": {
            "first_day": "2098-12-01",
            "last_day": "2098-12-07",
            "times": ["10:00", "14:00", "20:00"],
            "minutes": 60,
            "timezone": "Asia/Shanghai",
        },
    },
}
REMINDER: dict[str, Example] = {
    "five": {"summary": "Five minutes before 提前五分钟", "value": {}},
    "day": {"summary": "A day before 提前一天", "value": {"minutes_before": 1440}},
}
COUPON: dict[str, Example] = {
    "fixed": {
        "summary": "20 yuan off 99, a hundred times 满减券",
        "value": {
            "title": "满 99 减 20",
            "kind": "fixed",
            "value": 2000,
            "min_spend": 9900,
            "community_id": COMMUNITY,
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "total": 100,
        },
    },
    "percent": {
        "summary": "10 % off, at most 50 yuan, for those it is granted to 折扣券",
        "value": {
            "granted": True,
            "title": "老团员九折",
            "kind": "percent",
            "value": 10,
            "max_discount": 5000,
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "total": 1000,
            "member_limit": 2,
        },
    },
}
GRANT: dict[str, Example] = {
    "one": {
        "summary": "To one member 发放给一位成员",
        "value": {"member_ids": ["mem_019a0c5e7d0a7b3c8f21a4d5e6f70812"]},
    }
}
FORECAST: dict[str, Example] = {
    "curve": {
        "summary": "A slow start, then word gets around 需求曲线",
        "value": {
            "curve": [{"members": 10, "paying_percent": 60}, {"members": 100}, {"members": 1000}],
            "coupon_percent": 20,
            "coupon_discount": 1000,
            "reward_percent": 5,
        },
    },
    "what if": {
        "summary": "With less stock and another ladder 试算其他库存与阶梯价",
        "value": {
            "curve": [{"members": 200}],
            "group_size": 5,
            "min_size": 2,
            "offers": [
                {
                    "offer_id": OFFER,
                    "stock": 150,
                    "price": 6000,
                    "list_price": 6900,
                    "ladder": [{"heads": 4, "price": 5000}],
                }
            ],
        },
    },
}
POLICY: dict[str, Example] = {
    "inviters": {
        "summary": "5 % to who brought the buyer, 1 % to who brought them 两级邀请奖励",
        "value": {
            "title": "邀请有礼",
            "sale_id": SALE,
            "role": "inviter",
            "levels": [{"basis_points": 500}, {"basis_points": 100}],
            "order_cap": 2000,
            "day_cap": 10_000,
            "mature_days": 7,
        },
    },
    "leaders": {
        "summary": "One yuan to the leader for every order, in all sales of a community 团长奖励",
        "value": {
            "title": "团长奖励",
            "community_id": COMMUNITY,
            "role": "leader",
            "levels": [{"amount": 100}],
        },
    },
}
TOP_UP: dict[str, Example] = {"ten": {"summary": "A thousand yuan 一千元", "value": {"amount": 100_000}}}
PAYOUT: dict[str, Example] = {
    "one": {"summary": "One yuan 提现一元", "value": {"amount": 100, "account": "alice"}},
    "refused": {
        "summary": "To an account that refuses 收款账户拒收",
        "value": {"amount": 100, "account": "refuse"},
    },
}
TIP: dict[str, Example] = {
    "thanks": {"summary": "Half a yuan 五毛", "value": {"amount": 50, "note": "谢谢团长"}},
}
PAY: dict[str, Example] = {
    "at once": {"summary": "At once, in full 立即全额支付", "value": {}},
    "account": {"summary": "From an account of yours 指定付款账户", "value": {"payer": "alice-bank-1"}},
    "twice told": {
        "summary": "Told twice, late, out of order 重复、延迟、乱序通知",
        "value": {
            "delay_seconds": 2,
            "duplicates": 3,
            "reorder": True,
        },
    },
    "wrong amount": {"summary": "Another amount, which is refunded 金额不符（将退款）", "value": {"amount": 1}},
    "refused": {"summary": "Refused 拒绝支付", "value": {"refuse": True}},
}
