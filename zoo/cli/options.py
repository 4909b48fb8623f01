"""Sampling options on the command line: `--option name=value`, several values of a per-sample option, and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.console import expand
from zoo.errors import DataError, OptionError, unknown
from zoo.spec import ModelSpec, Option

if TYPE_CHECKING:
    import torch

    from zoo.model import Model

CLIPS = (".gif", ".webp", ".apng", ".mp4", ".webm", ".mkv", ".mov", ".avi")
RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")


def parse_options(spec: ModelSpec, assignments: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[Path]]]:
    """`name=value` texts as checked sampling options, and the files of those that are pictures.

    An option for each sample may be repeated; with several values in all it becomes a list.
    """
    known = {option.name: option for option in spec.sample_options}
    texts: dict[str, list[str]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise OptionError(f"--option takes name=value, not '{assignment}'")
        if name not in known:
            raise unknown(f"option of {spec.name}", name, known)
        if name in texts and not known[name].per_sample:
            raise OptionError(f"option '{name}' is one for all samples, but it is given twice")
        texts.setdefault(name, []).append(text)
    options: dict[str, Any] = {}
    pictures: dict[str, list[Path]] = {}
    for name, given in texts.items():
        if known[name].type in ("image", "video"):
            from zoo.media.images import picture_files

            find = picture_files if known[name].type == "image" else clip_files
            pictures[name] = [file for text in given for file in find(Path(expand(text)))]
        else:
            values = [value for text in given for value in _values(known[name], text)]
            options[name] = values if len(values) > 1 else values[0]
    return options, pictures


def clip_files(path: Path) -> list[Path]:
    """A video file, or a folder of frames, or those of a folder of them; raises DataError if there is none.

    Files of formats that may move, none of which does, are frames.
    """
    from zoo.data.folders import natural
    from zoo.media.images import picture_files
    from zoo.media.video import is_moving

    inside = path.iterdir() if path.is_dir() else ()
    folders = sorted((part for part in inside if part.is_dir() and not part.name.startswith(".")), key=natural)
    if folders:
        return folders
    files = sorted(picture_files(path), key=natural)
    is_clip = all(file.suffix.lower() in CLIPS for file in files) and any(is_moving(file) for file in files)
    return files if is_clip else [path]


def _values(option: Option, text: str) -> list[Any]:
    """One value, or several where each sample may have its own: "3,1,4", and of integers "0-9". Texts have no lists."""
    if not option.per_sample or option.type == "str":
        return [option.parse(text)]
    values = []
    for part in text.split(","):
        ends = RANGE.fullmatch(part.strip()) if option.type in ("int", "label") else None
        span = range(int(ends[1]), int(ends[2]) + 1) if ends else ()
        values += [option.parse(value) for value in span or [part.strip()]]
    return values


def clip_length(spec: ModelSpec, options: dict[str, Any], *, wanted: bool) -> int | None:
    """How many samples in succession are the frames of one clip; None if samples stand for themselves.

    They are frames where an option that says so is given. If a clip is `wanted`, its first choice is set in `options`.
    """
    for option in spec.sample_options:
        if option.frames and wanted and option.choices:
            options.setdefault(option.name, option.choices[0])
        if option.frames and options.get(option.name) is not None:
            defaults = {other.name: other.default for other in spec.sample_options}
            return math.prod(int(options.get(name, defaults[name])) for name in option.frames)
    return None


def table_columns(spec: ModelSpec, options: dict[str, Any]) -> tuple[str, int] | None:
    """The option that makes the samples a table, and how many columns that has; None without one."""
    tables = [option.name for option in spec.sample_options if option.table and options.get(option.name) is not None]
    return (tables[0], options[tables[0]] + 1) if tables else None


def completed(spec: ModelSpec) -> tuple[str | None, str | None]:
    """The option with pictures to complete, and the one with how many of their rows are kept; (None, None) without."""
    return next(((option.name, option.rows) for option in spec.sample_options if option.rows), (None, None))


def shown(spec: ModelSpec) -> str | None:
    """The option whose pictures or clips `--show-given` shows: those to complete, else those that are drawn from."""
    inputs = (option.name for option in spec.sample_options if option.type in ("image", "video"))
    return completed(spec)[0] or next(inputs, None)


def share_out(
    n: int | None, options: dict[str, Any], pictures: dict[str, list[Path]], usual: tuple[int, int] = (16, 8)
) -> tuple[int, int]:
    """How many samples to draw, and how many in succession get the same of several values; without several, all.

    Without `n` as many as `usual` says: in all, or for each of several values.

    Raises:
        OptionError: n can't be divided by the number of values, or options have different numbers of them.
    """
    lists = {name: values for name, values in (options | pictures).items() if isinstance(values, list)}
    counts = {name: len(values) for name, values in lists.items() if len(values) > 1}
    if not counts:
        return n or usual[0], n or usual[0]
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise OptionError(f"options with several values must have equally many: {found}")
    name, count = next(iter(counts.items()))
    n = n or usual[1] * count
    if n % count:
        raise OptionError(f"-n {n} is no multiple of the {count} values of option '{name}'")
    return n, n // count


def per_sample(options: dict[str, Any], pictures: dict[str, torch.Tensor], each: int) -> dict[str, Any]:
    """The options as `model.sample` takes them: each of several values for `each` samples in succession."""
    lists = {name: values for name, values in options.items() if isinstance(values, list)}
    stacks = {name: images for name, images in pictures.items() if len(images) > 1}
    return {
        **options,
        **pictures,
        **{name: [value for value in values for _ in range(each)] for name, values in lists.items()},
        **{name: images.repeat_interleave(each, 0) for name, images in stacks.items()},
    }


def read_pictures(model: Model, name: str, files: list[Path]) -> torch.Tensor:
    """The pictures of an image option in the shape that it takes, (N, C, H, W); in the model's levels, if they are to
    be pictures like those it draws."""
    from zoo import media

    option, how = reading(model, name)
    shape: Any = model.input_shape(option)
    if option.type == "video":
        pictures = _read_clips(files, what=f"option '{name}'", **how)
    else:
        pictures = media.read_images(files, **how)
    if tuple(pictures.shape[-3:]) != tuple(shape[-3:]):
        found, needed = (f"{size[-1]}x{size[-2]}" for size in (pictures.shape, shape))
        where = frame_name(files[0], 0) if files[0].is_dir() else f"'{files[0]}'"
        raise DataError(f"option '{name}': {where} is {found} pixels, but {model.spec.name} needs {needed}")
    return media.quantise(pictures, model.levels) if option.shape is None else pictures


def reading(model: Model, name: str) -> tuple[Option, dict[str, Any]]:
    """A picture or clip option, and how its files are read: "channels", "ids" and "classes" of `read_images`."""
    option = next(option for option in model.spec.sample_options if option.name == name)
    channels: Any = model.input_shape(option)[-3]
    # One channel beside pictures that may have others: perhaps a label map, whose palette is for the eye.
    ids = option.shape is not None and channels == 1
    return option, {"channels": channels, "ids": ids, "classes": model.input_classes.get(name)}


def parse_columns(assignments: Sequence[str]) -> dict[str, str]:
    """`--column condition=pose`, one for each key."""
    columns = {}
    for text in assignments:
        key, equals, name = text.partition("=")
        if not (key and equals and name):
            raise OptionError(f"--column takes KEY=NAME, such as condition=pose, not {text!r}")
        columns[key] = name
    return columns


def read_targets(path: str, spec: ModelSpec, channels: int) -> torch.Tensor:
    """True pictures (N, C, H, W), or clips (N, T, C, H, W), of a file or a folder, uint8."""
    from zoo import media

    place = Path(expand(path))
    if spec.is_video:
        return _read_clips(clip_files(place), channels, "--target")
    return media.read_images(media.picture_files(place), channels)


def frame_files(folder: Path) -> list[Path]:
    """The frames of a clip that is a folder, by their names, 2 before 10; raises DataError if there are none."""
    from zoo.data.folders import natural
    from zoo.media.images import picture_files

    return sorted(picture_files(folder), key=natural)


def clip_frames(file: Path, channels: int, *, ids: bool = False, classes: int | None = None) -> Iterator[torch.Tensor]:
    """The frames (C, H, W), uint8, of a video file, or of a folder of frames in order of their names, 2 before 10.

    `channels`, `ids`, `classes` and errors are as of `zoo.media.read_images`.
    """
    from zoo import media
    from zoo.media.video import read_frames

    if file.is_dir():
        for frame in frame_files(file):
            yield media.read_images([frame], channels, ids=ids, classes=classes)[0]
        return
    for t, picture in enumerate(read_frames(file, 3 if classes else channels)):
        yield media.as_map(picture, classes, frame_name(file, t)) if classes else picture


def frame_name(clip: Path, t: int) -> str:
    """What errors call a frame of a clip: its own file, or its number in a video file."""
    return f"'{frame_files(clip)[t]}'" if clip.is_dir() else f"frame {t} of '{clip}'"


def check_sizes(clips: Mapping[Path, Sequence[torch.Size]], what: str) -> None:
    """Raise DataError unless the frames of clips, shapes (C, H, W), are all of one size."""
    frames = [(clip, t, shape) for clip, shapes in clips.items() for t, shape in enumerate(shapes)]
    for clip, t, shape in frames:
        if shape != frames[0][2]:
            own, first = (f"{width}x{height}" for _, height, width in (shape, frames[0][2]))
            names = f"{frame_name(clip, t)} is {own} pixels, but {frame_name(frames[0][0], 0)} {first}"
            raise DataError(f"{what}: {names}; all frames must be of one size")


def _read_clips(files: list[Path], channels: int, what: str, **how: Any) -> torch.Tensor:
    """Clips (N, T, C, H, W), uint8, of files; as `clip_frames`."""
    import torch

    clips: list[torch.Tensor] = []
    for file in files:
        frames = list(clip_frames(file, channels, **how))
        check_sizes({file: [frame.shape for frame in frames]}, what)
        clips.append(torch.stack(frames))
        if clips[-1].shape != clips[0].shape:
            own, first = (f"{len(c)} frames of {c.shape[3]}x{c.shape[2]}" for c in (clips[-1], clips[0]))
            raise DataError(f"{what}: '{file}' has {own}, but '{files[0]}' {first}; all clips must be alike")
    return torch.stack(clips)
