"""The examples that a limit leaves of a split: a seeded choice, as receipts name it, and how they name its reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo import seeds


def choose(n: int, limit: int | None, seed: int) -> Sequence[int]:
    """The numbers of at most `limit` of n examples, in order; all without a limit."""
    return seeds.choose(n, limit, seed, "limit")


def named(split: str, count: int, n: int, seed: int) -> str:
    """What a receipt calls a choice of `count` of the n examples of a split: "test[1000 of 10000, seed 0]"."""
    return split if count == n else f"{split}[{count} of {n}, seed {seed}]"


def as_read(reading: Mapping[str, Any]) -> dict[str, str]:
    """What a receipt says of the columns and pairs that the user named: {"columns": "label=kind, image=photo"}."""
    columns = ", ".join(f"{key}={name}" for key, name in (reading.get("columns") or {}).items())
    named = {"columns": columns, "pairs": reading.get("pairs")}
    return {name: value for name, value in named.items() if value}
