"""Pictures in and out: levels to bytes and back, grids, and files.

Shapes: N pictures, C channels (1 or 3), H, W height and width, T frames.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zoo.errors import DataError, OptionError


def to_bytes(images: torch.Tensor, levels: int = 256) -> torch.Tensor:
    """Values 0 to levels - 1 spread over 0 to 255 (rounded up, so that `quantise` undoes it), uint8, in the same shape.

    Raises:
        OptionError: more than 256 levels, which are codes and no picture.
    """
    if levels > 256:
        raise OptionError(f"{levels} levels are codes, not a picture; decode them first")
    return images if levels == 256 else (-(-images.long() * 255 // (levels - 1))).to(torch.uint8)


def quantise(images: torch.Tensor, levels: int) -> torch.Tensor:
    """Bytes as values 0 to levels - 1 of equal width, uint8, in the same shape; undoes `to_bytes`."""
    return images if levels == 256 else (images.long() * levels // 256).to(torch.uint8)


def grid(images: torch.Tensor, columns: int | None = None, *, padding: int = 2, background: int = 255) -> torch.Tensor:
    """Pictures (N, C, H, W), uint8, row by row on one canvas (C, H', W'); as near to a square as it gets."""
    n, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(n * height / width)) or 1
    rows = math.ceil(n / columns)
    size = (channels, rows * (height + padding) + padding, columns * (width + padding) + padding)
    canvas = torch.full(size, background, dtype=torch.uint8)
    for i, image in enumerate(images):
        top = padding + i // columns * (height + padding)
        left = padding + i % columns * (width + padding)
        canvas[:, top : top + height, left : left + width] = image
    return canvas


def to_pil(image: torch.Tensor) -> Image.Image:
    """One picture (C, H, W), uint8, C of 1 or 3."""
    array = image.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def from_pil(image: Image.Image, channels: int) -> torch.Tensor:
    """A picture as (C, H, W), uint8; grey and colour are converted, transparency is laid on white."""
    if image.mode in ("RGBA", "LA", "P", "PA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    array = np.array(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return torch.from_numpy(array.reshape(image.height, image.width, channels)).permute(2, 0, 1).contiguous()


def check_output(path: Path) -> None:
    """Find out before the work starts whether a file can be written at `path`; leaves nothing behind.

    Raises:
        OptionError: no such folder, no permission, or an ending that is no picture format.
    """
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise OptionError(f"can't write '{path}': '{path.suffix}' is no picture format; try .png")
    if path.is_dir():
        raise OptionError(f"can't write '{path}': it is a folder")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists():
            with path.open("ab"):
                pass
    except OSError as error:
        raise OptionError(f"can't write '{path}': {error.strerror or error}") from None


def write_image(image: torch.Tensor, path: Path, *, scale: int = 1) -> None:
    """Write one picture (C, H, W), uint8, enlarged `scale` times without smoothing; whole or not at all."""
    picture = to_pil(image)
    if scale > 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    part = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        picture.save(part)
        os.replace(part, path)
    except OSError as error:
        raise OptionError(f"can't write '{path}': {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def read_images(path: Path, channels: int) -> torch.Tensor:
    """One picture file, or all of a folder in order of their names, as (N, C, H, W), uint8.

    Raises:
        DataError: no such file, no picture, or pictures of several sizes.
    """
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    images = []
    for file in files:
        try:
            with Image.open(file) as picture:
                images.append(from_pil(picture, channels))
        except OSError as error:
            raise DataError(f"can't read '{file}' as a picture: {error}") from None
        if images[-1].shape != images[0].shape:
            found, first = (f"{i.shape[2]}x{i.shape[1]}" for i in (images[-1], images[0]))
            raise DataError(f"'{file}' is {found}, but '{files[0]}' is {first}; all pictures must be of one size")
    if not images:
        raise DataError(f"there is no picture in '{path}'")
    return torch.stack(images)
