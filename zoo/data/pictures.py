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
from PIL import Image, ImageOps

from zoo.data.source import Source
from zoo.errors import DataError
from zoo.media import readable, to_array

MODES = {1: "L", 3: "RGB"}  # what a model of so many channels is given
GREY = ("1", "L", "LA", "La")
EITHER = ("P", "PA")  # the palette may be of greys
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
        labels: (N,), int64, and `classes` their names; None and () if there are none, or none that can be used, of
            which `trouble` says why.
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
        self.labels, self.classes, self.trouble = _labels(table, columns.label, source.name)
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

    def batches(self, size: int) -> Iterator[Batch]:
        """All pictures in order."""
        for first in range(0, len(self), size):
            yield self.batch(range(first, min(first + size, len(self))))

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
    is_file = cell and cell["path"] and not cell["bytes"]
    where = f"'{cell['path']}'" if is_file else f"column '{column}' of {source.name}"
    if not cell:
        raise DataError(f"{where} is empty in a row: there is no picture")
    with readable(where), Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"]) as picture:
        pixels = to_array(picture, channels, where)
        is_grey = picture.mode in GREY or picture.mode.startswith("I")
        fits = is_grey == (channels == 1) or picture.mode in EITHER
        fitted = _fitted(pixels, height, width, source.spec.resize) if fits else None
        if fitted is None:
            raise DataError(
                f"{where} holds a picture of {pixels.shape[1]}x{pixels.shape[0]}, mode {picture.mode}; the model needs "
                f"{width}x{height}, mode {MODES[channels]}: convert it, "
                f"{'bring it to that size by --resize, ' if fits else ''}or give the model what the pictures are"
            )
        return fitted


def _fitted(pixels: np.ndarray[Any, Any], height: int, width: int, resize: str | None) -> np.ndarray[Any, Any] | None:
    """A picture (H, W, C) at the model's size; None if nobody asked for it to be brought there."""
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, picture.width // width)
    if resize == "antialias":
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)  # centre crop, filtered
    elif resize == "box" and picture.size == (factor * width, factor * height):
        picture = picture.reduce(factor)
    else:
        return None
    return np.asarray(picture, dtype=np.uint8).reshape(height, width, pixels.shape[2])


def _labels(table: Any, column: str | None, name: str) -> tuple[torch.Tensor | None, tuple[str, ...], str]:
    """All labels, (N,), the names of the classes, and what is wrong with the labels, if they are of no use."""
    if column is None or not len(table):
        return None, (), ""
    values = table[column][:]
    bad = next((i for i, value in enumerate(values) if value is None or value < 0), None)
    if bad is not None:
        found = "no label" if values[bad] is None else f"label {values[bad]}"
        return None, (), f"row {bad} of {name} has {found} in column '{column}'"
    labels = torch.tensor(values, dtype=torch.int64)
    names = getattr(table.features[column], "names", None) or map(str, range(int(labels.max()) + 1))
    return labels, tuple(names), ""
