"""A folder of pictures, clips or pairs as rows: what is in it, told by its names and by nothing else. Free of torch.

Sub-folders are classes, or splits if all that hold pictures or clips are named like splits; whatever lies deeper
belongs to the class above it. Paths are paths, never patterns, and no word in a file's name means anything.

A clip is a video file, or a folder of numbered pictures. Pairs lie in folders that are called like the keys of a batch,
`condition/` beside `image/` or `video/`, under equal names; or in `trainA/` beside `trainB/`, A being the condition.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from zoo.errors import DataError
from zoo.media.origin import MANIFEST

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
CLIPS = {".mp4", ".webm", ".gif", ".webp", ".mov", ".avi", ".mkv", ".m4v"}
TABLES = {".parquet", ".arrow", ".csv", ".json", ".jsonl", ".tar", ".zip"}
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}

Entry = Any  # the path of a picture, or the list of paths of a clip: its frames, or one video file
Find = Callable[[Path, list[str]], list[tuple[Path, Entry]]]


@dataclass
class Rows:
    """The examples of one split, and the number of each one's class.

    Attributes:
        paths: by key of a batch.
        clips: whether a key's entries are clips.
        classes: their names, or () without any.
    """

    paths: dict[str, list[Entry]] = field(default_factory=dict)
    clips: dict[str, bool] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.paths.values()), []))

    def select(self, kept: Sequence[bool]) -> Rows:
        """Those of these."""
        paths = {key: list(itertools.compress(entries, kept)) for key, entries in self.paths.items()}
        return replace(self, paths=paths, labels=list(itertools.compress(self.labels, kept)))


def read_folder(folder: Path, wanted: Mapping[str, bool] | None = None) -> tuple[dict[str, Rows], list[str]] | None:
    """The splits of a folder, and the names of files that are not used; None if it holds tables, which say themselves
    what is in them.

    Args:
        folder: where.
        wanted: keys of a batch, and whether each is a clip; pictures alone by default.

    Raises:
        DataError: nothing of that kind; examples beside folders of classes, which would be without a class; folders of
            splits beside others, or several of one split; pairs that do not match.
    """
    if any(_is_table(path) for path in folder.iterdir()) or (folder / "data").is_dir():
        return None
    wanted, unused = dict(wanted or {"image": False}), list[str]()
    folders = _folders(folder)
    if len(wanted) > 1:
        parts = _pairs(folder, folders, wanted, unused)
    elif splits := _splits(folder, folders, unused):
        parts = {split: _rows(path, wanted, unused) for split, path in splits.items()}
        _same_classes(folder, parts)
    else:
        parts = {"train": _rows(folder, wanted, unused)}
    if "train" not in parts or not len(parts["train"]):
        what = f"pair of {' and '.join(wanted)}" if len(wanted) > 1 else "clip" if any(wanted.values()) else "picture"
        raise DataError(f"can't load '{folder}': there is no {what} in it{_hint(folder, wanted)}")
    return parts, unused


def _is_table(path: Path) -> bool:
    """Whether a file is a table of examples, and not what `zoo sample` writes beside pictures about their origin."""
    about_another = path.name == MANIFEST or Path(path.stem).suffix.lower() in PICTURES | CLIPS
    return path.suffix.lower() in TABLES and not about_another


def _hint(folder: Path, wanted: Mapping[str, bool]) -> str:
    if len(wanted) > 1:
        keys = " and ".join(f"train/{key}" for key in wanted)
        return f"; put them into {keys} under equal names, into trainA and trainB, or side by side (--pairs)"
    if any(wanted.values()) and any(path.suffix.lower() in PICTURES for path in folder.iterdir()):
        return "; put the frames of each clip into a folder of its own"
    return ""


def natural(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """A key by which 2 comes before 10, and no two names are alike: their order would be that of the disk."""
    words = re.split(r"(\d+)", path.name.lower())
    return [(0, int(word)) if word.isdecimal() else (1, word) for word in words], path.name


def _folders(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)


def _splits(folder: Path, folders: list[Path], unused: list[str]) -> dict[str, Path]:
    """The folders of splits by the names of these; none where folders are classes. Files of folders without pictures
    and clips, such as annotations, are added to `unused`."""
    splits = [path for path in folders if path.name.lower() in SPLITS]
    if "train" not in [path.name.lower() for path in splits]:
        return {}
    others = [path for path in folders if path not in splits]
    classes = [path for path in others if not _is_other(path)]
    if classes and len(splits) == 1:
        return {}  # a class may be called like a split
    if classes:
        names = ", ".join(path.name for path in splits)
        raise DataError(f"'{folder}' has folders of splits ({names}) beside '{classes[0].name}'; put that elsewhere")
    files = (file for path in others for file in path.rglob("*") if file.is_file())
    unused += [file.name for file in files if not file.name.startswith(".")]
    return _by_split(folder, splits)


def _is_other(folder: Path) -> bool:
    """Whether there is neither picture nor clip in a folder."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in PICTURES | CLIPS)
    return all(any(part.startswith(".") for part in path.parts) for path in files)


