"""Pictures in and out: levels to bytes and back, grids, and files.

Shapes: N pictures, C channels (1 or 3), H, W height and width, T frames.
"""

from __future__ import annotations

import importlib.util
import math
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from zoo.errors import DataError, OptionError, one_line
from zoo.files import whole

ARRAYS = (".npy", ".npz")
GREY = 128  # of a pixel that is not drawn yet
DRAWING_FRAMES = 100
ORIENTATION = 0x0112  # EXIF
BROKEN = (OSError, EOFError, IndexError, struct.error, SyntaxError, TypeError, ValueError)  # Pillow's for damaged files


def to_bytes(images: torch.Tensor, levels: int = 256) -> torch.Tensor:
    """Values 0 to levels - 1 spread over 0 to 255 (rounded up, so that `quantise` undoes it), uint8, in the same shape.

    Raises:
        OptionError: more than 256 levels, which are codes and no picture.
    """
    if levels > 256:
        raise OptionError(f"{levels} levels are codes, not a picture; decode them first")
    return images if levels == 256 else (-(-images.long() * 255 // (levels - 1))).to(torch.uint8)


def quantise(images: torch.Tensor, levels: int) -> torch.Tensor:
    """Bytes as values 0 to levels - 1 of equal width, uint8, in the same shape; undoes `to_bytes`.

    Raises:
        OptionError: more than 256 levels, which bytes do not have.
    """
    if levels > 256:
        raise OptionError(f"pictures of bytes have 256 levels at most, not {levels}")
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


def hide(images: torch.Tensor, drawn: int) -> torch.Tensor:
    """Pictures (..., C, H, W), uint8, in which all but the first `drawn` pixels in raster order are grey."""
    height, width = images.shape[-2:]
    order = torch.arange(height * width).view(height, width)
    return torch.where(order < drawn, images, torch.tensor(GREY, dtype=torch.uint8))


def drawing(images: torch.Tensor, rows: int = 0) -> list[torch.Tensor]:
    """Frames (N, C, H, W) of pictures (N, C, H, W), uint8, being drawn in raster order.

    The first frame shows the top `rows` rows; each of the next, 100 at most, a few pixels more; the last all.
    """
    height, width = images.shape[2:]
    first, last = rows * width, height * width
    step = max(1, math.ceil((last - first) / DRAWING_FRAMES))
    return [hide(images, drawn) for drawn in (*range(first, last, step), last)]


def beside_given(completed: torch.Tensor, given: torch.Tensor, rows: int, each: int) -> torch.Tensor:
    """For each picture given: what was kept of it, its completions, the picture itself.

    Args:
        completed: (K each, C, H, W), the completions of one picture in succession.
        given: (K, C, H, W), or one for all.
        rows: how many top rows were kept.
        each: completions of one picture.

    Returns:
        (K (each + 2), C, H, W)
    """
    groups = completed.view(-1, each, *completed.shape[1:])  # K each C H W
    given = given.expand(len(groups), -1, -1, -1).unsqueeze(1)
    kept = hide(given, rows * given.shape[-1])
    return torch.cat([kept, groups, given], 1).flatten(0, 1)


def beside_conditions(
    drawn: torch.Tensor, conditions: torch.Tensor, each: int, targets: torch.Tensor | None = None
) -> torch.Tensor:
    """For each condition: itself, what was drawn from it, and the true picture if it is known.

    Args:
        drawn: (K each, C, H, W), what was drawn from one condition in succession.
        conditions: (K, C', H', W'), or one for all; brought to the size of what was drawn.
        each: pictures drawn from one condition.
        targets: (K, C, H, W), or one for all.

    Returns:
        (K (each + 1), C, H, W), or with targets (K (each + 2), C, H, W)
    """
    groups = drawn.view(-1, each, *drawn.shape[1:])  # K each C H W
    ends = [as_shown(ends, drawn.shape[1:]) for ends in (conditions, targets) if ends is not None]
    first, *last = [end.expand(len(groups), -1, -1, -1).unsqueeze(1) for end in ends]
    return torch.cat([first, groups, *last], 1).flatten(0, 1)


def as_shown(images: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Pictures (N, C, H, W), uint8, in another shape (C', H', W'): grey as colour, pixels repeated or left out.

    Numbers of classes, all of them below 32 and not all 0, are spread over the greys.
    """
    channels, height, width = shape
    most = int(images.max()) if images.numel() else 0
    if images.shape[1] == 1 and 0 < most < 32:
        images = (images.long() * 255 // most).to(torch.uint8)
    if images.shape[1] != channels:
        images = images.float().mean(1, keepdim=True).to(torch.uint8).expand(-1, channels, -1, -1)
    rows, columns = (torch.arange(n) * own // n for n, own in ((height, images.shape[2]), (width, images.shape[3])))
    return images[:, :, rows][:, :, :, columns]


def to_pil(image: torch.Tensor) -> Image.Image:
    """One picture (C, H, W), uint8, C of 1 or 3."""
    array = image.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def to_array(image: Image.Image, channels: int, where: str = "the picture") -> np.ndarray[Any, Any]:
    """Any picture as uint8 (H, W, C), C of 1 or 3: what every reader of pictures uses.

    It is turned as its EXIF says; transparency, by alpha or by a colour, is laid on white; of 16 bits the upper byte is
    kept; grey and colour are converted into each other.

    Args:
        image: of Pillow; modes 1, L, LA, P, PA, RGB, RGBA, CMYK, YCbCr, HSV, I and I;16.
        channels: C.
        where: names the picture in errors.

    Raises:
        DataError: a mode that has no one right conversion (LAB, F), or values beyond 16 bits.
    """
    if image.mode in ("LAB", "F"):
        raise DataError(f"{where} is of mode {image.mode}, which is not read; convert it to RGB or grey")
    if image.getexif().get(ORIENTATION, 1) != 1:  # turning by nothing would copy the picture
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.size and (wide.min() < 0 or wide.max() > 65535):
            raise DataError(f"{where} has values from {wide.min()} to {wide.max()}, beyond 16 bits; convert it")
        image = Image.fromarray((wide >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "P", "PA", "La", "RGBa") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    mode = "L" if channels == 1 else "RGB"
    array = np.array(image if image.mode == mode else image.convert(mode), dtype=np.uint8)
    return array.reshape(image.height, image.width, channels)


def from_pil(image: Image.Image, channels: int, where: str = "the picture") -> torch.Tensor:
    """A picture as (C, H, W), uint8, by `to_array`."""
    return torch.from_numpy(to_array(image, channels, where)).permute(2, 0, 1).contiguous()


def check_output(path: Path, name: str | None = None) -> None:
    """Find out before the work starts whether a file can be written at `path`; leaves nothing behind.

    Args:
        path: where.
        name: what errors call it, if not by its path.

    Raises:
        OptionError: no such folder, no permission, a full disk, or an ending that is no picture format.
    """
    if path.is_dir():
        raise OptionError(f"can't write '{path}': it is a folder; with / at its end, each sample becomes a file in it")
    if path.suffix.lower() == ".mp4":
        if importlib.util.find_spec("av") is None:
            raise OptionError(
                f"can't write '{path}': .mp4 needs pip install \"pixelzoo[video]\"; or take .gif or .webp"
            )
    elif path.suffix.lower() not in ARRAYS and Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        ending = f"'{path.suffix}' is no picture format" if path.suffix else "it has no ending that says the format"
        raise OptionError(f"can't write '{path}': {ending}; try {path.with_suffix('.png').name}")
    if not path.parent.exists():
        raise OptionError(f"can't write '{path}': there is no folder '{path.parent}'; make it first")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(4096))
        if path.exists():
            with path.open("ab"):
                pass
    except OSError as error:
        raise OptionError(f"can't write '{name or path}': {error.strerror or error}") from None


def write_image(image: torch.Tensor, path: Path, *, scale: int = 1) -> None:
    """Write one picture (C, H, W), uint8, enlarged `scale` times without smoothing; whole or not at all."""
    write_pictures([to_pil(image)], path, scale)


def write_array(values: torch.Tensor, path: Path) -> None:
    """Write a tensor as it is, as .npy, or under the name "samples" as .npz; whole or not at all."""
    with whole_file(path) as part, part.open("wb") as file:
        if path.suffix.lower() == ".npz":
            np.savez_compressed(file, samples=values.numpy())
        else:
            np.save(file, values.numpy())


def write_pictures(pictures: list[Image.Image], path: Path, scale: int, **how: Any) -> None:
    """Write a picture or the frames of an animation, enlarged `scale` times, whole or not at all; `how` is Pillow's."""
    size = (pictures[0].width * scale, pictures[0].height * scale)
    first, *others = [picture.resize(size, Image.Resampling.NEAREST) for picture in pictures]
    with fitting(path, size), whole_file(path) as part:
        first.save(part, append_images=others, **how)


@contextmanager
def fitting(path: Path, size: Sequence[int]) -> Iterator[None]:
    """What Pillow raises for pictures that are too large for GIF or WebP, as an OptionError."""
    try:
        yield
    except (OverflowError, RuntimeError, struct.error):
        raise OptionError(f"can't write '{path}': {size[0]}x{size[1]} pixels are too many for {path.suffix}") from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when it is complete; raises OptionError if it can't be written."""
    try:
        with whole(path) as part:
            yield part
    except OSError as error:
        raise OptionError(f"can't write '{path}': {error.strerror or error}") from None


def picture_files(path: Path) -> list[Path]:
    """A file itself, or those of a folder in order of their names without hidden ones; raises DataError if none."""
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"there is no file or folder '{path}'")
        return [path]
    about = (".json", ".jsonl")  # what `zoo sample` writes about pictures
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    files = sorted(file for file in files if file.suffix not in about)
    if not files:
        raise DataError(f"there is no picture in '{path}'")
    return files


def read_images(files: Sequence[Path], channels: int, *, ids: bool = False, classes: int | None = None) -> torch.Tensor:
    """Picture files as (N, C, H, W), uint8.

    Args:
        files: which.
        channels: C.
        ids: of pictures with a palette, or of 16 bits, take the numbers, not the colours, see `as_numbers`.
        classes: of label maps, which have one channel of numbers below this.

    Raises:
        DataError: no picture, pictures of several sizes, or a label map in colours or with a number that is no class.
    """
    images: list[torch.Tensor] = []
    for file in files:
        with readable(f"'{file}'"), Image.open(file) as picture:
            numbers = as_numbers(picture) if ids else None
            if numbers is not None:
                images.append(torch.from_numpy(numbers)[None])
            else:
                images.append(from_pil(picture, 3 if classes else channels, f"'{file}'"))
        if classes:
            images[-1] = as_map(images[-1], classes, f"'{file}'")
        if images[-1].shape != images[0].shape:
            found, first = (f"{i.shape[2]}x{i.shape[1]}" for i in (images[-1], images[0]))
            raise DataError(f"'{file}' is {found}, but '{files[0]}' is {first}; all pictures must be of one size")
    return torch.stack(images)


def as_numbers(image: Image.Image) -> np.ndarray[Any, Any] | None:
    """The numbers (H, W), uint8, of a picture that may be a label map: those of its palette, or of 16 bits where all
    are below 256, which as a picture would be black. None of other pictures, whose pixels are the numbers."""
    if image.mode in ("P", "1"):
        return np.array(image, dtype=np.uint8)
    if not image.mode.startswith("I"):
        return None
    wide = np.asarray(image)
    return wide.astype(np.uint8) if wide.size and wide.min() >= 0 and wide.max() < 256 else None


def as_map(picture: torch.Tensor, classes: int, where: str) -> torch.Tensor:
    """A picture (C, H, W) as a label map (1, H, W); raises DataError for one in colours, or without such classes.

    Of two classes black and white are 0 and 1: so people draw lines.
    """
    if classes == 2 and ((picture == 0) | (picture == 255)).all():
        picture = picture // 255
    if (picture != picture[:1]).any():
        raise DataError(f"{where} is in colours, but a label map has one channel, the numbers of 0 to {classes - 1}")
    if (most := int(picture.max())) >= classes:
        raise DataError(f"{where} has the value {most}, but its classes are 0 to {classes - 1}")
    return picture[:1]


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Whatever Pillow raises for a file that is no picture, as a DataError of one line that names it."""
    try:
        yield
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"{where} holds something that is no picture: {one_line(error, 200)}") from None
