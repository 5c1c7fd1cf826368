"""Money: integer minor units of one currency, never a float."""

MAX_AMOUNT = 10**12
"""Largest amount of a price, order or payment, in minor units: ten billion yuan."""


def order_amount(unit_price: int, quantity: int) -> int:
    """What an order costs: `unit_price × quantity`, in minor units.

    Raises `ValueError` when either is not positive or the product passes `MAX_AMOUNT`.
    """
    if unit_price < 1 or quantity < 1:
        raise ValueError("price and quantity must be positive")
    amount = unit_price * quantity
    if amount > MAX_AMOUNT:
        raise ValueError("amount too large")
    return amount
