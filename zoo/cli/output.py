"""Where the samples of `zoo sample` go: files, by `zoo.media.output`, or stdout."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import OptionError
from zoo.media.output import ARRAYS, CLIPS, DRAWING, Animation, Target, is_animation
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

STDOUT = "-"


@dataclass(frozen=True)
class Destination(Target):
    """A target that may be stdout, of which only the path's ending counts then."""

    to_stdout: bool = False

    @classmethod
    def of_flags(
        cls, spec: ModelSpec, out: str | None, form: str | None, start: int, animation: Animation | None
    ) -> Destination:
        """Where -o and --format say; finds out now whether it can be written, and raises OptionError if not."""
        ending = f".{form.lstrip('.').lower()}" if form else ".gif" if animation else ".png"
        if out == "":
            raise OptionError("-o needs the name of a file, or of a folder with / at its end")
        text = f"samples{ending}" if out in (None, STDOUT) else str(out)
        target = replace(cls.parse(text, ending, animation, start), to_stdout=out == STDOUT)
        if form and target.ending != ending:
            raise OptionError(f"--format {form} is for -o - or a folder, and '{out}' is neither")
        target._check_ending(spec)
        if not target.to_stdout:
            target.check()
        elif sys.stdout.isatty():
            raise OptionError("-o - writes to stdout, which is a terminal here; send it to a file or a program")
        return target

    def _check_ending(self, spec: ModelSpec) -> None:
        """Animations need a format of animations, and still pictures none that is for animations alone."""
        if self.animation and self.ending not in (*CLIPS, *(() if self.animation is DRAWING else ARRAYS)):
            raise OptionError(f"can't write '{self.path}': an animation needs {', '.join(CLIPS)}")
        if not self.animation and is_animation(self.ending) and not spec.is_video:
            mend = "add --animate, or take .png" if can_animate(spec) else "take .png"
            raise OptionError(f"can't write '{self.path}': {spec.name} draws still pictures; {mend}")

    def write(
        self,
        frames: Sequence[torch.Tensor],
        raw: torch.Tensor,
        columns: int | None,
        scale: int,
        fps: float | None = None,
    ) -> str:
        if not self.to_stdout:
            return super().write(frames, raw, columns, scale, fps)
        return self._to_stdout(lambda file: file.write(frames, raw, columns, scale, fps))

    def stream(self, frames: Iterator[torch.Tensor], n: int, columns: int | None, scale: int, fps: float) -> str:
        if not self.to_stdout:
            return super().stream(frames, n, columns, scale, fps)
        return self._to_stdout(lambda file: file.stream(frames, n, columns, scale, fps))

    def _to_stdout(self, write: Callable[[Destination], str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"samples{self.ending}"
            write(replace(self, path=path, to_stdout=False))
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        return "stdout"


def can_be_watched(spec: ModelSpec) -> bool:
    """Whether a model draws a picture pixel by pixel, or in stages of its own."""
    return (spec.kind == "autoregressive" or spec.stages) and not spec.is_video


def can_animate(spec: ModelSpec) -> bool:
    """Whether there is something to see in `--animate`: a picture being drawn, or a walk."""
    return can_be_watched(spec) or any(option.frames for option in spec.sample_options)
