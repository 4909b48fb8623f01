"""A folder of pictures as rows: what is in it, told by its own names and by nothing else. Free of torch.

Sub-folders are classes, or splits if all of them are named like splits; whatever lies deeper belongs to the class above
it. Paths are paths, never patterns, and no word in a file's name means anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import DataError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
TABLES = {".parquet", ".arrow", ".csv", ".json", ".jsonl", ".tar", ".zip"}
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


@dataclass
class Rows:
    """The pictures of one split, and the number of each one's class; `classes` are their names, or () without any."""

    paths: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    classes: tuple[str, ...] = ()


def read_folder(folder: Path) -> tuple[dict[str, Rows], list[str]] | None:
    """The splits of a folder of pictures, and the names of files that are none; None if it holds tables, which say
    themselves what is in them.

    Raises:
        DataError: no picture, or pictures beside folders of classes, which would be without a class.
    """
    if any(path.suffix.lower() in TABLES for path in folder.iterdir()) or (folder / "data").is_dir():
        return None
    folders = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)
    are_splits = bool(folders) and all(path.name.lower() in SPLITS for path in folders) and "train" in _names(folders)
    unused: list[str] = []
    if are_splits:
        parts = {SPLITS[path.name.lower()]: _rows(path, unused) for path in folders}
        _same_classes(folder, parts)
    else:
        parts = {"train": _rows(folder, unused)}
    if not parts["train"].paths:
        raise DataError(f"can't load '{folder}': there is no picture in it")
    return parts, unused


def natural(path: Path) -> list[tuple[int, int | str]]:
    """A key by which 2 comes before 10."""
    words = re.split(r"(\d+)", path.name.lower())
    return [(0, int(word)) if word.isdecimal() else (1, word) for word in words]


def _names(folders: list[Path]) -> set[str]:
    return {path.name.lower() for path in folders}


def _rows(folder: Path, unused: list[str]) -> Rows:
    loose = _pictures(folder, unused, deep=False)
    folders = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)
    found = {path.name: _pictures(path, unused, deep=True) for path in folders}
    found = {name: paths for name, paths in found.items() if paths}
    if loose and found:
        raise DataError(
            f"'{folder}' has {len(loose)} pictures beside folders of classes ({', '.join(list(found)[:3])}); put them "
            "into a folder of their own"
        )
    if not found:
        return Rows([str(path) for path in loose])
    rows = Rows(classes=tuple(found))
    for number, paths in enumerate(found.values()):
        rows.paths += [str(path) for path in paths]
        rows.labels += [number] * len(paths)
    return rows


def _pictures(folder: Path, unused: list[str], *, deep: bool) -> list[Path]:
    files = [path for path in (folder.rglob("*") if deep else folder.iterdir()) if path.is_file()]
    visible = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    unused += [path.name for path in visible if path.suffix.lower() not in PICTURES]
    pictures = [path for path in visible if path.suffix.lower() in PICTURES]
    return sorted(pictures, key=lambda path: [natural(Path(part)) for part in path.relative_to(folder).parts])


def _same_classes(folder: Path, parts: dict[str, Rows]) -> None:
    """Raise DataError if a split has classes that training has not; number those of all splits alike."""
    known = parts["train"].classes
    for split, rows in parts.items():
        if strange := [name for name in rows.classes if name not in known]:
            raise DataError(f"split '{split}' of '{folder}' has a class '{strange[0]}', which 'train' has not")
        rows.labels = [known.index(rows.classes[number]) for number in rows.labels]
        rows.classes = known