def _by_split(folder: Path, splits: Sequence[Path]) -> dict[str, Path]:
    """Folders by the names of their splits; raises DataError for several of one split, such as val and validation."""
    found: dict[str, Path] = {}
    for path in splits:
        split = SPLITS[path.name.lower()]
        if split in found:
            raise DataError(f"'{folder}' has two folders of split '{split}': {found[split].name} and {path.name}")
        found[split] = path
    return found


def _rows(folder: Path, wanted: Mapping[str, bool], unused: list[str]) -> Rows:
    [(key, is_clip)] = wanted.items()
    find = clips if is_clip else pictures
    loose = [entry for _, entry in find(folder, unused, deep=False)]
    folders = [path for path in _folders(folder) if not (is_clip and is_frames(path))]
    found = {path.name: [entry for _, entry in find(path, unused, deep=True)] for path in folders}
    found = {name: entries for name, entries in found.items() if entries}
    if loose and found:
        raise DataError(
            f"'{folder}' has {len(loose)} {'clips' if is_clip else 'pictures'} beside folders of classes "
            f"({', '.join(list(found)[:3])}); put them into a folder of their own"
        )
    rows = Rows(clips={key: is_clip}, classes=tuple(found))
    rows.paths[key] = [entry for entries in found.values() for entry in entries] or loose
    rows.labels = [number for number, entries in enumerate(found.values()) for _ in entries]
    return rows


def pictures(folder: Path, unused: list[str], *, deep: bool) -> list[tuple[Path, Entry]]:
    """The pictures of a folder, each with its path within it; names of other files are added to `unused`."""
    files = [path for path in (folder.rglob("*") if deep else folder.iterdir()) if path.is_file()]
    visible = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    unused += [path.name for path in visible if path.suffix.lower() not in PICTURES]
    found = [path.relative_to(folder) for path in visible if path.suffix.lower() in PICTURES]
    return [(path, str(folder / path)) for path in sorted(found, key=_natural_parts)]


def clips(folder: Path, unused: list[str], *, deep: bool) -> list[tuple[Path, Entry]]:
    """The clips of a folder: its video files, and its folders of frames; as `pictures`."""
    found: list[tuple[Path, Entry]] = []
    for path in sorted(folder.iterdir(), key=natural):
        inside = Path(path.name)
        if path.name.startswith("."):
            continue
        if path.is_file() and path.suffix.lower() in CLIPS:
            found.append((inside, [str(path)]))
        elif path.is_file():
            unused.append(path.name)
        elif is_frames(path):
            frames = [str(path / name) for name in _frames(path)]
            found.append((inside, frames))
            unused += [p.name for p in path.iterdir() if p.is_file() and p.name not in _frames(path)]
        elif deep:
            found += [(inside / deeper, entry) for deeper, entry in clips(path, unused, deep=True)]
    return found


def is_frames(folder: Path) -> bool:
    """Whether a folder holds the pictures of one clip."""
    return bool(_frames(folder))


