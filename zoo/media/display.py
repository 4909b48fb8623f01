"""Samples as people look at them: `zoo.show` in a notebook, `zoo.save_images` in files.

Shapes: N samples, C channels (1 or 3), H, W height and width, T frames.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo import media
from zoo.errors import OptionError, told
from zoo.media.output import CLIP, Target, is_animation
from zoo.media.video import FASTEST, SLOWEST
from zoo.spec import Option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.model import Model

    Samples = torch.Tensor | NDArray[Any]

FPS = 10.0  # of clips of which no model says more
SHOWN_WIDTH, SHOWN_HEIGHT, MOST = 640, 480, 8  # pixels that `show` enlarges small pictures to, and how far at most


@dataclass(frozen=True, repr=False)
class Shown:
    """Samples that Jupyter displays, a picture or an animation; `show` makes it.

    Attributes:
        images: (N, C, H, W), or clips (N, T, C, H, W); values as the model gives them.
        levels: values of a sub-pixel.
        fps: frames a second of clips.
        columns: of the grid; None makes it about a square.
        scale: how far pixels are enlarged.
    """

    images: torch.Tensor
    levels: int
    fps: float
    columns: int | None
    scale: int

    @property
    def is_video(self) -> bool:
        return self.images.ndim == 5

    def save(self, path: str | Path) -> list[Path]:
        """Write the same grid into a file, or each sample into one of its own; as `save_images`."""
        return _write(self, path)

    def __repr__(self) -> str:
        n, (height, width) = len(self.images), self.images.shape[-2:]
        if self.is_video:
            return f"<{n} clip{'s' * (n != 1)} of {self.images.shape[1]} frames of {width}x{height} pixels>"
        return f"<{n} picture{'s' * (n != 1)} of {width}x{height} pixels>"

    def _repr_png_(self) -> bytes | None:
        return None if self.is_video else self._encoded(".png")

    def _repr_html_(self) -> str | None:
        """A GIF: not every front end displays one that comes as such."""
        if not self.is_video:
            return None
        return f'<img alt="{repr(self)[1:-1]}" src="data:image/gif;base64,{_base64(self._encoded(".gif"))}">'

    def _encoded(self, ending: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return self.save(Path(folder) / f"shown{ending}")[0].read_bytes()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def show(
    images: Samples,
    model: Model | None = None,
    *,
    columns: int | None = None,
    scale: int | None = None,
    fps: float | None = None,
) -> Shown:
    """Samples as something that Jupyter displays: pictures as one grid, clips as an animation side by side.

    Args:
        images: (C, H, W), (N, C, H, W), or clips (N, T, C, H, W), of torch or NumPy, with values 0 to levels - 1. The
            frames of one walk are a clip as `images[None]`.
        model: that drew them, whose levels and frames a second they have; without one 256 levels, 10 frames a second.
        columns: of the grid; None makes it about a square.
        scale: enlarges pixels without smoothing; None enlarges small pictures until they are seen well.
        fps: frames a second of clips, in place of the model's, from 0.1 to 1000.

    Returns:
        What displays itself at the end of a notebook's cell, and `.save(path)`.

    Raises:
        OptionError: values that are no pictures, of another shape, or beyond the levels; another argument out of range.
    """
    samples, levels = _checked(images, model)
    columns = Option(name="columns", type="int", minimum=1).parse(columns)
    if scale is None:
        height, width = media.grid(samples[:, 0] if samples.ndim == 5 else samples, columns).shape[1:]
        scale = max(1, min(MOST, SHOWN_WIDTH // width, SHOWN_HEIGHT // height))
    scale = Option(name="scale", type="int", minimum=1, maximum=64).parse(scale)
    if fps is None:
        fps = model.fps if model is not None else FPS
    rate = Option(name="fps", type="float", minimum=SLOWEST, maximum=FASTEST).parse(fps)
    return Shown(samples, levels, rate, columns, scale)


def save_images(
    images: Samples,
    path: str | Path,
    model: Model | None = None,
    *,
    columns: int | None = None,
    scale: int = 1,
    fps: float | None = None,
) -> list[Path]:
    """Write samples as `zoo sample` does: one grid, or with {} or {:03d} in the name or / at its end, one file each.

    Args:
        images: as of `show`.
        path: .png, .jpg and the like: a grid, of clips a sheet with a row of frames for each; .gif, .webp, .apng, .mp4:
            clips side by side; .npy, .npz: the values as they are. A folder gets .png files, or .gif files of clips.
        model, columns, scale, fps: as of `show`.

    Returns:
        The files that were written, each whole or not at all.

    Raises:
        OptionError: as of `show`; or a path that can't be written.
    """
    return _write(show(images, model, columns=columns, scale=scale, fps=fps), path)


def _write(shown: Shown, path: str | Path) -> list[Path]:
    if not str(path):
        raise OptionError("the path of the pictures is empty")
    text = f"{path}/" if Path(path).is_dir() else str(path)
    ending = ".gif" if shown.is_video else ".png"
    target = Target.parse(text, ending, CLIP if shown.is_video else None)
    if is_animation(target.ending) and not shown.is_video:
        raise OptionError(
            f"can't write '{path}': (N, C, H, W) are still pictures; take .png, or images[None] if they are frames"
        )
    target.check()
    samples = media.to_bytes(shown.images, shown.levels) if not target.is_array else shown.images
    frames = list(samples.unbind(1)) if shown.is_video else [samples]
    target.write([] if target.is_array else frames, shown.images, shown.columns, shown.scale, shown.fps)
    return target.files(len(shown.images))


def _checked(images: Samples, model: Model | None) -> tuple[torch.Tensor, int]:
    """Samples on the CPU with a first axis N, and their levels."""
    levels = 256 if model is None else model.levels
    try:
        samples = torch.as_tensor(images).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(f"pictures are an array of torch or NumPy, not {told(images)}") from None
    if samples.ndim == 3:
        samples = samples.unsqueeze(0)
    if samples.ndim not in (4, 5) or samples.shape[-3] not in (1, 3) or not samples.numel():
        wanted = "(N, C, H, W) or clips (N, T, C, H, W) with 1 or 3 channels"
        raise OptionError(f"pictures are {wanted}, not {tuple(samples.shape)}")
    if samples.dtype.is_floating_point or samples.dtype.is_complex or samples.dtype == torch.bool:
        raise OptionError(f"pictures are uint8, 0 to {levels - 1}, as model.sample gives them, not {samples.dtype}")
    least, most = int(samples.min()), int(samples.max())
    if least < 0 or most >= levels:
        whose = f"of {model.spec.name} " if model is not None else ""
        raise OptionError(f"the pictures {whose}have values 0 to {levels - 1}, not {least} to {most}")
    return samples if samples.dtype == torch.uint8 or levels > 256 else samples.to(torch.uint8), levels
