"""Stable hashes of ids: the same number in every process, run and release."""

from hashlib import blake2b


def hash64(text: str, salt: str) -> int:
    """Return an unsigned 64-bit hash of the text; every use has its own salt, so that uses are independent."""
    # The salt stands before a NUL byte, which no salt contains: no (salt, text) pair runs into another.
    return int.from_bytes(blake2b(f"{salt}\0{text}".encode(), digest_size=8).digest(), "big")


def hash01(text: str, salt: str) -> float:
    """Return a number in [0, 1) that is uniform over texts; a row is in a share p when its number is below p."""
    # 53 bits, what a float holds exactly: rounding all 64 could give 1.0.
    return (hash64(text, salt) >> 11) / 2.0**53
