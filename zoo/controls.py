"""Clips that people edit by hand: what a model may offer, and what the demo page asks it for.

Shapes: T frames, P numbers of a frame, C channels, H, W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch


class ClipEditor(Protocol):
    """A clip that is drawn from inputs, and drawn anew from the frame on whose inputs change; see `Model.editor`."""

    @property
    def frames(self) -> torch.Tensor:
        """What is drawn, (T, C, H, W), uint8: what `model.sample` draws from `inputs`."""

    @property
    def inputs(self) -> Mapping[str, torch.Tensor]:
        """What it is drawn from, by the name of its option, (T, ...)."""

    def edit(self, t: int, **inputs: torch.Tensor) -> torch.Tensor:
        """Put other inputs in the place of those of frame t, or of as many frames from t on as they have.

        Returns:
            The frames from t on, uint8.
        """


@dataclass(frozen=True)
class Controls:
    """Numbers that a model's inputs are drawn from, for people to move: the joints of a figure, the turn of a head.

    Attributes:
        names: of the P numbers; of points, of the P / 2 points.
        low, high: bounds of each number.
        points: whether the numbers are x and y of points, in pixels of a frame.
        begin: how many frames, and a seed, to the numbers (T, P) of a clip to begin with.
        draw: numbers (T, P) to inputs by the name of their option, (T, ...).
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    points: bool
    begin: Callable[[int, int], torch.Tensor]
    draw: Callable[[torch.Tensor], dict[str, Any]]
