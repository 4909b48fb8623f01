"""The real pictures or clips that samples are compared with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from zoo.data.columns import check_keys
from zoo.data.examples import Batch, Examples
from zoo.data.source import Source
from zoo.data.tables import load
from zoo.errors import DataError
from zoo.metrics.choice import choose, named
from zoo.model import Model
from zoo.seeds import derive_seed


@dataclass(frozen=True)
class Reals:
    """Those of one split, or of several joined by "+", or a choice of `limit` of them; of each clip one window.

    Attributes:
        key: "image" or "video".
        conditions: the keys of a batch that the model's samples are drawn from, such as "condition".
        others: those of them that are labels or numbers, which are taken where the data have them.
        shown: what samples are drawn from besides, which `show` makes of the clips: `Model.shown` and `Model.show`.
        frames: of a clip that are compared; 0 of pictures.
    """

    parts: tuple[Examples, ...]
    split: str
    chosen: Sequence[int]
    key: str
    conditions: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    show: Callable[[Batch], Batch] = field(default=lambda batch: batch)
    frames: int = 0

    @classmethod
    def load(
        cls,
        data: str,
        split: str,
        model: Model,
        limit: int | None,
        seed: int,
        *,
        options: Collection[str] = (),
        **reading: Any,
    ) -> Reals:
        """Keywords and errors as of `zoo.data.load`; of the `options` of sampling that are given none is read."""
        key = "video" if model.spec.is_video else "image"
        kinds = {option.name: option.type for option in model.spec.sample_options if option.name not in (key, *options)}
        shapes: Mapping[str, tuple[int, ...]] = model.batch_shapes
        wanted = {name: shape for name, shape in shapes.items() if kinds.get(name) in ("image", "video")}
        shown = tuple(name for name in model.shown if name in kinds)
        numbered = ("label", "tensor") if wanted or shown else ()
        others = {name: shape for name, shape in shapes.items() if kinds.get(name) in numbered}
        numbers = {name: shape for name, shape in others.items() if kinds[name] == "tensor"}
        how: dict[str, Any] = {"who": model.spec.name, "optional": numbers, **reading}
        asked = {key: shapes[key], **wanted, **others}
        columns = reading.get("columns") or {}
        check_keys(columns, (*shapes, *model.optional_shapes, "label", "caption"), model.spec.name)
        how["columns"] = {name: column for name, column in columns.items() if name in (*asked, "label", "caption")}
        parts = tuple(load(data, part.strip(), asked, **how) for part in split.split("+"))
        for part in parts if "label" in others else ():
            _check_labels(model, part)
        whole = sum(map(len, parts))
        chosen = choose(whole, limit, seed)
        held = tuple(name for name in others if all(name in part.given for part in parts))
        one = model.show({name: torch.empty(1, *shape, device="meta") for name, shape in asked.items()})[key]
        frames = one.shape[1] if key == "video" else 0
        split = named(split, len(chosen), whole, seed)
        return cls(parts, split, chosen, key, (*wanted, *held), held, shown, model.show, frames)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def source(self) -> Source:
        return self.parts[0].source

    def halves(self, seed: int) -> tuple[Reals, Reals]:
        """Two halves without a common example, chosen by the seed."""
        first = choose(len(self), len(self) // 2, derive_seed(seed, "half"))
        others = sorted(set(range(len(self))) - set(first))[: len(first)]
        return replace(self, chosen=[self.chosen[i] for i in first]), replace(
            self, chosen=[self.chosen[i] for i in others]
        )

    def batches(self, rows: range, size: int) -> Iterator[torch.Tensor]:
        """The chosen pictures (N, C, H, W) or clips (N, T, C, H, W), by their place among them, uint8; at most `size`
        at once."""
        for first in range(rows.start, rows.stop, size):
            yield self.batch(range(first, min(first + size, rows.stop)))[self.key]

    def batch(self, rows: Sequence[int]) -> Batch:
        """Examples by their place among the chosen ones, in the order of `rows`."""
        numbers = [self.chosen[row] for row in rows]
        found: list[Batch] = []
        places: list[int] = []  # in the batch, of what is found
        before = 0
        for part in self.parts:
            own = [place for place, i in enumerate(numbers) if before <= i < before + len(part)]
            if own:
                found.append(part.batch([numbers[place] - before for place in own]))
                places += own
            before += len(part)
        order = torch.tensor(places, device="cpu").argsort()
        keys = (self.key, *self.conditions)
        return self.show({key: torch.cat([batch[key] for batch in found])[order] for key in keys})


def _check_labels(model: Model, part: Examples) -> None:
    """Raise DataError for labels that a model does not know, or that are missing in some rows."""
    if part.trouble:
        raise DataError(part.trouble)
    known = model.label_classes
    if part.labels is not None and known is not None and (most := int(part.labels.max())) >= known:
        column = part.reader.cells["label"].column
        mend = f"{model.spec.name} knows 0 to {known - 1}; name another column with --column label=NAME"
        raise DataError(f"column '{column}' of {part.source.name} has labels up to {most}, but this {mend}")


def shuffled(clips: torch.Tensor, seed: int, first: int) -> torch.Tensor:
    """Clips (N, T, C, H, W) with their frames in an order of chance, that of clip i from (seed, first + i)."""
    orders = []
    for i in range(len(clips)):
        generator = torch.Generator().manual_seed(derive_seed(seed, "shuffled", first + i))
        orders.append(clips[i, torch.randperm(clips.shape[1], generator=generator)])
    return torch.stack(orders)
