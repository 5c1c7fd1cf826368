"""WeChat Pay's bill of a day: a line of names, a line for each charge and refund, and two lines of sums.

https://pay.weixin.qq.com/docs/merchant/apis/bill-download/trade-bill/get-trade-bill.html.
Every field of a row begins with a backtick; money is in yuan.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from app.domain.reconciliations import Line, LineKind, LineState

MARK = "`"
WHEN, APP, MERCHANT, NUMBER, STATE = "交易时间", "公众账号ID", "商户号", "商户订单号", "交易状态"
CURRENCY, AMOUNT = "货币种类", "订单金额"
REFUND_NUMBER, REFUND_AMOUNT, REFUND_STATE = "商户退款单号", "申请退款金额", "退款状态"
COLUMNS = {WHEN, APP, MERCHANT, NUMBER, STATE, CURRENCY, AMOUNT, REFUND_NUMBER, REFUND_AMOUNT, REFUND_STATE}
REFUNDED = "REFUND"
CHARGES = {"SUCCESS": LineState.DONE, "REVOKED": LineState.FAILED}
REFUNDS = {"SUCCESS": LineState.DONE, "PROCESSING": LineState.PENDING}


def read_lines(text: str, app: str, merchant: str, payment_id: Callable[[str], str], zone: ZoneInfo) -> list[Line]:
    """The lines of a bill that are of this app and merchant. Raises `ValueError` for what is no bill."""
    return [_line(row, payment_id, zone) for row in _rows(text) if (row[APP], row[MERCHANT]) == (app, merchant)]


def _rows(text: str) -> Iterator[dict[str, str]]:
    names, *lines = text.replace("\r\n", "\n").split("\n")  # and at nothing else that breaks lines
    columns = names.split(",")
    if not set(columns) >= COLUMNS:
        raise ValueError("not a bill")
    for line in lines:
        if not line.startswith(MARK):
            return  # the sums
        fields = line.removeprefix(MARK).split(f",{MARK}")
        yield dict(zip(columns, fields, strict=True))


def _line(row: dict[str, str], payment_id: Callable[[str], str], zone: ZoneInfo) -> Line:
    at = datetime.fromisoformat(row[WHEN]).replace(tzinfo=zone)
    if row[STATE] == REFUNDED:
        state = REFUNDS.get(row[REFUND_STATE], LineState.FAILED)
        return Line(LineKind.REFUND, row[REFUND_NUMBER], _fen(row[REFUND_AMOUNT]), row[CURRENCY], state, at)
    state = CHARGES.get(row[STATE], LineState.FAILED)
    return Line(LineKind.CHARGE, payment_id(row[NUMBER]), _fen(row[AMOUNT]), row[CURRENCY], state, at)


def _fen(yuan: str) -> int:
    try:
        return int(Decimal(yuan) * 100)
    except InvalidOperation as error:
        raise ValueError("not an amount") from error