def _frames(folder: Path) -> list[str]:
    """The names of a clip's pictures, of one format or several; a .gif or .webp that moves is a clip of its own.

    If one of them moves, all are taken for clips, unless they lie among pictures that can't.
    """
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = [path for path in files if path.suffix.lower() in PICTURES]
    stills = [path for path in found if path.suffix.lower() not in CLIPS]
    if found and not stills and not _any_moves(found):
        stills = found
    return [path.name for path in sorted(stills, key=natural)]


@cache
def _moves(path: Path, changed: int) -> bool:
    """Whether a file has several frames; one that can't be read is left to those who read it."""
    from zoo.media.video import is_moving

    try:
        return is_moving(path)
    except DataError:
        return False


def _any_moves(files: Iterable[Path]) -> bool:
    return any(_moves(path, path.stat().st_mtime_ns) for path in files)


def _natural_parts(path: Path) -> list[Any]:
    return [natural(Path(part)) for part in path.parts]


def _pairs(folder: Path, folders: list[Path], wanted: Mapping[str, bool], unused: list[str]) -> dict[str, Rows]:
    """Pairs by split: `train/condition` and `train/image`, the same without `train/`, or `trainA` and `trainB`."""
    named = {path.name.lower(): path for path in folders}
    drawn = next((key for key in ("video", "image") if key in wanted), None)
    sides = {"condition": "a", drawn: "b"} if set(wanted) == {"condition", drawn} else {}
    places: dict[str, dict[str, Path]] = {}
    for name, split in ({"": "train"} | SPLITS).items():
        where = named.get(name, None if name else folder)
        inner = {path.name.lower(): path for path in _folders(where)} if where else {}
        own = {key: inner[key] for key in wanted if key in inner}
        if len(own) < len(wanted) and name and sides and all(name + side in named for side in sides.values()):
            own = {key: named[name + side] for key, side in sides.items() if key}
        if len(own) == len(wanted) and split in places:
            first, second = (next(iter(found.values())) for found in (places[split], own))
            raise DataError(f"'{folder}' has pairs of split '{split}' twice: '{first}' and '{second}'")
        if len(own) == len(wanted):
            places[split] = own
    return {split: _matched(own, wanted, unused) for split, own in places.items()}


def _matched(folders: Mapping[str, Path], wanted: Mapping[str, bool], unused: list[str]) -> Rows:
    """The examples that all folders have under one name; raises DataError for one that some of them lack."""
    found: dict[str, dict[str, Entry]] = {}
    for key, folder in folders.items():
        entries = clips(folder, unused, deep=True) if wanted[key] else pictures(folder, unused, deep=True)
        found[key] = {}
        for path, entry in entries:
            name = str(path.with_suffix("") if path.suffix.lower() in PICTURES | CLIPS else path)
            if name in found[key]:
                raise DataError(f"'{folder}' has '{name}' twice, and pairs are matched by their names without endings")
            found[key][name] = entry
    for key, folder in folders.items():
        others = set().union(*(names for other, names in found.items() if other != key))
        if missing := sorted(others - set(found[key])):
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise DataError(f"'{folder}' lacks {', '.join(missing[:3])}{more}, which the other folder of pairs has")
    names: Iterable[str] = next(iter(found.values()))
    return Rows({key: [entries[name] for name in names] for key, entries in found.items()}, dict(wanted))


def _same_classes(folder: Path, parts: dict[str, Rows]) -> None:
    """Raise DataError if a split has classes that training has not, or none; number those of all splits alike."""
    known = parts["train"].classes
    for split, rows in parts.items():
        if known and len(rows) and not rows.classes:
            raise DataError(f"split '{split}' of '{folder}' has no folders of classes, but 'train' has")
        if strange := [name for name in rows.classes if name not in known]:
            raise DataError(f"split '{split}' of '{folder}' has a class '{strange[0]}', which 'train' has not")
        rows.labels = [known.index(rows.classes[number]) for number in rows.labels]
        rows.classes = known
