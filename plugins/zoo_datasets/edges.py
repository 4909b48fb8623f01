"""Emoji and their edges, made from Noto emoji: pairs for pix2pix in the manner of its edges2shoes.

The edges are those of Canny: A Computational Approach to Edge Detection, IEEE Transactions on Pattern Analysis and
Machine Intelligence 8(6), 1986: smooth, differentiate, keep what is largest across the edge, and follow strong edges
through weak ones. Of three colours the one that changes most is taken, so that yellow ends on white.

Shapes: H, W height and width, C colours.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from zoo.data import load

SIDE, HELD_OUT = 64, 128
SIGMA = 0.8  # of smoothing, in pixels
WEAK, STRONG = 0.03, 0.09  # of the change a pixel, where black to white is 1

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]


def splits() -> dict[str, tuple[Callable[..., Iterator[dict[str, Any]]], dict[str, Any]]]:
    """For each split a generator function of its rows, and its arguments: see `zoo.DataSpec.made_by`.

    Test pairs are 128 of the emoji, chosen once for ever.

    Raises:
        DataError: Noto emoji are not to be had.
    """
    both = (load("noto_emoji64", split, (3, SIDE, SIDE)) for split in ("train", "validation"))
    images = np.concatenate([next(emoji.batches(1 << 30))["image"] for emoji in both]).transpose(0, 2, 3, 1)  # N H W C
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(images))
    parts = {"train": np.sort(order[HELD_OUT:]), "test": np.sort(order[:HELD_OUT])}
    return {split: (rows, {"images": images[chosen]}) for split, chosen in parts.items()}


def rows(images: npt.NDArray[np.uint8]) -> Iterator[dict[str, Any]]:
    """Pairs of pictures (N, H, W, C) and their edges, 1 on 0, as PNGs."""
    for image in images:
        yield {"image": _png(image), "condition": _png(canny(image).astype(np.uint8))}


def canny(image: npt.NDArray[np.uint8]) -> Bits:
    """The edges (H, W) of a picture (H, W, C)."""
    down, across = _changes(image / 255.0)
    strength = np.hypot(down, across)
    thin = (strength > WEAK) & _is_crest(strength, down, across)
    found: Bits = thin & (strength > STRONG)
    while True:  # weak edges that touch strong ones
        more = thin & _touched(found)
        if (more == found).all():
            return found
        found = more


def _changes(picture: Floats) -> tuple[Floats, Floats]:
    """The change a pixel downwards and to the right, (H, W) each, of the colour that changes most."""
    reach = np.arange(-3, 4)
    bell = np.exp(-0.5 * (reach / SIGMA) ** 2)
    smooth = _along(_along(picture, bell / bell.sum(), 0), bell / bell.sum(), 1)
    slope = np.array([-0.5, 0.0, 0.5])
    down, across = _along(smooth, slope, 0), _along(smooth, slope, 1)
    colour = (down**2 + across**2).argmax(2)[..., None]
    return tuple(np.take_along_axis(change, colour, 2)[..., 0] for change in (down, across))  # type: ignore[return-value]


def _along(picture: Floats, weights: Floats, axis: int) -> Floats:
    """Correlation with weights along an axis; the border goes on outside."""
    half = len(weights) // 2
    around = [(half, half) if i == axis else (0, 0) for i in range(picture.ndim)]
    padded = np.pad(picture, around, mode="edge")
    size = picture.shape[axis]
    parts = (w * np.take(padded, range(i, i + size), axis) for i, w in enumerate(weights))
    return np.sum(list(parts), axis=0)


def _is_crest(strength: Floats, down: Floats, across: Floats) -> Bits:
    """Where neither neighbour across the edge, in the nearest of 8 directions, is stronger."""
    eighth = np.rint(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    crest = np.zeros(strength.shape, bool)
    for direction, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        before, after = (padded[1 + s * dy : 1 + s * dy + height, 1 + s * dx : 1 + s * dx + width] for s in (-1, 1))
        crest |= (eighth == direction) & (strength > before) & (strength >= after)
    return crest


def _touched(found: Bits) -> Bits:
    """The pixels that are set, and their eight neighbours."""
    height, width = found.shape
    padded = np.pad(found, 1)
    windows = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(windows)


def _png(pixels: npt.NDArray[np.uint8]) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}
