"""Data for training and measuring: a name, a Hub data set, or a local folder or parquet, by `datasets.load_dataset`.

Pictures are uint8 from 0 to 255 at this door, (C, H, W); a model brings them to its own range inside. `zoo.pictures`
decodes them: once into memory where they fit, else batch by batch.
"""

from __future__ import annotations

import functools
import pkgutil
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from zoo.data.columns import Cells, Shape, find_columns
from zoo.data.examples import Examples
from zoo.data.folders import CLIPS, Entry, Rows, read_folder
from zoo.data.order import Stream
from zoo.data.pictures import MODES
from zoo.data.reader import Reader
from zoo.data.source import SUFFIXES, Source, find
from zoo.data.splits import pick
from zoo.errors import DataError, one_line, unknown
from zoo.hub.network import unreachable

STREAM_HOLDOUT = 1000
TEXTS = ("string", "large_string")


def load(
    data: str,
    split: str | None,
    shapes: Mapping[str, Shape] | Shape,
    *,
    threads: int = 2,
    resize: bool = False,
    stride: int = 1,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    pairs: str | None = None,
    optional: Mapping[str, Shape] | None = None,
    who: str = "the model",
) -> Examples:
    """One split of a data set, ready to use.

    Args:
        data: a registered name, a Hub id, a folder of pictures or clips, a folder or file of tables.
        split: "train", "validation" or "test"; "train[:N]" is the first N examples. A set without validation split
            gives a share of its training split. None is "test", or "validation" where there is no test split.
        shapes: what a batch is to hold, key by key, and the shape of one example of it, as `Model.batch_shapes` has it;
            or (C, H, W) of pictures alone. Pictures must have that size, or be brought to it.
        threads: decoding threads.
        resize: bring pictures of other sizes to the model's: the middle of each, filtered.
        stride: frames from one frame of a clip's window to the next.
        seed: of the places of windows.
        columns: of the table, by the key of a batch that they fill.
        pairs: "left-right" or "right-left" where each picture holds a condition and what belongs to it.
        optional: numbers that a batch is to hold as well if there is a column of them, see `Model.optional_shapes`;
            of keys that `shapes` has too, some may be missing.
        who: wants the data, for errors.

    Raises:
        UnknownNameError: no such data set or split.
        DataError: a column is missing, or pictures are of another size or mode.
    """
    shapes = _wanted(shapes)
    source = find(data, resize=resize)
    tables = _tables(source, {key: shape for key, shape in shapes.items() if key not in (optional or {})}, pairs=pairs)
    table, split = pick(tables, source, split)
    undecoded, cells = _undecoded(table, source, shapes, columns, pairs, optional, who)
    return Examples(undecoded, Reader(cells, source, stride, seed), split, threads)


def stream(
    data: str,
    shapes: Mapping[str, Shape] | Shape,
    seed: int,
    *,
    threads: int = 2,
    resize: bool = False,
    stride: int = 1,
    columns: Mapping[str, str] | None = None,
    pairs: str | None = None,
    optional: Mapping[str, Shape] | None = None,
    who: str = "the model",
    classes: int | None = None,
) -> tuple[Stream, Examples]:
    """The training split of a data set read as a stream, and its validation split in memory.

    Without a validation split the first pictures of the stream are held out, which are split "train[:N]" of `load`.
    Arguments and errors as of `load`; labels that are needed must be below `classes`, if that is given.
    """
    from datasets import Dataset

    source, shapes = find(data, resize=resize), _wanted(shapes)
    tables = _tables(source, shapes, pairs=pairs, streaming=True)
    if source.spec.splits["train"] not in tables:
        raise unknown(f"split of {data}", "train", tables)
    train, own = tables[source.spec.splits["train"]], source.spec.splits.get("validation", "validation")
    held = source.spec.holdout if source.spec.holdout > 0 else STREAM_HOLDOUT
    has_own = own in tables
    if not has_own:
        tables[own], train = train.take(held), train.skip(held)
    undecoded, cells = _undecoded(train, source, shapes, columns, pairs, optional, who)
    rows = list(_undecoded(tables[own].take(5000), source, shapes, columns, pairs, optional, who)[0])
    reader = Reader(cells, source, stride, seed)
    split = "validation" if has_own else f"train[:{len(rows)}]"
    held_out = Examples(Dataset.from_list(rows, features=undecoded.features), reader, split, threads)
    return Stream(undecoded, reader, seed, classes=classes, needed=shapes), held_out


