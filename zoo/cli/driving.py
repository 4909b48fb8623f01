"""Clips that are drawn from clips of files: read, drawn and written frame by frame, of any length.

All that can be wrong with the files is found before the first frame is drawn.

Shapes: N samples, C channels, H, W height and width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.console import expand, progress
from zoo.cli.options import check_sizes, clip_files, clip_frames, frame_name, per_sample, reading
from zoo.errors import DataError, OptionError
from zoo.media.output import stacked
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from zoo.cli.plan import Plan
    from zoo.media.output import Target
    from zoo.model import Model


def options(spec: ModelSpec, plan: Plan) -> list[str]:
    """The options whose clips, frame by frame, are what a plan draws from."""
    clips = (option for option in spec.sample_options if option.type == "video" and option.shape is not None)
    return [option.name for option in clips if option.name in plan.files]


def write(
    model: Model, plan: Plan, pictures: dict[str, torch.Tensor], target: Target, precision: str, scale: int
) -> tuple[str, int, float]:
    """Draw and write the clips of a plan; returns where they are, in words, how many frames each has, and seconds.

    Args:
        model, plan, precision, scale: as of `zoo sample`.
        pictures: inputs that are no clips.
        target: where they go. Animations are written as they are drawn; sheets and arrays when all is drawn.

    Raises:
        DataError, OptionError: files that do not fit the model, before anything is drawn.
    """
    length, fps = check(model, plan)
    begun = time.monotonic()
    where = _write(model, plan, _drawn(model, plan, pictures, precision, length), target, scale, length, fps)
    return where, length, time.monotonic() - begun


def _write(
    model: Model, plan: Plan, drawn: Iterator[torch.Tensor], target: Target, scale: int, length: int, fps: float
) -> str:
    if target.is_array:
        return target.write([], stacked(list(drawn)), None, scale)
    columns = plan.columns or (plan.each if 1 < plan.each < plan.n else None)
    if plan.show_given:
        drawn, columns = _beside(drawn, model, plan, length)
    if target.animation is None:
        frames = list(drawn)
        return target.write(frames, stacked(frames), columns, scale)
    return target.stream(drawn, plan.n, columns, scale, fps)


def check(model: Model, plan: Plan) -> tuple[int, float]:
    """How many frames there are to draw, and how many of them a second.

    Raises:
        DataError: a frame of another size than the model's, or a label map in colours or without such classes.
        OptionError: clips that are too short, or of several lengths.
    """
    from zoo.media.video import FASTEST, SLOWEST, clip_fps

    lengths: dict[str, int] = {}
    rates = []
    for name in options(model.spec, plan):
        size: Any = model.input_shape(reading(model, name)[0])[-2:]
        for file in plan.files[name]:
            count = 0
            for frame in clip_frames(file, **reading(model, name)[1]):
                if tuple(frame.shape[1:]) != tuple(size):
                    found, needed = (f"{width}x{height}" for height, width in (frame.shape[1:], size))
                    where = frame_name(file, count) if file.is_dir() else f"'{file}'"
                    raise DataError(f"option '{name}': {where} is {found} pixels, but {model.spec.name} needs {needed}")
                count += 1
            lengths[f"'{file}'"] = count
            rates.append(None if file.is_dir() else clip_fps(file))
    shortest = min(lengths, key=lengths.__getitem__)
    if lengths[shortest] < (least := max(plan.frames or 1, model.least_frames)):
        why = f"{plan.frames} are to be drawn" if plan.frames == least else f"a window of {model.spec.name} has {least}"
        raise OptionError(f"{shortest} has {lengths[shortest]} frames, but {why}")
    longest = max(lengths, key=lengths.__getitem__)
    if not plan.frames and lengths[longest] != lengths[shortest]:
        found = f"{shortest} has {lengths[shortest]} frames and {longest} {lengths[longest]}"
        raise OptionError(f"{found}; say with --frames how many are to be drawn")
    rate = next((rate for rate in rates if rate), None) or model.fps
    return plan.frames or lengths[shortest], min(max(rate, SLOWEST), FASTEST)


def _drawn(
    model: Model, plan: Plan, pictures: dict[str, torch.Tensor], precision: str, length: int
) -> Iterator[torch.Tensor]:
    """All samples frame by frame, (N, C, H, W), uint8, with progress."""
    import torch

    from zoo.media.images import to_bytes

    size = plan.batch_size or model.sample_batch_size
    others = per_sample(plan.options, pictures, plan.each)
    streams = []
    for first in range(0, plan.n, size):
        rows = range(first, min(first + size, plan.n))
        own = {name: _rows(value, rows) for name, value in others.items()}
        own |= {name: _clips(model, name, plan, rows) for name in options(model.spec, plan)}
        own |= {"start": plan.start + first, "precision": precision}
        streams.append(model.stream(len(rows), seed=plan.seed, frames=length, **own))
    with progress("drawing", length, "frames") as update:
        for t, parts in enumerate(zip(*streams, strict=True), 1):
            yield to_bytes(torch.cat(parts), model.levels)
            update(t)


def _rows(value: Any, rows: range) -> Any:
    """The rows of a batch, of an option that has a value for each sample."""
    many = not isinstance(value, str) and hasattr(value, "__len__") and len(value) > 1
    return value[rows.start : rows.stop] if many else value


def _clips(model: Model, name: str, plan: Plan, rows: range) -> Iterator[torch.Tensor]:
    """The frames (B, C, H, W) that some samples are drawn from, each clip read once for all of its samples."""
    files = plan.files[name]
    numbers = [i // plan.each if len(files) > 1 else 0 for i in rows]
    used = list(dict.fromkeys(numbers))
    for frames in zip(*(clip_frames(files[i], **reading(model, name)[1]) for i in used), strict=False):
        yield stacked([frames[used.index(i)] for i in numbers], 0)


def _beside(drawn: Iterator[torch.Tensor], model: Model, plan: Plan, length: int) -> tuple[Iterator[torch.Tensor], int]:
    """Frames with what they were drawn from before them, and what is true behind; and the columns of the grid."""
    from zoo import media

    assert plan.given is not None
    name, kinds = plan.given, len(plan.files[plan.given])
    given = zip(*(clip_frames(file, **reading(model, name)[1]) for file in plan.files[name]), strict=False)
    targets = _targets(plan, model, kinds, length) if plan.target else None

    def composed() -> Iterator[torch.Tensor]:
        for frame in drawn:
            true = stacked(next(targets), 0) if targets is not None else None
            yield media.beside_conditions(frame, stacked(next(given), 0), plan.n // kinds, true)

    return composed(), plan.columns or plan.n // kinds + 1 + (targets is not None)


def _targets(plan: Plan, model: Model, kinds: int, length: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """The true frames of every clip.

    Raises:
        OptionError: there are not as many as are drawn.
        DataError: frames of several sizes.
    """
    files = clip_files(Path(expand(str(plan.target))))
    if len(files) not in (1, kinds):
        raise OptionError(f"--target has {len(files)} pictures or clips, but there are {kinds} conditions")
    shapes = {file: [frame.shape for frame in clip_frames(file, model.image_shape[0])] for file in files}
    for file, frames in shapes.items():
        if len(frames) < length:
            raise OptionError(f"--target: '{file}' has {len(frames)} frames, but {length} are drawn")
    check_sizes(shapes, "--target")
    return zip(*(clip_frames(file, model.image_shape[0]) for file in files), strict=False)
