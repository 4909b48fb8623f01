"""Samples as files: a grid, one file each, an animation, a sheet of frames, or an array.

What `zoo sample` and `zoo.save_images` write by.

Shapes: N samples, C channels (1 or 3), H, W height and width, T frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from zoo.errors import OptionError
from zoo.media.origin import Origin, attach, write_manifest

if TYPE_CHECKING:
    import torch

CLIPS = (".gif", ".webp", ".apng", ".mp4")  # endings of animations; .webp is a usual still picture too
ARRAYS = (".npy", ".npz")
NUMBER = re.compile(r"\{(:0?\d{0,2}d?)?\}")  # in a file's name, as Python formats an integer


@dataclass(frozen=True)
class Animation:
    """How long an animation shows a frame, and its last one, in milliseconds."""

    usual: float
    last: float


CLIP = Animation(100, 100)
WALK = Animation(40, 40)
DRAWING = Animation(40, 2000)


@dataclass(frozen=True)
class Target:
    """Where samples go.

    Attributes:
        path: the file; with `each` a path whose name has {} for the index.
        each: one file a sample.
        animation: None for a still picture or an array.
        start: index of the first sample.
        origin: what the files say of themselves; `sidecar`: also in a file beside each.
        folder: whether a folder was asked for, which gets a manifest.
        alone: one sample without the border of a grid, as in a file of its own.
    """

    path: Path
    each: bool
    animation: Animation | None
    start: int
    origin: Origin | None = None
    sidecar: bool = False
    folder: bool = False
    alone: bool = False

    @classmethod
    def parse(cls, text: str, ending: str, animation: Animation | None, start: int = 0) -> Self:
        """A path as users give it: a file; with {} or {:03d} in its name, or / at its end, one file a sample.

        Args:
            text: the path; not empty.
            ending: of the files in a folder.
            animation: of clips, `CLIP`, which in a format of still pictures become a sheet.
            start: index of the first sample.
        """
        folder = text.endswith(("/", os.sep))
        text = f"{text}{{}}{ending}" if folder else text
        path = Path(text)
        if animation is CLIP and path.suffix.lower() not in (*CLIPS, *ARRAYS):
            animation = None  # a still sheet
        return cls(path, bool(NUMBER.search(path.name)), animation, start, folder=folder)

    @property
    def ending(self) -> str:
        return self.path.suffix.lower()

    @property
    def is_array(self) -> bool:
        return self.ending in ARRAYS

    def check(self) -> None:
        """Find out before the work starts whether it can be written; raises OptionError."""
        from zoo.media.images import check_output

        folder = self.path.parent
        if self.each:
            while not folder.exists():  # it is made when there is something to put there
                folder = folder.parent
            if not folder.is_dir():
                raise OptionError(f"can't write into '{self.path.parent}': '{folder}' is no folder")
        check_output(folder / self.file(self.start).name, str(self.path) if folder != self.path.parent else None)

    def file(self, index: int) -> Path:
        """The file of one sample, or the only one."""

        def number(found: re.Match[str]) -> str:
            return f"{index:05d}" if found[1] is None else str(found[0]).format(index)

        return self.path.with_name(NUMBER.sub(number, self.path.name)) if self.each else self.path

    def files(self, n: int) -> list[Path]:
        """The files of n samples."""
        return [self.file(self.start + i) for i in range(n)] if self.each else [self.path]

    def write(
        self,
        frames: Sequence[torch.Tensor],
        raw: torch.Tensor,
        columns: int | None,
        scale: int,
        fps: float | None = None,
    ) -> str:
        """Write samples; returns where, in words.

        Args:
            frames: (N, C, H, W) each, uint8; a still picture is the only one, and an array has none. Several in a still
                picture become a sheet whose rows are samples and whose columns are frames.
            raw: the same as the model gives them, (N, C, H, W) or (N, T, C, H, W), for an array.
            columns, scale: of a grid.
            fps: frames a second of clips.
        """
        from zoo.media.images import grid

        if self.animation is None and len(frames) > 1:
            sheet = stacked(frames)  # N T C H W
            columns, frames = sheet.shape[1], [sheet.flatten(0, 1)]
            if self.each or self.alone:
                frames = [stacked([grid(clip, columns) for clip in sheet], 0)]
        if not self.each:
            shown = [frame[0] if self.alone else grid(frame, columns) for frame in frames]
            self._write_one(shown, raw, self.path, scale, fps, self.origin)
            return str(self.path)
        self._make_folder()
        for i, path in enumerate(self.files(len(raw))):
            try:
                one = [frame[i] for frame in frames]
                origin = self.origin.of(i) if self.origin else None
                self._write_one(one, raw[i], path, scale, fps, origin)
            except OptionError as error:
                raise OptionError(f"{error}; {i} of {len(raw)} files are written") from None
        return self._finish(len(raw))

    def stream(self, frames: Iterator[torch.Tensor], n: int, columns: int | None, scale: int, fps: float) -> str:
        """Write clips as their frames come, (N, C, H, W), uint8; the rest as of `write`."""
        from zoo.media.images import grid
        from zoo.media.video import writing_clip

        self._make_folder()
        with ExitStack() as stack:
            adds: list[Callable[[torch.Tensor], None]] = []
            for frame in frames:
                shown = list(frame) if self.each else [frame[0] if self.alone else grid(frame, columns)]
                if not adds:
                    size = shown[0].shape[2], shown[0].shape[1]
                    files = (writing_clip(path, size, fps, scale=scale) for path in self.files(n))
                    adds = [stack.enter_context(file) for file in files]
                for add, picture in zip(adds, shown, strict=True):
                    add(picture)
        for i, path in enumerate(self.files(n) if self.origin else ()):
            assert self.origin is not None
            attach(self.origin.of(i) if self.each else self.origin, path, sidecar=self.sidecar)
        return self._finish(n)

    def _make_folder(self) -> None:
        """Of files of one sample each."""
        try:
            if self.each:
                self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"can't write into '{self.path.parent}': {error.strerror or error}") from None

    def _finish(self, n: int) -> str:
        """The manifest of a folder; returns where the files are, in words."""
        if self.folder and self.origin:
            write_manifest(self.path.parent, self.rows(n))
        return str(self.path.parent / NUMBER.sub("*", self.path.name)) if self.each else str(self.path)

    def rows(self, n: int) -> list[dict[str, Any]]:
        """What the manifest says of n samples: of each file its name, and what drew it."""
        if self.origin is None:
            return []
        if not self.each:
            return [{"file": self.path.name, **asdict(self.origin)}]
        return [{"file": path.name, **asdict(self.origin.of(i))} for i, path in enumerate(self.files(n))]

    def _write_one(
        self,
        frames: list[torch.Tensor],
        raw: torch.Tensor,
        path: Path,
        scale: int,
        fps: float | None,
        origin: Origin | None = None,
    ) -> None:
        from zoo.media.images import write_array, write_image
        from zoo.media.video import write_clip

        if self.is_array:
            write_array(raw, path)
        elif self.animation is None:
            write_image(frames[0], path, scale=scale)
        else:
            usual, last = self.animation.usual, self.animation.last
            if self.animation is CLIP and fps:
                usual = last = 1000 / fps
            times = [usual] * (len(frames) - 1) + [last]
            write_clip(frames, path, times, scale=scale)
        if origin is not None:
            attach(origin, path, sidecar=self.sidecar)


def stacked(tensors: Sequence[torch.Tensor], axis: int = 1) -> torch.Tensor:
    """`torch.stack`, without torch before it is needed."""
    import torch

    return torch.stack(list(tensors), axis)


def is_animation(ending: str) -> bool:
    """Whether an ending asks for an animation by itself; .webp does not."""
    return ending.lower() in CLIPS and ending.lower() != ".webp"