def _wanted(shapes: Mapping[str, Shape] | Shape) -> dict[str, Shape]:
    """What a batch is to hold, key by key; raises DataError for channels that no picture has."""
    wanted = dict(shapes) if isinstance(shapes, Mapping) else {"image": tuple(shapes)}
    for key in ("image", "video", "condition"):
        if key in wanted and len(wanted[key]) > 2 and wanted[key][-3] not in MODES:
            raise DataError(f"pictures have 1 or 3 channels, but the model has {wanted[key][-3]} of '{key}'")
    return wanted


def _tables(
    source: Source, shapes: Mapping[str, Shape], *, pairs: str | None, streaming: bool = False
) -> dict[str, Any]:
    """All splits of a data set, as `datasets` loads them."""
    try:
        import datasets
    except ImportError:
        raise DataError("reading data needs the 'datasets' package: pip install datasets") from None
    datasets.disable_progress_bars()
    local = not source.path or Path(source.path).exists() or source.path in SUFFIXES.values()
    offline = datasets.config.HF_HUB_OFFLINE
    trouble = None if local or offline else unreachable()
    if offline and streaming and not local:  # then the library does not look into its cache
        trouble = "HF_HUB_OFFLINE is set"
    try:
        if not source.path:
            loaded = _made(source)
        elif trouble:  # what is in the cache needs no network, and the library would retry for half a minute
            loaded = _from_cache(source)
        elif (Path(source.path) / "dataset_dict.json").is_file() or (Path(source.path) / "state.json").is_file():
            loaded = datasets.load_from_disk(source.path)
        elif (folder := _folder(source, shapes, pairs)) is not None:
            loaded = folder
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
    if streaming:
        whole = {split: table for split, table in tables.items() if isinstance(table, datasets.Dataset)}
        tables |= {split: table.to_iterable_dataset() for split, table in whole.items()}
    return {split: _captioned(table, source) for split, table in tables.items()}


def _folder(source: Source, shapes: Mapping[str, Shape], pairs: str | None) -> dict[str, Any] | None:
    """The splits of a local folder of pictures, clips or pairs; None for anything else."""
    import datasets

    path = Path(source.path)
    wanted = {key: len(shape) == 4 for key, shape in shapes.items() if len(shape) > 2}
    if pairs:
        wanted.pop("condition", None)
    if not path.is_dir() or (found := read_folder(path, wanted)) is None:
        return None
    parts, unused = found
    if unused:
        shown = ", ".join(sorted(unused)[:3]) + (", ..." if len(unused) > 3 else "")
        what = "clips" if any(wanted.values()) else "pictures"
        warnings.warn(f"'{path}': {len(unused)} files are no {what} and not used: {shown}", stacklevel=2)
    tables = {}
    for split, rows in _without_broken(parts, source.name).items():
        columns: dict[str, Any] = dict(rows.paths)
        clip = datasets.List(datasets.Image())
        features: dict[str, Any] = {key: clip if rows.clips[key] else datasets.Image() for key in rows.paths}
        if rows.classes:
            columns["label"], features["label"] = rows.labels, datasets.ClassLabel(names=list(rows.classes))
        tables[split] = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    return tables


def _without_broken(parts: dict[str, Rows], where: str) -> dict[str, Rows]:
    """The splits without rows of video files of which not even the first frame can be read, which are named."""
    from zoo.media.video import is_installed

    if not is_installed():
        return parts
    problems: list[str] = []

    def is_whole(entries: tuple[Entry, ...]) -> bool:
        for entry in entries:
            if isinstance(entry, list) and len(entry) == 1 and Path(entry[0]).suffix.lower() in CLIPS:
                facts = Path(entry[0]).stat()
                if problem := _problem(entry[0], facts.st_size, facts.st_mtime_ns):
                    problems.append(problem)
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        kept = {
            split: list(pool.map(is_whole, zip(*rows.paths.values(), strict=True))) for split, rows in parts.items()
        }
    if problems:
        shown = "; ".join(sorted(problems)[:3])
        warnings.warn(f"{where}: {len(problems)} clips are left out: {shown}", stacklevel=2)
    if not any(map(any, kept.values())):
        raise DataError(f"{where} has no clip that can be used: none can be read")
    return {split: rows.select(kept[split]) for split, rows in parts.items()}


