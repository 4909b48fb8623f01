"""Where samples go: a grid, one file each, an animation, an array, or stdout."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import OptionError
from zoo.origin import Origin, attach, write_manifest
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

CLIPS = (".gif", ".webp", ".apng", ".mp4")  # endings of animations; .webp is a usual still picture too
ARRAYS = (".npy", ".npz")
NUMBER = re.compile(r"\{(:0?\d{0,2}d?)?\}")  # in a file's name, as Python formats an integer
STDOUT = "-"


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
        path: the file; with `each` a path whose name has {} for the index; with `to_stdout` only its ending counts.
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
    to_stdout: bool = False
    origin: Origin | None = None
    sidecar: bool = False
    folder: bool = False
    alone: bool = False

    @classmethod
    def check(
        cls, spec: ModelSpec, out: str | None, form: str | None, start: int, animation: Animation | None
    ) -> Target:
        """Find out now whether it can be written; raises OptionError."""
        ending = f".{form.lstrip('.').lower()}" if form else ".gif" if animation else ".png"
        if out == "":
            raise OptionError("-o needs the name of a file, or of a folder with / at its end")
        text = f"samples{ending}" if out in (None, STDOUT) else str(out)
        in_folder = text.endswith(("/", os.sep))
        text = f"{text}{{}}{ending}" if in_folder else text
        each = out != STDOUT and bool(NUMBER.search(Path(text).name))
        if animation is CLIP and Path(text).suffix.lower() not in (*CLIPS, *ARRAYS):
            animation = None  # a still sheet
        target = cls(Path(text), each, animation, start, out == STDOUT, folder=in_folder)
        if form and target.ending != ending:
            raise OptionError(f"--format {form} is for -o - or a folder, and '{out}' is neither")
        target._check_ending(spec, text)
        if target.to_stdout:
            if sys.stdout.isatty():
                raise OptionError("-o - writes to stdout, which is a terminal here; send it to a file or a program")
            return target
        from zoo.media import check_output

        folder = target.path.parent
        if each:
            while not folder.exists():  # it is made when there is something to put there
                folder = folder.parent
            if not folder.is_dir():
                raise OptionError(f"can't write into '{target.path.parent}': '{folder}' is no folder")
        check_output(folder / target.file(start).name, text if folder != target.path.parent else None)
        return target

    @property
    def ending(self) -> str:
        return self.path.suffix.lower()

    @property
    def is_array(self) -> bool:
        return self.ending in ARRAYS

    def _check_ending(self, spec: ModelSpec, text: str) -> None:
        """Animations need a format of animations, and still pictures none that is for animations alone."""
        if self.animation and self.ending not in (*CLIPS, *(() if self.animation is DRAWING else ARRAYS)):
            raise OptionError(f"can't write '{text}': an animation needs {', '.join(CLIPS)}")
        if not self.animation and is_animation(self.ending) and not spec.is_video:
            mend = "add --animate, or take .png" if can_animate(spec) else "take .png"
            raise OptionError(f"can't write '{text}': {spec.name} draws still pictures; {mend}")

    def file(self, index: int) -> Path:
        """The file of one sample, or the only one."""

        def number(found: re.Match[str]) -> str:
            return f"{index:05d}" if found[1] is None else str(found[0]).format(index)

        return self.path.with_name(NUMBER.sub(number, self.path.name)) if self.each else self.path

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
        from zoo.media import grid

        if self.animation is None and len(frames) > 1:
            sheet = stacked(frames)  # N T C H W
            columns, frames = sheet.shape[1], [sheet.flatten(0, 1)]
            if self.each or self.alone:
                frames = [stacked([grid(clip, columns) for clip in sheet], 0)]
        if self.to_stdout:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"samples{self.ending}"
                self._write_one([grid(frame, columns) for frame in frames], raw, path, scale, fps, self.origin)
                with path.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
            return "stdout"
        if not self.each:
            shown = [frame[0] if self.alone else grid(frame, columns) for frame in frames]
            self._write_one(shown, raw, self.path, scale, fps, self.origin)
            return str(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"can't write into '{self.path.parent}': {error.strerror or error}") from None
        for i in range(len(raw)):
            try:
                one = [frame[i] for frame in frames]
                origin = self.origin.of(i) if self.origin else None
                self._write_one(one, raw[i], self.file(self.start + i), scale, fps, origin)
            except OptionError as error:
                raise OptionError(f"{error}; {i} of {len(raw)} files are written") from None
        if self.folder and self.origin:
            write_manifest(self.path.parent, self.rows(len(raw)))
        return str(self.path.parent / NUMBER.sub("*", self.path.name))

    def rows(self, n: int) -> list[dict[str, Any]]:
        """What the manifest says of n samples: of each file its name, and what drew it."""
        if self.origin is None:
            return []
        if not self.each:
            return [{"file": self.path.name, **asdict(self.origin)}]
        return [{"file": self.file(self.start + i).name, **asdict(self.origin.of(i))} for i in range(n)]

    def _write_one(
        self,
        frames: list[torch.Tensor],
        raw: torch.Tensor,
        path: Path,
        scale: int,
        fps: float | None,
        origin: Origin | None = None,
    ) -> None:
        from zoo.media import write_array, write_image
        from zoo.video import write_clip

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


def draws_pixels(spec: ModelSpec) -> bool:
    """Whether a model draws a picture pixel by pixel, which can be watched."""
    return spec.kind == "autoregressive" and not spec.is_video


def can_animate(spec: ModelSpec) -> bool:
    """Whether there is something to see in `--animate`: pixel after pixel, or a walk."""
    return draws_pixels(spec) or any(option.frames for option in spec.sample_options)
