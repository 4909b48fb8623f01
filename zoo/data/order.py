"""The order of training: shuffled, or as a stream."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from zoo.data.examples import Batch, Examples
from zoo.data.reader import Reader, UnreadableError
from zoo.errors import DataError, one_line
from zoo.seeds import derive_seed


class Stream:
    """A training split too large for the disk, read in order and shuffled in blocks.

    Block b holds BLOCK examples of the endless stream, in an order that follows from (seed, b). Its beginning is
    remembered, so that a resumed run reads the same block again and goes on exactly.

    Args:
        table: an iterable data set, undecoded.
        reader: of its rows.
        seed: of the order.
        classes: how many there are; None where any label will do.
        needed: keys without which a batch is of no use. Labels that are none are left out of batches that do not need
            them, and else a DataError.
    """

    BLOCK = 4096

    def __init__(
        self, table: Any, reader: Reader, seed: int, *, classes: int | None = None, needed: Collection[str] = ()
    ) -> None:
        self.reader, self.source, self.seed = reader, reader.source, seed
        self.classes, self.needed = classes, needed
        self._whole = {key: cells.column for key, cells in reader.cells.items() if key not in reader.decoded}
        # A buffer of 1 shuffles the order of the files alone; within them the blocks do. One file is read at a time:
        # the threads that read several end with a pause of 5 s.
        self._table = table.shuffle(seed=seed, buffer_size=1, max_buffer_input_shards=1)
        self._rows = iter(self._table)
        self._epoch = 0
        self._number = -1
        self._block: list[dict[str, Any]] = []
        self._state = self._here()

    @property
    def given(self) -> tuple[str, ...]:
        """The keys of a batch."""
        return tuple(self.reader.cells)

    def take(self, first: int, count: int) -> Batch:
        """Examples `first` to `first + count - 1` of the stream, which only goes forward."""
        rows = [self._row(position) for position in range(first, first + count)]
        examples = [self.reader.cut(self.reader.read(row), first + i) for i, row in enumerate(rows)]
        batch: Batch = {key: torch.stack([example[key] for example in examples]) for key in self.reader.decoded}
        for key, column in self._whole.items():
            values = [row[column] for row in rows]
            if key != "label":
                batch[key] = values
            elif not (wrong := self._wrong(values, column)):
                batch[key] = torch.tensor(values)
            elif key in self.needed:
                raise DataError(wrong)
        return batch

    def _wrong(self, labels: list[int | None], column: str) -> str:
        """What is wrong with the labels of a batch; empty if nothing is."""
        for label in labels:
            if label is None or label < 0:
                found = "no label" if label is None else f"label {label}"
                return f"a row of {self.source.name} has {found} in column '{column}'"
            if self.classes is not None and label >= self.classes:
                return f"a row of {self.source.name} has label {label}, but the classes are 0 to {self.classes - 1}"
        return ""

    def _row(self, position: int) -> dict[str, Any]:
        number, offset = divmod(position, self.BLOCK)
        while self._number < number:
            self._state = self._here()
            self._number += 1
            block = [self._next() for _ in range(self.BLOCK)]
            generator = np.random.default_rng(derive_seed(self.seed, "block", self._number))
            self._block = [block[i] for i in generator.permutation(self.BLOCK)]
        if number != self._number:
            raise ValueError(f"example {position} lies {self._number - number} blocks back")
        return self._block[offset]

    def _next(self) -> dict[str, Any]:
        found = 0
        for _ in range(2):
            for row in self._rows:
                if self._is_long(row):
                    return dict(row)
                found += 1
            self._epoch += 1
            self._table.set_epoch(self._epoch)
            self._rows = iter(self._table)
        if found:
            why = f"none that can be read has the {self.reader.window} frames of a window"
            raise DataError(f"{self.source.name} has no clip that can be used: {why}")
        raise DataError(f"the training split of {self.source.name} is empty")

    def _is_long(self, row: dict[str, Any]) -> bool:
        """Whether a row is no clip, or one that can be read and holds a window."""
        try:
            return not self.reader.clips or self.reader.length(row) >= self.reader.window
        except UnreadableError as error:
            warnings.warn(f"{self.source.name}: a clip is left out: {one_line(error)}", stacklevel=2)
            return False

    def _here(self) -> dict[str, Any]:
        return {"number": self._number, "epoch": self._epoch, "table": self._table.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        """Where the block in use begins."""
        state: dict[str, Any] = self._state
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where a block began."""
        self._number, self._epoch, self._state = state["number"], state["epoch"], state
        self._table.set_epoch(self._epoch)
        self._table.load_state_dict(state["table"])
        self._rows = iter(self._table)


class Shuffled:
    """A split in memory or on disk, in the order of training: one permutation an epoch, from (seed, epoch)."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self.examples, self.source, self.seed = examples, examples.source, seed
        self._orders: dict[int, list[int]] = {}

    def take(self, first: int, count: int) -> Batch:
        """Examples `first` to `first + count - 1` of all epochs laid end to end."""
        places = range(first, first + count)
        return self.examples.batch([self._index(place) for place in places], places)

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.examples))
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            kept = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders = {**kept, epoch: torch.randperm(len(self.examples), generator=generator).tolist()}
        return self._orders[epoch][offset]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the order follows from the seed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""
