"""Randomness that depends on names and nothing else: the same words give the same numbers in every run, on every machine. Pure."""

from hashlib import blake2b
from random import Random


def hashed(*words: int | str) -> int:
    """64 bits out of these words."""
    return int.from_bytes(blake2b(":".join(map(str, words)).encode(), digest_size=8).digest(), "big")


def generator(*words: int | str) -> Random:
    """A random generator seeded with these words."""
    return Random(hashed(*words))  # nosec B311  # for timing and statistics, not for secrecy


def share(*words: int | str) -> float:
    """A number in [0, 1) out of these words."""
    return hashed(*words) / 2**64
