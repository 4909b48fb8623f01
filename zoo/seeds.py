"""Seeds derived from seeds, and what they choose."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part; neighbouring parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def choose(n: int, limit: int | None, *seed: int | str) -> Sequence[int]:
    """The numbers of at most `limit` of n examples, in order; all without a limit. The first ones of a table that is
    sorted are all alike, so the seed chooses."""
    if limit is None or limit >= n:
        return range(n)
    return sorted(random.Random(derive_seed(*seed)).sample(range(n), limit))
