"""The pictures of a split: in memory where they fit, decoded batch by batch, shuffled, or as a stream.

Tables come from `zoo.data` with undecoded pictures, and say nothing here of where they were read.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo.data.source import Source
from zoo.errors import DataError

MODES = {1: ("1", "L"), 3: ("RGB",)}
MEMORY_LIMIT = 4 * 2**30  # bytes of decoded pictures kept
THREADED_FROM = 128 * 128  # pixels

# "image" (B, C, H, W), uint8; where the data have them "label" (B,), int64, and "caption", a list of B texts.
Batch = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold the pictures and what is known of them; None where there is none."""

    image: str
    label: str | None
    caption: str | None


class Pictures:
    """One split of a data set.

    Attributes:
        source: where it comes from.
        split: "train", "validation" or "test".
        image_shape: (C, H, W) of every picture.
        labels: (N,), int64, and `classes` their names; None and () if there are none.
        captions: N texts, or None if there are none.
    """

    def __init__(
        self,
        table: Any,
        columns: Columns,
        source: Source,
        split: str,
        image_shape: tuple[int, int, int],
        threads: int,
    ) -> None:
        self.source, self.split, self.image_shape = source, split, image_shape
        self._table, self.column = table, columns.image
        self._pool = ThreadPoolExecutor(max(1, threads))
        self.labels, self.classes = _labels(table, columns.label)
        self.captions: list[str] | None = table[columns.caption][:] if columns.caption else None
        self._decoded: torch.Tensor | None = None
        if len(table) and len(table) * torch.Size(image_shape).numel() <= MEMORY_LIMIT:
            self._decoded = self._decode(range(len(table)))

    def __len__(self) -> int:
        return len(self._table)

    @property
    def given(self) -> tuple[str, ...]:
        """What a batch holds beside "image"."""
        columns = {"label": self.labels, "caption": self.captions}
        return tuple(name for name, values in columns.items() if values is not None)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Pictures by number."""
        whole = self._decoded
        batch: Batch = {"image": self._decode(indices) if whole is None else whole[list(indices)]}
        if self.labels is not None:
            batch["label"] = self.labels[list(indices)]
        if self.captions is not None:
            batch["caption"] = [self.captions[i] for i in indices]
        return batch

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """All pictures in order, or the first `limit`."""
        n = len(self) if limit is None else min(limit, len(self))
        for first in range(0, n, size):
            yield self.batch(range(first, min(first + size, n)))

    def _decode(self, indices: Sequence[int]) -> torch.Tensor:
        channels, height, width = self.image_shape
        decoded = np.empty((len(indices), height, width, channels), dtype=np.uint8)
        read = functools.partial(decode_picture, column=self.column, source=self.source, image_shape=self.image_shape)
        # Threads help where decoding itself takes time; small pictures they only pass around.
        spread = self._pool.map if height * width >= THREADED_FROM else map
        for first in range(0, len(indices), 1024):
            rows = self._table[list(indices[first : first + 1024])][self.column]
            for i, picture in enumerate(spread(read, rows), first):
                decoded[i] = picture
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous()


def decode_picture(
    cell: dict[str, Any], column: str, source: Source, image_shape: tuple[int, int, int]
) -> np.ndarray[Any, Any]:
    """One decoded picture, (H, W, C); a larger one is reduced if its data set allows it."""
    channels, height, width = image_shape
    where = f"'{cell['path']}'" if cell["path"] and not cell["bytes"] else f"column '{column}' of {source.name}"
    try:
        with Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"]) as picture:
            factor = max(1, picture.width // width) if source.spec.resize else 1
            if picture.size != (factor * width, factor * height) or picture.mode not in MODES[channels]:
                raise DataError(
                    f"{where} holds a picture of {picture.width}x{picture.height}, mode {picture.mode}; the model "
                    f"needs {width}x{height}, mode {MODES[channels][-1]}: convert it, or give the model that size"
                )
            whole = picture.convert("L") if picture.mode == "1" else picture
            return np.asarray(whole.reduce(factor), dtype=np.uint8).reshape(height, width, channels)
    except (OSError, TypeError) as error:
        raise DataError(f"{where} holds something that is no picture: {error}") from None


def _labels(table: Any, column: str | None) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """All labels, (N,), and the names of the classes."""
    if column is None or not len(table):
        return None, ()
    labels = torch.tensor(table[column][:], dtype=torch.int64)
    names = getattr(table.features[column], "names", None) or map(str, range(int(labels.max()) + 1))
    return labels, tuple(names)
