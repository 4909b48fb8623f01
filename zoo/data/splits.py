"""The splits of a data set: its own, a share of the training split that is held out, and the first examples of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.data.source import Source
from zoo.errors import DataError, unknown
from zoo.seeds import choose

FIRST = re.compile(r"(\w+)\[:(\d+)\]")  # "train[:1000]", what a stream holds out


def pick(tables: Mapping[str, Any], source: Source, split: str | None) -> tuple[Any, str]:
    """The table of one split, and the name of the split.

    Args:
        tables: all splits, by the set's own names.
        source: what is known of the set.
        split: "train", "validation", "test", or a name of the set's own; "train[:N]" is its first N examples, whether
            they are held out otherwise or not. None is "test", or "validation" where there is no test split.

    Raises:
        UnknownNameError: no such split.
        DataError: an empty one.
    """
    ours = {own: name for name, own in source.spec.splits.items()}
    splits = {ours.get(own, own) for own in tables}
    splits |= {"validation"} if source.spec.holdout and "train" in splits else set()
    if split is None:
        split = "test" if "test" in splits else "validation"
    first = FIRST.fullmatch(split)
    name = first[1] if first else split
    if name not in splits:
        raise unknown(f"split of {source.name}", name, splits)
    own = source.spec.splits.get(name, name)
    table = tables[own] if own in tables and first else _without_held_out(tables, source, name)
    if first:
        table = table.select(range(min(int(first[2]), len(table))))
    if not len(table):
        raise DataError(f"split '{split}' of {source.name} is empty")
    return table, split


def _without_held_out(tables: Mapping[str, Any], source: Source, split: str) -> Any:
    """The table of a split, of which none is in another."""
    holdout, own = source.spec.holdout, source.spec.splits.get(split, split)
    table = tables[own] if own in tables else tables[source.spec.splits["train"]]
    if not holdout or source.spec.splits.get("validation", "validation") in tables:
        return table
    held = holdout if holdout > 0 else min(5000, max(1, len(table) // 20))
    if holdout > 0:
        validation: Sequence[int] = range(max(0, len(table) - held), len(table))
    else:  # of one picture alone nothing
        validation = choose(len(table), held, 0, "holdout") if len(table) > 1 else ()
    if split == "validation":
        return table.select(validation)
    if split == "train":
        return table.select(sorted(set(range(len(table))) - set(validation)))
    return table
