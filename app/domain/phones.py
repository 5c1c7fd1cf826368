"""Phone numbers, in the one way that they are kept: E.164 (https://www.itu.int/rec/T-REC-E.164), a `+`, the
country's code and the number, fifteen digits at most.
"""

import re
import unicodedata

HOME = "+86"
"""The country of a number that names none."""
BETWEEN = re.compile(r"[\s.\-]")
"""What people put between digits."""
HOME_MOBILE = re.compile("1[3-9][0-9]{9}")
LIKE_HOME_MOBILE = re.compile("[+]861[3-9]")
E164 = re.compile("[+][1-9][0-9]{6,14}")
SHOWN_FIRST, SHOWN_LAST = 3, 4


def normalise(number: str) -> str | None:
    """A number in E.164, however it was spelled: `138 0013 8000` → `+8613800138000`; also with full-width digits,
    with `+` or `00` before the country. None when it is no such number. One without a country is a Chinese mobile.
    """
    plain = BETWEEN.sub("", unicodedata.normalize("NFKC", number))
    if HOME_MOBILE.fullmatch(plain):
        plain = HOME + plain
    elif plain.startswith("00"):
        plain = f"+{plain[2:]}"
    if not E164.fullmatch(plain):
        return None
    is_mobile = HOME_MOBILE.fullmatch(plain.removeprefix(HOME)) is not None
    return None if LIKE_HOME_MOBILE.match(plain) and not is_mobile else plain


def mask_number(number: str) -> str:
    """A number in E.164 as it is shown: `+8613800138000` → `+86138****8000`, `+442079460958` → `+44******0958`."""
    is_home_mobile = HOME_MOBILE.fullmatch(number.removeprefix(HOME)) is not None
    first = len(HOME) + SHOWN_FIRST if is_home_mobile else SHOWN_FIRST
    last = min(SHOWN_LAST, max(0, len(number) - first - SHOWN_LAST))
    hidden = len(number) - first - last
    return f"{number[:first]}{'*' * hidden}{number[len(number) - last :]}"
