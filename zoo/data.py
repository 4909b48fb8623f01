"""Data for training and measuring: a name, a Hub data set, or a local folder or parquet, by `datasets.load_dataset`.

Pictures are uint8 from 0 to 255 at this door, (C, H, W); a model brings them to its own range inside. They are decoded
once into memory where they fit, else batch by batch.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo import registry
from zoo.errors import DataError, unknown
from zoo.network import unreachable
from zoo.sampling import derive_seed
from zoo.spec import DataSpec

MODES = {1: ("1", "L"), 3: ("RGB",)}
MEMORY_LIMIT = 4 * 2**30  # bytes of decoded pictures kept
STREAM_HOLDOUT = 1000
THREADED_FROM = 128 * 128  # pixels
SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}

# "image" (B, C, H, W), uint8; where the data have them "label" (B,), int64, and "caption", a list of B texts.
Batch = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where a `--data` argument leads: the arguments of `load_dataset` and what is known about the set."""

    name: str
    path: str
    arguments: dict[str, Any]
    spec: DataSpec
    revision: str


class Pictures:
    """One split of a data set.

    Attributes:
        source: where it comes from.
        split: "train", "validation" or "test".
        image_shape: (C, H, W) of every picture.
        labels: (N,), int64, and `classes` their names; None and () if there are none.
        captions: N texts, or None if there are none.
    """

    def __init__(self, table: Any, source: Source, split: str, image_shape: tuple[int, int, int], threads: int) -> None:
        import datasets

        self.source, self.split, self.image_shape = source, split, image_shape
        self.column = _image_column(table, source)
        self._table = table.cast_column(self.column, datasets.Image(decode=False))
        self._pool = ThreadPoolExecutor(max(1, threads))
        self.labels, self.classes = _labels(table, source.spec)
        caption = _column(table, source.spec, "caption")
        self.captions: list[str] | None = table[caption][:] if caption else None
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
        read = functools.partial(_picture, column=self.column, source=self.source, image_shape=self.image_shape)
        # Threads help where decoding itself takes time; small pictures they only pass around.
        spread = self._pool.map if height * width >= THREADED_FROM else map
        for first in range(0, len(indices), 1024):
            rows = self._table[list(indices[first : first + 1024])][self.column]
            for i, picture in enumerate(spread(read, rows), first):
                decoded[i] = picture
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous()


class Stream:
    """A training split too large for the disk, read in order and shuffled in blocks.

    Block b holds BLOCK examples of the endless stream, in an order that follows from (seed, b). Its beginning is
    remembered, so that a resumed run reads the same block again and goes on exactly.
    """

    BLOCK = 4096

    def __init__(self, table: Any, source: Source, image_shape: tuple[int, int, int], seed: int) -> None:
        import datasets

        self.source, self.image_shape, self.seed = source, image_shape, seed
        self.column = _image_column(table, source)
        columns = {"label": _column(table, source.spec, "label"), "caption": _column(table, source.spec, "caption")}
        self._given = {name: column for name, column in columns.items() if column}
        # A buffer of 1 shuffles the order of the files alone; within them the blocks do. One file is read at a time:
        # the threads that read several end with a pause of 5 s.
        self._table = table.cast_column(self.column, datasets.Image(decode=False)).shuffle(
            seed=seed, buffer_size=1, max_buffer_input_shards=1
        )
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
        pictures = [_picture(cell[self.column], self.column, self.source, self.image_shape) for cell in cells]
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


