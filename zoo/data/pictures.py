"""One picture of a table: decoded, and brought to a model's size where the user or its data set asks for that."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from zoo.data.columns import Cells
from zoo.data.source import Source
from zoo.errors import DataError
from zoo.media.images import as_numbers, readable, to_array

MODES = {1: "L", 3: "RGB"}  # what a model of so many channels is given
GREY = ("1", "L", "LA", "La")
EITHER = ("P", "PA")  # the palette may be of greys

Array = np.ndarray[Any, Any]


def decode_picture(cell: dict[str, Any], cells: Cells, source: Source) -> Array:
    """One decoded picture, (H, W, C), uint8; of a pair the half that is wanted.

    Raises:
        DataError: no picture, or one of another size or mode than the model needs.
    """
    is_file = cell and cell["path"] and not cell["bytes"]
    where = f"'{cell['path']}'" if is_file else f"column '{cells.column}' of {source.name}"
    if not cell or not (cell["bytes"] or cell["path"]):
        raise DataError(f"{where} is empty in a row: there is no picture")
    with readable(where), Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"]) as picture:
        numbers = as_numbers(picture) if cells.is_ids else None
        if numbers is not None:  # the number of a class, not the colour it is shown in
            mode, pixels = "L", numbers[:, :, None]
        else:
            mode, pixels = picture.mode, to_array(picture, cells.shape[-3], where)
    if cells.half:
        middle = pixels.shape[1] // 2
        pixels = pixels[:, :middle] if cells.half == "left" else pixels[:, middle : 2 * middle]
    return fit(pixels, cells, source, mode, where)


def fit(pixels: Array, cells: Cells, source: Source, mode: str, where: str = "a clip") -> Array:
    """A picture (H, W, C) at the model's size; DataError if nobody asked for it to be brought there."""
    channels, height, width = cells.shape[-3:]
    is_grey = mode in GREY or mode.startswith("I")
    fits = is_grey == (channels == 1) or mode in EITHER
    fitted = _resized(pixels, height, width, source.spec.resize, is_ids=cells.is_ids) if fits else None
    if fitted is None:
        raise DataError(
            f"{where} holds a picture of {pixels.shape[1]}x{pixels.shape[0]}, mode {mode}; the model needs "
            f"{width}x{height}, mode {MODES[channels]}: convert it, "
            f"{'bring it to that size by --resize, ' if fits else ''}or give the model what the pictures are"
        )
    return fitted


def _resized(pixels: Array, height: int, width: int, resize: str | None, *, is_ids: bool) -> Array | None:
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, picture.width // width)
    whole = picture.size == (factor * width, factor * height)
    if resize == "antialias" or (resize == "box" and whole and is_ids):
        method = Image.Resampling.NEAREST if is_ids else Image.Resampling.BICUBIC
        picture = ImageOps.fit(picture, (width, height), method)  # centre crop, filtered
    elif resize == "box" and whole:
        picture = picture.reduce(factor)
    else:
        return None
    return np.array(picture, dtype=np.uint8).reshape(height, width, pixels.shape[2])
