"""The order of training: shuffled, or as a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from zoo.data.pictures import Batch, Columns, Pictures, decode_picture
from zoo.data.source import Source
from zoo.errors import DataError
from zoo.seeds import derive_seed


class Stream:
    """A training split too large for the disk, read in order and shuffled in blocks.

    Block b holds BLOCK examples of the endless stream, in an order that follows from (seed, b). Its beginning is
    remembered, so that a resumed run reads the same block again and goes on exactly.
    """

    BLOCK = 4096

    def __init__(
        self, table: Any, columns: Columns, source: Source, image_shape: tuple[int, int, int], seed: int
    ) -> None:
        self.source, self.image_shape, self.seed = source, image_shape, seed
        self.column = columns.image
        self._given = {
            name: column for name, column in (("label", columns.label), ("caption", columns.caption)) if column
        }
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
        """What a batch holds beside "image"."""
        return tuple(self._given)

    def take(self, first: int, count: int) -> Batch:
        """Examples `first` to `first + count - 1` of the stream, which only goes forward."""
        cells = [self._cell(position) for position in range(first, first + count)]
        pictures = [decode_picture(cell[self.column], self.column, self.source, self.image_shape) for cell in cells]
        batch: Batch = {"image": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()}
        for name, column in self._given.items():
            values = [cell[column] for cell in cells]
            batch[name] = torch.tensor(values) if name == "label" else values
        return batch

    def _cell(self, position: int) -> dict[str, Any]:
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
        for _ in range(2):
            row: dict[str, Any] | None = next(self._rows, None)
            if row is not None:
                return row
            self._epoch += 1
            self._table.set_epoch(self._epoch)
            self._rows = iter(self._table)
        raise DataError(f"the training split of {self.source.name} is empty")

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

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self.pictures, self.source, self.seed = pictures, pictures.source, seed
        self._orders: dict[int, list[int]] = {}

    def take(self, first: int, count: int) -> Batch:
        """Examples `first` to `first + count - 1` of all epochs laid end to end."""
        return self.pictures.batch([self._index(position) for position in range(first, first + count)])

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.pictures))
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            kept = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders = {**kept, epoch: torch.randperm(len(self.pictures), generator=generator).tolist()}
        return self._orders[epoch][offset]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the order follows from the seed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""
