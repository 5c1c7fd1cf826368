"""The form of an operator key: prefix, random part, checksum. A typo is found without a look-up."""

import re
from binascii import crc32

PREFIX = "ktk_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6
_PATTERN = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")


def checksum(random_part: str) -> str:
    """CRC-32 of the random part in base 62, padded to six characters."""
    value, digits = crc32(random_part.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def build_key(random_part: str) -> str:
    """The whole key for a random part of 32 base-62 characters."""
    return f"{PREFIX}{random_part}{checksum(random_part)}"


def is_well_formed(key: str) -> bool:
    """Whether the key has our form and its checksum fits."""
    match = _PATTERN.fullmatch(key)
    return match is not None and checksum(match[1]) == match[2]


SAMPLE_KEY = build_key("DevelopmentOnlyKeyDoNotUseInProd")
"""The key of the sample data, which everybody knows; it is made in development only."""