@functools.cache  # a run reads its training examples, and then those that are held out
def _problem(path: str, size: int, changed: int) -> str:
    """Why the first frame of a video file can't be read; "" if it can. Size and time tell a file that was replaced."""
    from zoo.media.video import read_frames

    try:
        next(read_frames(Path(path), 3))
    except DataError as error:
        return one_line(error)
    return ""


def _made(source: Source) -> dict[str, Any]:
    """The splits of a set that its plugin makes; the cache of `datasets` keeps them."""
    import datasets

    kinds = {"image": datasets.Image(), "video": datasets.List(datasets.Image()), "label": datasets.Value("int64")}
    columns = source.spec.columns or {}
    features = datasets.Features({source.spec.column(key): kinds[column.kind] for key, column in columns.items()})
    splits = pkgutil.resolve_name(str(source.spec.made_by))()
    return {
        split: datasets.Dataset.from_generator(rows, features=features, gen_kwargs=arguments)
        for split, (rows, arguments) in splits.items()
    }


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


def _kind(feature: Any) -> str | None:
    """What a column holds; None if it is nothing that a batch takes."""
    import datasets

    if isinstance(feature, datasets.Image):
        return "image"
    if isinstance(feature, datasets.Video):
        return "video"
    if isinstance(feature, datasets.ClassLabel):
        return "label"
    if isinstance(feature, datasets.Value):
        if feature.dtype in TEXTS:
            return "caption"
        return "label" if feature.dtype.startswith(("int", "uint")) else None
    inner = feature
    while isinstance(inner, datasets.List | datasets.LargeList):
        inner = inner.feature
        if isinstance(inner, datasets.Image):
            return "video"
    is_number = isinstance(inner, datasets.Value) and inner.dtype.startswith(("float", "int", "uint"))
    return "tensor" if inner is not feature and is_number else None


def _undecoded(
    table: Any,
    source: Source,
    shapes: Mapping[str, Shape],
    columns: Mapping[str, str] | None,
    pairs: str | None,
    optional: Mapping[str, Shape] | None,
    who: str,
) -> tuple[Any, dict[str, Cells]]:
    """A table whose pictures and clips stay files in bytes, and the cells of each key."""
    kinds = {name: _kind(feature) for name, feature in table.features.items()}
    if not {"image", "video"} & set(kinds.values()):
        own = ", ".join(f"{name} ({feature})" for name, feature in table.features.items())
        raise DataError(f"{source.name} has no picture column; it has: {own[:300]}")
    cells = find_columns(kinds, source, shapes, optional=optional, named=columns, pairs=pairs, who=who)
    return _raw(table, {found.column for found in cells.values() if found.kind in ("image", "video")}), cells


def _raw(table: Any, names: Iterable[str]) -> Any:
    """A table in which these pictures and clips stay undecoded."""
    import datasets

    for name in names:
        raw: Any = datasets.Image(decode=False)
        if isinstance(table.features[name], datasets.Video):
            raw = datasets.Video(decode=False)
        elif not isinstance(table.features[name], datasets.Image):
            raw = datasets.List(raw)
        table = table.cast_column(name, raw)
    return table


def _captioned(table: Any, source: Source) -> Any:
    """Without the examples whose promised caption is missing or blank."""
    column = source.spec.column("caption")
    if column is None:
        return table
    if column not in table.features:
        raise DataError(f"{source.name} has no caption column '{column}'; it has: {', '.join(table.features)}")
    visual = [name for name, feature in table.features.items() if _kind(feature) in ("image", "video")]
    return _raw(table, visual).filter(_is_text, input_columns=[column])


def _is_text(caption: str | None) -> bool:
    return bool(caption and caption.strip())
