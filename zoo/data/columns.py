"""Which column of a table fills which key of a batch. Free of torch.

A batch key is "image" or "video" for what is learned, "condition" for what it is drawn from, "label", "caption", or any
other name that `Model.batch_shapes` has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from zoo.data.source import Source
from zoo.errors import DataError

Shape = tuple[int, ...]
VISUAL = ("image", "video")
HALVES = {"left-right": ("left", "right"), "right-left": ("right", "left")}  # of the condition, and of the picture


@dataclass(frozen=True)
class Cells:
    """The cells that one key of a batch is read from.

    Attributes:
        key: of the batch.
        column: of the table.
        kind: "image", "video", "label", "caption" or "tensor" (numbers).
        shape: of one example, as the model wants it; () of labels and captions.
        half: "left" or "right", of pictures that hold a pair.
        whole: of numbers, whether none may be missing.
    """

    key: str
    column: str
    kind: str
    shape: Shape = ()
    half: str | None = None
    whole: bool = False

    @property
    def is_ids(self) -> bool:
        """Whether it may be a map of class numbers, which are neither mixed nor seen through a palette."""
        return self.key not in VISUAL and self.kind in VISUAL and self.shape[-3] == 1


def find_columns(
    kinds: Mapping[str, str | None],
    source: Source,
    shapes: Mapping[str, Shape],
    *,
    optional: Mapping[str, Shape] | None = None,
    named: Mapping[str, str] | None = None,
    pairs: str | None = None,
    who: str = "the model",
) -> dict[str, Cells]:
    """The cells of every key that is wanted, and the labels and captions that there are.

    Args:
        kinds: of the table's columns, see `Cells`; None for what no batch takes.
        source: what is known of the set; its spec may promise columns.
        shapes: what is wanted, key by key.
        optional: numbers that are taken where a column is called so, or is named; none of them may be missing unless
            `shapes` has the key too.
        named: columns that the user names, by key.
        pairs: "left-right" or "right-left": each picture holds a condition and what belongs to it.
        who: wants it, for errors.

    Raises:
        DataError: a named or promised column that is not there or holds something else; a name for a key that nobody
            takes, or pairs of a model that takes none; nothing for a key other than "label" and "caption".
    """
    check_keys(named or {}, (*shapes, "label", "caption", *(optional or {})), who)
    if pairs and not {"image", "condition"} <= set(shapes):
        raise DataError(f"--pairs {pairs} is for models that draw a picture from a picture, and {who} does not")
    found: dict[str, Cells] = {}
    for key in dict.fromkeys((*shapes, "label", "caption")):
        column = _column(key, kinds, source, dict(named or {}))
        if column is not None:
            found[key] = Cells(key, column, str(kinds[column]), tuple(shapes.get(key, ())))
    if pairs and "image" in found and "condition" in shapes:
        first, second = HALVES[pairs]
        pair = found["image"]
        found["condition"] = Cells("condition", pair.column, "image", tuple(shapes["condition"]), first)
        found["image"] = Cells("image", pair.column, "image", pair.shape, second)
    for key, shape in (optional or {}).items():
        if key in found:
            continue
        column = _column(key, kinds, source, dict(named or {}))
        if column is not None and kinds[column] == "tensor":
            found[key] = Cells(key, column, "tensor", tuple(shape), whole=True)
        elif column is not None and key in (named or {}):
            raise DataError(f"{who} takes numbers as '{key}', but column '{column}' of {source.name} holds none")
    for key in shapes:
        if key not in found and key not in ("label", "caption", *(optional or {})):
            used = {cells.column for cells in found.values()}
            fitting = [name for name, kind in kinds.items() if kind in _fitting(key) and name not in used]
            mend = f"; say which it is with --column {key}=NAME: {' or '.join(fitting)}" if fitting else ""
            raise DataError(f"{who} needs '{key}', but {source.name} gives {_gives(kinds)}{mend}")
    return found


def check_keys(named: Mapping[str, str], known: Collection[str], who: str) -> None:
    """Raise DataError for a column that is named for a key of the batch that nobody takes."""
    for key in named:
        if key not in known:
            keys = ", ".join(dict.fromkeys(known))
            raise DataError(f"{who} takes no '{key}', for which column '{named[key]}' is named, but {keys}")


def _fitting(key: str) -> Sequence[str]:
    """The kinds of column that may fill a key."""
    wanted = {"label": ("label",), "caption": ("caption",), "image": ("image", "video"), "video": ("video",)}
    return wanted.get(key, ("image", "video", "tensor"))


def _gives(kinds: Mapping[str, str | None]) -> str:
    """The columns of use in words: "image, frames (video), label"."""
    return ", ".join(name if name == kind else f"{name} ({kind})" for name, kind in kinds.items() if kind)


def _column(key: str, kinds: Mapping[str, str | None], source: Source, named: dict[str, str]) -> str | None:
    """The column of one key: what the user names, what the spec promises, what is called so, or the only fit."""
    fitting = _fitting(key)
    if key in named and named[key] not in kinds:
        raise DataError(f"{source.name} has no column '{named[key]}' for '{key}'; it has: {', '.join(kinds)}")
    promised = named.get(key) or source.spec.column(key)
    if promised is not None:
        if kinds.get(promised) in fitting:
            return promised
        if key in named or key in ("label", "caption"):
            holds = f"; '{promised}' is no {key}" if promised in kinds else ""
            raise DataError(f"{source.name} has no {key} column '{promised}'{holds}; it has: {', '.join(kinds)}")
    if kinds.get(key) in fitting:
        return key
    if key not in VISUAL:
        return None
    own: Sequence[str] = [name for name, kind in kinds.items() if kind == key]
    others = [name for name, kind in kinds.items() if kind in fitting]
    return next(iter((*(name for name in own if name == "frames"), *own, *others)), None)