def _picture(
    cell: dict[str, Any], column: str, source: Source, image_shape: tuple[int, int, int]
) -> np.ndarray[Any, Any]:
    """One decoded picture, (H, W, C); a larger one is reduced if its data set allows it."""
    channels, height, width = image_shape
    where = f"column '{column}' of {source.name}"
    try:
        with Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"]) as picture:
            factor = max(1, picture.width // width) if source.spec.resize else 1
            if picture.size != (factor * width, factor * height) or picture.mode not in MODES[channels]:
                raise DataError(
                    f"{where} holds a picture of {picture.width}x{picture.height}, mode {picture.mode}; "
                    f"the model needs {width}x{height}, mode {MODES[channels][-1]}"
                )
            whole = picture.convert("L") if picture.mode == "1" else picture
            return np.asarray(whole.reduce(factor), dtype=np.uint8).reshape(height, width, channels)
    except (OSError, TypeError) as error:
        raise DataError(f"{where} holds something that is no picture: {error}") from None


def find(data: str) -> Source:
    """What a `--data` argument means: a local path, a registered name, or a Hub id, in this order.

    Raises:
        UnknownNameError: none of them.
        DataError: a name that has no source on the Hub and is not in `$ZOO_DATA`.
    """
    spec = registry.data_spec(data)
    if spec is not None:
        shelf = os.environ.get("ZOO_DATA")
        if shelf and (Path(shelf) / data).is_dir():
            return Source(data, str(Path(shelf) / data), {}, spec, "local")
        if spec.repo is None:
            raise DataError(f"'{data}' is not on the Hub; put its folder into $ZOO_DATA as $ZOO_DATA/{data}")
        return Source(data, spec.repo, {"revision": spec.revision}, spec, spec.revision or "main")
    path = Path(data).expanduser()
    guessed = DataSpec(name=data, summary="", repo=None, licence="unknown", image_column="", holdout=-1)
    if path.is_dir():
        return Source(data, str(path), {}, guessed, "local")
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(f"'{data}' is no table; a file must be one of {', '.join(SUFFIXES)}")
        return Source(data, SUFFIXES[path.suffix], {"data_files": str(path)}, guessed, "local")
    if data.startswith((".", "/", "~")):
        raise DataError(f"there is no folder or file '{data}'")
    if data.count("/") == 1:
        return Source(data, data, {}, guessed, "main")
    hint = "(or a folder, a parquet file, or owner/name on the Hub)"
    raise unknown("data set", data, [spec.name for spec in registry.datasets()], hint)


def load(data: str, split: str, image_shape: tuple[int, int, int], *, threads: int = 2) -> Pictures:
    """One split of a data set, ready to use.

    Args:
        data: a registered name, a Hub id, a folder of pictures, a folder or file of tables.
        split: "train", "validation" or "test". A set without validation split gives the end of its training split.
        image_shape: (C, H, W) that every picture must have, or be brought to if the set is to be resized.
        threads: decoding threads.

    Raises:
        UnknownNameError: no such data set or split.
        DataError: no picture column, or pictures of another size or mode.
    """
    if image_shape[0] not in MODES:
        raise DataError(f"pictures have 1 or 3 channels, but the model has {image_shape[0]}")
    source = find(data)
    tables = _tables(source)
    own = source.spec.splits.get(split, split)
    holdout = source.spec.holdout
    if own not in tables and not (split == "validation" and holdout):
        raise unknown(f"split of {data}", split, tables)
    table = tables[own] if own in tables else tables[source.spec.splits["train"]]
    if holdout and source.spec.splits.get("validation", "validation") not in tables:
        held = holdout if holdout > 0 else min(5000, max(1, len(table) // 20))
        if split == "train":
            table = table.select(range(max(0, len(table) - held)))
        elif split == "validation":
            table = table.select(range(max(0, len(table) - held), len(table)))
    if not len(table):
        raise DataError(f"split '{split}' of {data} is empty")
    return Pictures(table, source, split, image_shape, threads)


def stream(data: str, image_shape: tuple[int, int, int], seed: int, *, threads: int = 2) -> tuple[Stream, Pictures]:
    """The training split of a data set read as a stream, and its validation split in memory.

    Without a validation split the first pictures of the stream are held out. Arguments and errors as of `load`.
    """
    import datasets

    source = find(data)
    tables = _tables(source, streaming=True)
    train, own = tables[source.spec.splits["train"]], source.spec.splits.get("validation", "validation")
    held = source.spec.holdout if source.spec.holdout > 0 else STREAM_HOLDOUT
    if own not in tables:
        tables[own], train = train.take(held), train.skip(held)
    rows = list(tables[own].take(5000).cast_column(_image_column(train, source), datasets.Image(decode=False)))
    validation = datasets.Dataset.from_list(rows, features=train.features)
    return Stream(train, source, image_shape, seed), Pictures(validation, source, "validation", image_shape, threads)


def _tables(source: Source, *, streaming: bool = False) -> dict[str, Any]:
    """All splits of a data set, as `datasets` loads them."""
    try:
        import datasets
    except ImportError:
        raise DataError("reading data needs the 'datasets' package: pip install datasets") from None
    datasets.disable_progress_bars()
    local = Path(source.path).exists() or source.path in SUFFIXES.values()
    trouble = None if local or datasets.config.HF_HUB_OFFLINE else unreachable()
    try:
        if trouble:  # what is in the cache needs no network, and the library would retry for half a minute
            loaded = _from_cache(source)
        elif (Path(source.path) / "dataset_dict.json").is_file() or (Path(source.path) / "state.json").is_file():
            loaded = datasets.load_from_disk(source.path)
        else:
            loaded = datasets.load_dataset(source.path, streaming=streaming, **source.arguments)
    except Exception as error:  # datasets raises a dozen types, its builders more
        text = " ".join(str(error).split())
        if trouble:
            where = f"put a copy into $ZOO_DATA/{source.name}" if "/" not in source.name else "give a local folder"
            text = f"the Hub can't be reached ({trouble}), and the cache does not hold it; {where}"
        raise DataError(f"can't load '{source.name}': {text[:300]}") from error
    tables = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
    return {split: _captioned(table, source) for split, table in tables.items()}


def _from_cache(source: Source) -> dict[str, Any]:
    """A Hub data set without a network; raises whatever datasets raises if it was never downloaded."""
    import datasets
    from huggingface_hub import constants

    offline = [(datasets.config, datasets.config.HF_HUB_OFFLINE), (constants, constants.HF_HUB_OFFLINE)]
    try:
        for module, _ in offline:
            module.HF_HUB_OFFLINE = True
        return dict(datasets.load_dataset(source.path, **source.arguments))
    finally:
        for module, before in offline:
            module.HF_HUB_OFFLINE = before


def _image_column(table: Any, source: Source) -> str:
    import datasets

    columns = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    wanted = source.spec.image_column
    if wanted in columns:
        return wanted
    if columns:
        return "image" if "image" in columns else columns[0]
    found = ", ".join(f"{name} ({feature})" for name, feature in table.features.items())
    raise DataError(f"{source.name} has no picture column; it has: {found[:300]}")


def _column(table: Any, spec: DataSpec, what: str) -> str | None:
    """The column of integer labels or of captions, or None; raises DataError if the spec promises one that is not
    there."""
    import datasets

    promised = {"label": spec.label_column, "caption": spec.caption_column}[what]
    kinds = {"label": ("int", "uint"), "caption": ("string", "large_string")}[what]
    column = promised or what
    feature = table.features.get(column)
    if isinstance(feature, datasets.Value) and feature.dtype.startswith(kinds):
        return column
    if what == "label" and isinstance(feature, datasets.ClassLabel):
        return column
    if promised:
        raise DataError(f"{spec.name} has no {what} column '{column}'; it has: {', '.join(table.features)}")
    return None


def _captioned(table: Any, source: Source) -> Any:
    """Without the pictures whose promised caption is missing or blank."""
    if not source.spec.caption_column:
        return table
    import datasets

    column = _column(table, source.spec, "caption")
    undecoded = table.cast_column(_image_column(table, source), datasets.Image(decode=False))
    return undecoded.filter(_is_text, input_columns=[column])


def _is_text(caption: str | None) -> bool:
    return bool(caption and caption.strip())


def _labels(table: Any, spec: DataSpec) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """All labels, (N,), and the names of the classes."""
    column = _column(table, spec, "label")
    if column is None or not len(table):
        return None, ()
    labels = torch.tensor(table[column][:], dtype=torch.int64)
    names = getattr(table.features[column], "names", None) or map(str, range(int(labels.max()) + 1))
    return labels, tuple(names)
