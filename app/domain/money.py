"""Money: integer minor units of one currency, never a float."""

MAX_AMOUNT = 10**12
"""Largest amount of a price, order or payment, in minor units: ten billion yuan."""


def order_amount(unit_price: int, quantity: int, discount: int = 0) -> int:
    """What an order costs: `unit_price × quantity − discount`, in minor units.

    Raises `ValueError` when price or quantity is not positive, when the product passes `MAX_AMOUNT`, or when the
    discount is negative or leaves nothing to pay.
    """
    if unit_price < 1 or quantity < 1:
        raise ValueError("price and quantity must be positive")
    amount = unit_price * quantity
    if amount > MAX_AMOUNT:
        raise ValueError("amount too large")
    if not 0 <= discount < amount:
        raise ValueError("a discount must leave something to pay")
    return amount - discount
