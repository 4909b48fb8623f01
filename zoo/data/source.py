"""What `--data` means: a registered name, a local path, or a data set on the Hub."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo import registry
from zoo.errors import DataError, unknown
from zoo.spec import DataSpec

SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}


@dataclass(frozen=True)
class Source:
    """Where a `--data` argument leads: the arguments of `load_dataset` and what is known about the set.

    Attributes:
        path: "" of a set that is made by a function of its plugin.
    """

    name: str
    path: str
    arguments: dict[str, Any]
    spec: DataSpec
    revision: str

    def resizer(self, width: int, height: int) -> str | None:
        """How pictures come to the model's size, for receipts; None where they have it."""
        ways = {"box": "box to", "antialias": "centre crop, antialiased to"}
        return f"{ways[self.spec.resize]} {width}x{height}" if self.spec.resize else None


def find(data: str, *, resize: bool = False) -> Source:
    """What a `--data` argument means, see `_find`; with `resize` pictures are brought to the model's size."""
    try:
        source = _find(data)
    except OSError as error:  # no permission, or a name that is too long
        raise DataError(f"can't look for '{data}': {error.strerror or error}") from None
    return replace(source, spec=replace(source.spec, resize="antialias")) if resize else source


def _find(data: str) -> Source:
    """A local path, a registered name, or a Hub id, in this order.

    Raises:
        UnknownNameError: none of them.
        DataError: a name that has no source on the Hub and is not in `$ZOO_DATA`.
    """
    spec = registry.data_spec(data)
    if spec is not None:
        shelf = os.environ.get("ZOO_DATA")
        if shelf and (Path(shelf) / data).is_dir():
            return Source(data, str(Path(shelf) / data), {}, spec, "local")
        if spec.made_by is not None:
            return Source(data, "", {}, spec, "made here")
        if spec.repo is None:
            raise DataError(f"'{data}' is not on the Hub; put its folder into $ZOO_DATA as $ZOO_DATA/{data}")
        return Source(data, spec.repo, {"revision": spec.revision}, spec, spec.revision or "main")
    path = Path(data).expanduser()
    guessed = DataSpec(name=data, summary="", repo=None, licence="unknown")
    if path.is_dir():
        return Source(data, str(path), {}, guessed, "local")
    if path.is_file():
        if path.suffix not in SUFFIXES:
            hint = "pictures and clips are given as the folder that they lie in"
            raise DataError(f"'{data}' is no table; a file must be one of {', '.join(SUFFIXES)}, and {hint}")
        return Source(data, SUFFIXES[path.suffix], {"data_files": str(path)}, guessed, "local")
    if data.startswith((".", "/", "~")) or data.endswith("/"):
        raise DataError(f"there is no folder or file '{data}'")
    if data.count("/") == 1:
        return Source(data, data, {}, guessed, "main")
    hint = "(or a folder, a parquet file, or owner/name on the Hub)"
    raise unknown("data set", data, [spec.name for spec in registry.datasets()], hint)
