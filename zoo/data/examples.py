"""The examples of a split: in memory where they fit, else decoded batch by batch.

Tables come from `zoo.data.tables` with undecoded pictures; how a row is read is for `zoo.data.reader` to know.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from zoo.data.reader import Reader, UnreadableError
from zoo.data.threads import alone
from zoo.errors import DataError, one_line

MEMORY_LIMIT = 4 * 2**30  # bytes of decoded pictures and clips kept
THREADED_FROM = 128 * 128  # pixels of an example
CLASSES_LIMIT = 2**20  # what is beyond is a number of something else
AT_ONCE = 1024  # rows of a table read at once, fewer of clips

# "image" (B, C, H, W) or "video" (B, T, C, H, W), uint8, and whatever else is wanted, such as "condition"; where
# the data have them "label" (B,), int64, and "caption", a list of B texts.
Batch = dict[str, Any]


class Examples:
    """One split of a data set.

    Attributes:
        source: where it comes from.
        split: "train", "validation", "test", or the first examples of one, "train[:1000]".
        labels: (N,), int64, and `classes` their names; None and () if there are none, or none that can be used, of
            which `trouble` says why.
        captions: N texts, or None if there are none.
    """

    def __init__(self, table: Any, reader: Reader, split: str, threads: int) -> None:
        self.reader, self.source, self.split = reader, reader.source, split
        self._pool = ThreadPoolExecutor(max(1, threads), initializer=alone)
        self._table, self._decoded = _load(table, reader, self._map)
        labels, captions = (reader.cells.get(key) for key in ("label", "caption"))
        column = labels.column if labels else None
        self.labels, self.classes, self.trouble = _labels(self._table, column, self.source.name)
        self.captions: list[str] | None = self._table[captions.column][:] if captions else None

    def __len__(self) -> int:
        return len(self._table)

    @property
    def given(self) -> tuple[str, ...]:
        """The keys of a batch."""
        columns = {"label": self.labels, "caption": self.captions}
        return (*self.reader.decoded, *(name for name, values in columns.items() if values is not None))

    def largest(self, key: str) -> int:
        """The largest value of some label maps: of all that are in memory, else of the first 64."""
        if self._decoded is not None:
            return max(int(values[key].max()) for values in self._decoded)
        return int(self.batch(range(min(len(self), 64)))[key].max())

    def first(self) -> dict[str, str]:
        """Where the first example comes from, key by key: files, or a column of the table."""
        row = self._table[0]
        found = {}
        for key, cells in self.reader.decoded.items():
            cell = row[cells.column]
            files = [part["path"] for part in (cell if isinstance(cell, list) else [cell]) if _is_file(part)]
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            found[key] = f"{files[0]}{more}" if files else f"column '{cells.column}'"
            found[key] += f", the {cells.half} half" if cells.half else ""
        return found

    def batch(self, indices: Sequence[int], places: Sequence[int] | None = None) -> Batch:
        """Examples by number.

        Args:
            indices: which.
            places: of each in the order of training, from which the windows of clips follow; by default each clip has
                one window, which follows from its number.
        """
        where: Sequence[int | str] = [f"held {i}" for i in indices] if places is None else places
        rows = self._rows(indices)
        examples = [self.reader.cut(values, place) for values, place in zip(rows, where, strict=True)]
        batch: Batch = {key: torch.stack([example[key] for example in examples]) for key in self.reader.decoded}
        if self.labels is not None:
            batch["label"] = self.labels[list(indices)]
        if self.captions is not None:
            batch["caption"] = [self.captions[i] for i in indices]
        return batch

    def batches(self, size: int) -> Iterator[Batch]:
        """All examples in order."""
        for first in range(0, len(self), size):
            yield self.batch(range(first, min(first + size, len(self))))

    def fingerprint(self) -> str:
        """A checksum of labels, captions and decoded examples; of what is not in memory, of 64 examples."""
        count = len(self)
        chosen = range(count) if self._decoded is not None else sorted({i * count // 64 for i in range(64)})
        found = zlib.crc32(repr((count, self.labels, self.captions)).encode())
        if self.labels is not None:
            found = zlib.crc32(self.labels.numpy().data, found)
        for first in range(0, len(chosen), AT_ONCE):
            for row in self._rows(chosen[first : first + AT_ONCE]):
                for value in row.values():
                    found = zlib.crc32(value.contiguous().numpy().data, found)
        return f"{found:08x}"

    def _rows(self, indices: Sequence[int]) -> Sequence[dict[str, torch.Tensor]]:
        if self._decoded is not None:
            return [self._decoded[i] for i in indices]
        return list(self._map(self.reader.read, _cells(self._table, self.reader, indices)))

    def _map(self, read: Any, rows: Any) -> Any:
        """Threads help where decoding itself takes time; small pictures they only pass around."""
        pixels = max((torch.Size(cells.shape).numel() for cells in self.reader.decoded.values()), default=0)
        return self._pool.map(read, rows) if pixels >= THREADED_FROM else map(read, rows)


def _is_file(cell: Any) -> bool:
    """Whether a picture or clip lies in a file of its own, and not in the table."""
    return isinstance(cell, dict) and bool(cell.get("path")) and not cell.get("bytes")


def _cells(table: Any, reader: Reader, indices: Sequence[int]) -> list[dict[str, Any]]:
    """The undecoded cells of some rows."""
    names = list(dict.fromkeys(cells.column for cells in reader.decoded.values()))
    columns = table.select_columns(names)[list(indices)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _load(table: Any, reader: Reader, spread: Any) -> tuple[Any, list[dict[str, torch.Tensor]] | None]:
    """The rows that can be used, decoded if they fit into memory.

    Clips that are shorter than a window, and video files that can't be read, are left out with a warning.
    """
    shapes = [cells.shape for cells in reader.decoded.values()]
    room = MEMORY_LIMIT
    if not reader.clips and len(table) * sum(torch.Size(shape).numel() for shape in shapes) > room:
        return table, None
    decoded: list[dict[str, torch.Tensor]] | None = []
    kept, problems = [], []
    size = 16 if reader.clips else AT_ONCE
    lengths = []
    for first in range(0, len(table), size):
        rows = _cells(table, reader, range(first, min(first + size, len(table))))
        results = spread(_either(reader.read if decoded is not None else reader.length), rows)
        for i, found in enumerate(results, first):
            if isinstance(found, DataError):
                if not isinstance(found, UnreadableError):
                    raise found
                problems.append(one_line(found))
                continue
            length = found if isinstance(found, int) else min((len(found[key]) for key in reader.clips), default=0)
            if length < reader.window:
                lengths.append(length)
                continue
            kept.append(i)
            if decoded is not None:
                decoded.append(found)
                room -= sum(value.numel() for value in found.values())
                if room < 0:
                    decoded = None
    if problems:
        shown = "; ".join(problems[:3])
        warnings.warn(f"{reader.source.name}: {len(problems)} clips are left out: {shown}", stacklevel=2)
    if lengths:
        left = f"{len(lengths)} of {len(table)} clips have fewer than the {reader.window} frames of a window"
        warnings.warn(
            f"{reader.source.name}: {left} ({min(lengths)} to {max(lengths)}), and are left out", stacklevel=2
        )
    if not kept and len(table):
        why = "none can be read" if not lengths else f"none has the {reader.window} frames of a window"
        raise DataError(f"{reader.source.name} has no clip that can be used: {why}")
    return (table if len(kept) == len(table) else table.select(kept)), decoded


def _either(read: Any) -> Any:
    """A function whose DataError is its answer."""

    def answer(row: dict[str, Any]) -> Any:
        try:
            return read(row)
        except DataError as error:
            return error

    return answer


def _labels(table: Any, column: str | None, name: str) -> tuple[torch.Tensor | None, tuple[str, ...], str]:
    """All labels, (N,), the names of the classes, and what is wrong with the labels, if they are of no use."""
    if column is None or not len(table):
        return None, (), ""
    values = table[column][:]
    bad = next((i for i, value in enumerate(values) if value is None or value < 0), None)
    if bad is not None:
        found = "no label" if values[bad] is None else f"label {values[bad]}"
        return None, (), f"row {bad} of {name} has {found} in column '{column}'"
    if (most := max(values)) >= CLASSES_LIMIT:
        return None, (), f"column '{column}' of {name} has values up to {most}, which are no numbers of classes"
    labels = torch.tensor(values, dtype=torch.int64)
    names = getattr(table.features[column], "names", None) or map(str, range(int(labels.max()) + 1))
    return labels, tuple(names), ""
