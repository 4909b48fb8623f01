"""A clip that a visitor edits: painted label maps and pictures, moved joints, turned heads. Free of Gradio.

Shapes: T frames, C channels, H, W height and width, P numbers of a frame.
"""

from __future__ import annotations

import colorsys
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zoo
from zoo.errors import OptionError
from zoo.media.images import as_shown, grid, write_image
from zoo.media.video import write_clip
from zoo_demo.lines import text

FRAMES = 32  # of a clip to begin with
LONGEST = 128
FPS = 10  # of clips that do not say
OPAQUE = 128  # paint at least this strong counts, so that the soft edge of a brush makes no classes of its own


def palette(classes: int) -> np.ndarray[Any, Any]:
    """Colours (K, 3), uint8, that are easy to tell apart; class 0 is black."""
    rows = [(0.0, 0.0, 0.0)]
    rows += [colorsys.hsv_to_rgb(i * 0.381966 % 1, (0.55, 0.9)[i % 2], (1.0, 0.8)[i // 2 % 2]) for i in range(classes)]
    return np.array([[round(255 * value) for value in row] for row in rows[:classes]], np.uint8)


def coloured(picture: torch.Tensor, classes: int) -> torch.Tensor:
    """A picture (C, H, W), uint8, as people see it, (3, H, W); numbers of classes by the colours of `palette`."""
    if classes:
        return torch.from_numpy(palette(classes))[picture[0].long().clamp(max=classes - 1)].permute(2, 0, 1)
    return as_shown(picture.unsqueeze(0), (3, *picture.shape[1:]))[0]


def painted(
    picture: torch.Tensor, layers: list[np.ndarray[Any, Any]], classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture (C, H, W), uint8, with paint on it, and where that is, (H, W).

    Args:
        picture: what was painted on.
        layers: of paint, (H', W', 4), uint8, of any size.
        classes: of a label map, painted in the colours of `palette`; 0 of a picture.
    """
    channels, height, width = picture.shape
    result, where = picture.clone(), torch.zeros(height, width, dtype=torch.bool)
    for layer in layers:
        rows = (np.arange(height) * 2 + 1) * layer.shape[0] // (2 * height)
        columns = (np.arange(width) * 2 + 1) * layer.shape[1] // (2 * width)
        paint = np.ascontiguousarray(layer[rows][:, columns])  # H W 4
        mask = torch.from_numpy(paint[..., 3] >= OPAQUE)
        colours = paint[..., :3].astype(np.int64)
        if classes:
            apart = np.square(colours[:, :, None] - palette(classes).astype(np.int64)).sum(-1)  # H W K
            values = torch.from_numpy(apart.argmin(-1))[None]
        elif channels == 1:
            values = torch.from_numpy(colours.mean(-1).round())[None]
        else:
            values = torch.from_numpy(colours).permute(2, 0, 1)
        result = torch.where(mask, values.to(torch.uint8), result)
        where |= mask
    return result, where


class Session:
    """One clip that is edited.

    Attributes:
        editor: of the model.
        controls: what its inputs can be drawn from, if there is such.
        numbers: those of this clip, (T, P); None where it was not drawn from any.
        paintable: name of the input that is painted on.
    """

    def __init__(self, model: zoo.Model, options: dict[str, Any], *, seed: int = 0, drive: bool = True) -> None:
        """Draw a clip.

        Args:
            model: one that `has_editor`.
            options: those of `model.editor`.
            seed: of the noise, and of the controls' clip.
            drive: put inputs that the controls draw in the place of those of `options`, where there are controls.

        Raises:
            OptionError: as of `model.editor`, or too many frames.
        """
        self.model, self.controls = model, model.controls if drive else None
        self.numbers: torch.Tensor | None = None
        if self.controls:
            self.numbers = self.controls.begin(FRAMES, seed)
            options = {**options, **self.controls.draw(self.numbers)}
        self.paintable = next(option.name for option in model.spec.sample_options if option.type == "video")
        if (length := len(options[self.paintable])) > LONGEST:
            raise OptionError(f"option '{self.paintable}' has {length} frames; {LONGEST} are the most")
        self.seed, self.options = seed, options
        self.editor = model.editor(seed=seed, **options)

    def __len__(self) -> int:
        return len(self.editor.frames)

    @property
    def classes(self) -> int:
        """Of the label maps that are painted on; 0 of pictures."""
        return self.model.input_classes.get(self.paintable, 0)

    def paint(self, t: int, layers: list[np.ndarray[Any, Any]], *, onwards: bool) -> None:
        """Paint on the input of frame t, and with `onwards` on those of all after it."""
        clip = self.editor.inputs[self.paintable]
        new, where = painted(clip[t], layers, self.classes)
        if not where.any():
            return
        changed = torch.where(where, new, clip[t:] if onwards else clip[t : t + 1])
        self.editor.edit(t, **{self.paintable: changed})

    def move(self, t: int, values: dict[int, float], *, onwards: bool) -> None:
        """Give numbers of frame t other values, and with `onwards` shift those of all frames after it by as much."""
        assert self.controls is not None
        assert self.numbers is not None
        numbers = self.numbers[t:].clone() if onwards else self.numbers[t : t + 1].clone()
        low, high = torch.tensor(self.controls.low), torch.tensor(self.controls.high)
        for i, value in values.items():
            numbers[:, i] += value - numbers[0, i]
        numbers = numbers.clamp(low, high)
        self.editor.edit(t, **self.controls.draw(numbers))
        self.numbers[t : t + len(numbers)] = numbers

    def input(self, t: int) -> torch.Tensor:
        """What frame t is drawn from, as people see it, (3, H, W)."""
        return coloured(self.editor.inputs[self.paintable][t], self.classes)

    def frame(self, t: int) -> torch.Tensor:
        """Frame t, (3, H, W)."""
        return coloured(self.editor.frames[t], 0)

    def write(self, folder: Path, name: str) -> tuple[Path, list[Path], str]:
        """Write the clip beside its input, and all inputs without loss.

        Returns:
            The clip, the inputs, and the line that draws the clip from these; "" where one of them can't be a file.
        """
        times = [1000 / (self.model.fps or FPS)] * len(self)
        sides = [grid(torch.stack([self.input(t), self.frame(t)]), 2) for t in range(len(self))]
        write_clip(sides, folder / "clip.gif", times)
        files: list[Path] = []
        words = ["zoo", "sample", name, "--seed", str(self.seed), "--frames", str(len(self))]
        for option in self.model.spec.sample_options:
            value = self.editor.inputs.get(option.name, self.options.get(option.name))
            if value is None:
                continue
            if option.type == "tensor":
                return folder / "clip.gif", files, ""
            if isinstance(value, torch.Tensor):
                files.append(folder / f"{option.name}{'.webp' if option.type == 'video' else '.png'}")
                if option.type == "video":
                    write_clip(list(value), files[-1], times)
                else:
                    write_image(value, files[-1])
                value = files[-1].name
            words += ["--option", f"{option.name}={text(value)}"]
        return folder / "clip.gif", files, shlex.join([*words, "-o", "edited.gif"])
