"""Data for training and measuring: a name, a Hub data set, or a local folder or parquet, by `datasets.load_dataset`.

Pictures are uint8 from 0 to 255 at this door, (C, H, W); a model brings them to its own range inside. `zoo.pictures`
decodes them: once into memory where they fit, else batch by batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.data.folders import read_folder
from zoo.data.order import Shuffled, Stream
from zoo.data.pictures import MODES, Columns, Pictures
from zoo.data.source import SUFFIXES, Source, find
from zoo.errors import DataError, unknown
from zoo.hub.network import unreachable
from zoo.seeds import choose
from zoo.spec import DataSpec

__all__ = ["Pictures", "Shuffled", "Stream", "find", "load", "stream"]

STREAM_HOLDOUT = 1000


def load(
    data: str, split: str | None, image_shape: tuple[int, int, int], *, threads: int = 2, resize: bool = False
) -> Pictures:
    """One split of a data set, ready to use.

    Args:
        data: a registered name, a Hub id, a folder of pictures, a folder or file of tables.
        split: "train", "validation" or "test". A set without validation split gives the end of its training split.
            None is "test", or "validation" where there is no test split.
        image_shape: (C, H, W) that every picture must have, or be brought to if the set is to be resized.
        threads: decoding threads.
        resize: bring pictures of other sizes to the model's: the middle of each, filtered.

    Raises:
        UnknownNameError: no such data set or split.
        DataError: no picture column, or pictures of another size or mode.
    """
    if image_shape[0] not in MODES:
        raise DataError(f"pictures have 1 or 3 channels, but the model has {image_shape[0]}")
    source = find(data, resize=resize)
    tables = _tables(source)
    holdout = source.spec.holdout
    ours = {own: name for name, own in source.spec.splits.items()}
    splits = {ours.get(own, own) for own in tables} | ({"validation"} if holdout else set())
    if split is None:
        split = "test" if "test" in splits else "validation"
    if split not in splits:
        raise unknown(f"split of {data}", split, splits)
    own = source.spec.splits.get(split, split)
    table = tables[own] if own in tables else tables[source.spec.splits["train"]]
    if holdout and source.spec.splits.get("validation", "validation") not in tables:
        held = holdout if holdout > 0 else min(5000, max(1, len(table) // 20))
        if holdout > 0:
            validation: Sequence[int] = range(max(0, len(table) - held), len(table))
        else:  # of one picture alone nothing
            validation = choose(len(table), held, 0, "holdout") if len(table) > 1 else ()
        if split == "validation":
            table = table.select(validation)
        elif split == "train":
            table = table.select(sorted(set(range(len(table))) - set(validation)))
    if not len(table):
        raise DataError(f"split '{split}' of {data} is empty")
    return Pictures(*_undecoded(table, source), source, split, image_shape, threads)


def stream(
    data: str, image_shape: tuple[int, int, int], seed: int, *, threads: int = 2, resize: bool = False
) -> tuple[Stream, Pictures]:
    """The training split of a data set read as a stream, and its validation split in memory.

    Without a validation split the first pictures of the stream are held out. Arguments and errors as of `load`.
    """
    from datasets import Dataset

    source = find(data, resize=resize)
    tables = _tables(source, streaming=True)
    train, own = tables[source.spec.splits["train"]], source.spec.splits.get("validation", "validation")
    held = source.spec.holdout if source.spec.holdout > 0 else STREAM_HOLDOUT
    if own not in tables:
        tables[own], train = train.take(held), train.skip(held)
    undecoded, columns = _undecoded(train, source)
    rows = list(_undecoded(tables[own].take(5000), source)[0])
    validation = Pictures(
        Dataset.from_list(rows, features=undecoded.features), columns, source, "validation", image_shape, threads
    )
    return Stream(undecoded, columns, source, image_shape, seed), validation


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
        elif (folder := _folder(source)) is not None:
            loaded = {name: table.to_iterable_dataset() if streaming else table for name, table in folder.items()}
        else:
            loaded = datasets.load_dataset(source.path, streaming=streaming, **source.arguments)
    except DataError:
        raise
    except Exception as error:  # datasets raises a dozen types, its builders more
        text = " ".join(str(error).split())
        if trouble:
            where = f"put a copy into $ZOO_DATA/{source.name}" if "/" not in source.name else "give a local folder"
            text = f"the Hub can't be reached ({trouble}), and the cache does not hold it; {where}"
        if isinstance(error, PermissionError):
            text += "; set HF_HOME to a folder that can be written, if it is the cache that can't"
        raise DataError(f"can't load '{source.name}': {text[:300]}") from error
    tables = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
    return {split: _captioned(table, source) for split, table in tables.items()}


def _folder(source: Source) -> dict[str, Any] | None:
    """The splits of a local folder of pictures; None for anything else."""
    import datasets

    path = Path(source.path)
    if not path.is_dir() or (found := read_folder(path)) is None:
        return None
    parts, unused = found
    if unused:
        shown = ", ".join(sorted(unused)[:3]) + (", ..." if len(unused) > 3 else "")
        warnings.warn(f"'{path}': {len(unused)} files are no pictures and not used: {shown}", stacklevel=2)
    tables = {}
    for split, rows in parts.items():
        columns: dict[str, Any] = {"image": rows.paths}
        features: dict[str, Any] = {"image": datasets.Image()}
        if rows.classes:
            columns["label"], features["label"] = rows.labels, datasets.ClassLabel(names=list(rows.classes))
        tables[split] = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    return tables


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


def _undecoded(table: Any, source: Source) -> tuple[Any, Columns]:
    """A table whose pictures stay files in bytes, and its columns."""
    import datasets

    spec = source.spec
    columns = Columns(_image_column(table, source), _column(table, spec, "label"), _column(table, spec, "caption"))
    return table.cast_column(columns.image, datasets.Image(decode=False)), columns


def _image_column(table: Any, source: Source) -> str:
    import datasets

    columns = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    wanted = source.spec.column("image")
    if wanted is not None and wanted in columns:
        return wanted
    if columns:
        return "image" if "image" in columns else columns[0]
    found = ", ".join(f"{name} ({feature})" for name, feature in table.features.items())
    raise DataError(f"{source.name} has no picture column; it has: {found[:300]}")


def _column(table: Any, spec: DataSpec, what: str) -> str | None:
    """The column of integer labels or of captions, or None; raises DataError if the spec promises one that is not
    there."""
    import datasets

    promised = spec.column(what)
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
    if not source.spec.column("caption"):
        return table
    undecoded, columns = _undecoded(table, source)
    return undecoded.filter(_is_text, input_columns=[columns.caption])


def _is_text(caption: str | None) -> bool:
    return bool(caption and caption.strip())
