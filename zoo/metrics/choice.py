"""The examples that a limit leaves of a split: a seeded choice, as the first ones of a sorted table are all alike."""

from __future__ import annotations

import random
from collections.abc import Sequence

from zoo.seeds import derive_seed


def choose(n: int, limit: int | None, seed: int) -> Sequence[int]:
    """The numbers of at most `limit` of n examples, in order; all without a limit."""
    if limit is None or limit >= n:
        return range(n)
    return sorted(random.Random(derive_seed(seed, "limit")).sample(range(n), limit))


def named(split: str, count: int, n: int, seed: int) -> str:
    """What a receipt calls a choice of `count` of the n examples of a split: "test[1000 of 10000, seed 0]"."""
    return split if count == n else f"{split}[{count} of {n}, seed {seed}]"
