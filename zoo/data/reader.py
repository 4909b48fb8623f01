"""Rows of a table as examples: pictures and clips decoded and brought to a model's size, a window cut from each clip.

Shapes: C channels, H, W height and width, T frames of a clip, or of the window that a model learns from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.data.columns import Cells
from zoo.data.folders import CLIPS
from zoo.data.pictures import MODES, decode_picture, fit
from zoo.data.source import Source
from zoo.errors import DataError, one_line
from zoo.seeds import derive_seed

Array = np.ndarray[Any, Any]


class UnreadableError(DataError):
    """A video file that can't be read; others of its set can."""


@dataclass(frozen=True)
class Reader:
    """Reads the pictures, clips and numbers of a row.

    Attributes:
        cells: of each key.
        source: where they come from.
        stride: frames from one frame of a window to the next.
        seed: of the places of windows.
    """

    cells: Mapping[str, Cells]
    source: Source
    stride: int = 1
    seed: int = 0

    @cached_property
    def decoded(self) -> dict[str, Cells]:
        """Those that are read row by row; labels and captions are read as whole columns."""
        return {key: cells for key, cells in self.cells.items() if cells.kind in ("image", "video", "tensor")}

    @cached_property
    def clips(self) -> list[str]:
        """Keys whose rows are clips, of which a window is cut."""
        return [key for key, cells in self.cells.items() if cells.kind == "video"]

    @cached_property
    def window(self) -> int:
        """Frames of a clip that a window spans; 1 where single frames are learned from clips, 0 without clips."""
        spans = [(self.cells[k].shape[0] - 1) * self.stride + 1 if self._is_window(k) else 1 for k in self.clips]
        return max(spans, default=0)

    def _is_window(self, key: str) -> bool:
        return len(self.cells[key].shape) == 4

    def read(self, row: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """All of a row, decoded: pictures (C, H, W) and whole clips (T, C, H, W), uint8, and numbers, float32.

        Raises:
            DataError: no picture or clip, one of another size or mode, or clips of one row that differ in length.
        """
        values: dict[str, torch.Tensor] = {}
        for key, cells in self.decoded.items():
            cell = row[cells.column]
            if cells.kind == "tensor":
                values[key] = self._numbers(cell, cells)
                continue
            if cells.kind == "image":
                pixels = decode_picture(cell, cells, self.source).transpose(2, 0, 1)
            else:
                pixels = self._clip(cell, cells).transpose(0, 3, 1, 2)
            values[key] = torch.from_numpy(np.ascontiguousarray(pixels))
        if not self.clips:
            return values
        timed = [*self.clips, *(key for key, cells in self.decoded.items() if cells.kind == "tensor")]
        lengths = {key: len(values[key]) for key in timed}
        if len(set(lengths.values())) > 1 and all(lengths.values()):  # one that is empty is left out
            found = ", ".join(f"'{key}' {length}" for key, length in lengths.items())
            raise DataError(f"clips of one row of {self.source.name} differ in length: {found} frames")
        return values

    def _clip(self, cell: Any, cells: Cells) -> Array:
        """(T, H, W, C), of a list of pictures or of a video file."""
        if is_video_file(cell):
            frames, where = _video(cell, cells.shape[-3], self.source)
            pixels, mode = frames.permute(0, 2, 3, 1).numpy(), MODES[cells.shape[-3]]
            return np.stack([fit(frame, cells, self.source, mode, where) for frame in pixels])
        if not cell:
            return np.empty((0, *cells.shape[-2:], cells.shape[-3]), dtype=np.uint8)
        return np.stack([decode_picture(frame, cells, self.source) for frame in cell])

    def _numbers(self, cell: Any, cells: Cells) -> torch.Tensor:
        """Numbers of a row, float32, some of which may be missing (NaN): (T, ...) in a row of clips of T frames.

        Raises:
            DataError: numbers of another shape than the model takes, or none at all.
        """
        where = f"column '{cells.column}' of {self.source.name}"
        try:
            values = torch.from_numpy(np.asarray(cell, dtype=np.float32))
        except (TypeError, ValueError):
            raise DataError(f"{where} holds no table of numbers in a row: {one_line(cell, 60)}") from None
        first = 1 if self.clips else 0
        if values.ndim != len(cells.shape) or tuple(values.shape[first:]) != cells.shape[first:]:
            axes = ", ".join(("T", *map(str, cells.shape[1:])) if first else map(str, cells.shape))
            raise DataError(f"{where} holds {tuple(values.shape)} numbers in a row, but the model takes ({axes})")
        if not values.isfinite().any():
            raise DataError(f"{where} has a row of {len(values)} frames without a single number; leave that clip out")
        if cells.whole and not values.isfinite().all():
            raise DataError(f"{where} has a number that is not finite in a row; mend it, or leave that clip out")
        return values

    def length(self, row: Mapping[str, Any]) -> int:
        """Frames of a row's shortest clip, without decoding lists of pictures."""
        cells = [(row[self.cells[key].column], self.cells[key].shape[-3]) for key in self.clips]
        return min(len(_video(c, n, self.source)[0]) if is_video_file(c) else len(c or ()) for c, n in cells)

    def cut(self, values: Mapping[str, torch.Tensor], place: int | str) -> dict[str, torch.Tensor]:
        """One example: of clips a window of the model's frames, or one frame if it learns pictures.

        Args:
            values: as `read` gives them.
            place: what the window's beginning follows from, together with the seed: all keys share it.
        """
        clips = self.clips
        if not clips:
            return dict(values)
        length = len(values[clips[0]])
        first = derive_seed(self.seed, "window", place) % (length - self.window + 1)
        example = {}
        for key, value in values.items():
            if key in clips and not self._is_window(key):
                value = value[first]
            elif key in clips or (self.cells[key].kind == "tensor" and len(value) == length):
                value = value[first : first + self.window : self.stride]
            example[key] = value
        return example


def is_video_file(cell: Any) -> bool:
    """Whether a clip is a video file, and no list of pictures."""
    if isinstance(cell, list):
        return len(cell) == 1 and bool(cell[0]) and Path(cell[0]["path"] or "").suffix.lower() in CLIPS
    return isinstance(cell, dict)


def _video(cell: Any, channels: int, source: Source) -> tuple[torch.Tensor, str]:
    """(T, C, H, W) of a video file, by its path or its bytes, and what errors call it."""
    cell = cell[0] if isinstance(cell, list) else cell
    if cell["bytes"] is None:
        where = f"'{cell['path']}'"
        return _read(Path(cell["path"]), channels, where), where
    with tempfile.NamedTemporaryFile(suffix=Path(cell["path"] or "clip.mp4").suffix) as file:
        file.write(cell["bytes"])
        file.flush()
        where = f"a clip of {source.name}"
        return _read(Path(file.name), channels, where), where


def _read(path: Path, channels: int, where: str) -> torch.Tensor:
    from zoo.media.video import is_installed, read_clip

    try:
        return read_clip(path, channels, where)
    except DataError as error:
        if not is_installed():  # then nothing is wrong with the file
            raise
        raise UnreadableError(str(error)) from None
