"""Moving MNIST, made from MNIST: Srivastava, Mansimov, Salakhutdinov: Unsupervised Learning of Video Representations
using LSTMs, ICML 2015, arXiv 1502.04681, section 4.2.

Two digits begin anywhere in a square of 64 pixels. Each moves a tenth of the way that is free to it a frame, in a
direction of its own, and is reflected at the borders; where they overlap the brighter pixel is seen. Clip i of a split
follows from the split and i alone, so that the set is the same everywhere; it is not the file that the paper's authors
published. Its training clips show digits of MNIST's training split, its test clips those of the test split.

Shapes: T frames, H, W height and width of a digit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from zoo.data import load

FRAMES, SIDE, DIGITS, SPEED = 20, 64, 2, 0.1
CLIPS = {"train": 10_000, "test": 1_000}

Bytes = npt.NDArray[np.uint8]


def splits() -> dict[str, tuple[Callable[..., Iterator[dict[str, Any]]], dict[str, Any]]]:
    """For each split a generator function of its rows, and its arguments: see `zoo.DataSpec.made_by`.

    Raises:
        DataError: MNIST is not to be had.
    """
    made = {}
    for split, count in CLIPS.items():
        digits = next(load("mnist", split, (1, 28, 28)).batches(1 << 30))["image"][:, 0].numpy()
        made[split] = (rows, {"digits": digits, "split": split, "count": count})
    return made


def clip(digits: Bytes, split: str, index: int) -> Bytes:
    """One clip (T, 64, 64).

    Args:
        digits: those it chooses from, (N, H, W).
        split: "train" or "test".
        index: number of the clip.
    """
    random = np.random.Generator(np.random.PCG64([list(CLIPS).index(split), index]))
    chosen = random.integers(len(digits), size=DIGITS)
    start, angle = random.random((DIGITS, 2)), random.random(DIGITS) * 2 * np.pi
    step = SPEED * np.stack([np.sin(angle), np.cos(angle)], 1)
    way = start + np.arange(FRAMES)[:, None, None] * step  # T, digits, 2; the free way is 0 to 1
    places = np.rint((1 - np.abs(1 - way % 2)) * (SIDE - np.array(digits.shape[1:]))).astype(int)
    frames = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for canvas, corners in zip(frames, places, strict=True):
        for number, (top, left) in zip(chosen, corners, strict=True):
            digit = digits[number]
            window = canvas[top : top + digit.shape[0], left : left + digit.shape[1]]
            np.maximum(window, digit, out=window)
    return frames


def rows(digits: Bytes, split: str, count: int) -> Iterator[dict[str, Any]]:
    """The first clips of a split, as lists of PNGs."""
    for index in range(count):
        yield {"frames": [{"bytes": _png(frame), "path": None} for frame in clip(digits, split, index)]}


def _png(frame: Bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "png", compress_level=1)
    return file.getvalue()
