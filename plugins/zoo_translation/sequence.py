"""Clips that are drawn frame by frame from conditions and past frames, and drawn anew from any frame on.

Shapes: B batch, T frames, C channels, H, W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from zoo.errors import OptionError
from zoo.nn.adversarial import to_pixels
from zoo.request import SampleRequest


class Sequential(Protocol):
    """A model whose frames follow from a state and the next condition."""

    def start(self, n: int, device: torch.device) -> Any:
        """The state before the first frame of n clips."""

    def advance(self, state: Any, condition: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The next frame (n, C, H, W), -1 to 1, of a condition (n, C', H, W), uint8, and the state after it."""


def conditions_of(
    model: Any, request: SampleRequest, shape: tuple[int, int, int], name: str = "condition", *, what: str = "a clip"
) -> Iterator[torch.Tensor]:
    """The frames of an option one after the other, uint8 (B, *shape), of clips or of an iterator of frames.

    Raises:
        OptionError: no condition, fewer frames than are asked for, or frames of another shape.
    """
    given = request.options[name]
    if given is None:
        raise OptionError(f"{model.spec.name} draws from {what}; it needs {name}=CLIP")
    if isinstance(given, torch.Tensor):
        length = given.shape[1]
        if not length or (request.frames or 0) > length:
            raise OptionError(f"option '{name}' has {length} frames, but {request.frames or 1} are to be drawn")
        return (frame.to(request.device) for frame in given.unbind(1))
    return (_checked(request, frame, shape, name) for frame in given[0])  # one iterator, whose frames all samples share


def _checked(request: SampleRequest, frame: Any, shape: tuple[int, int, int], name: str) -> torch.Tensor:
    """One frame of an iterator, (C, H, W) or (B, C, H, W), for all samples."""
    fits = isinstance(frame, torch.Tensor) and frame.dtype == torch.uint8 and tuple(frame.shape[-3:]) == shape
    if not fits or frame.shape[:-3] not in ((), (1,), (request.n,)):
        found = f"{frame.dtype} {tuple(frame.shape)}" if isinstance(frame, torch.Tensor) else type(frame).__name__
        raise OptionError(f"frames of option '{name}' must be uint8 {shape}, not {found}")
    return frame.to(request.device).expand(request.n, *shape)  # type: ignore[no-any-return]


class Editor:
    """A clip whose conditions can be edited: a change at frame t costs the frames from t on, whose states are kept.

    Attributes:
        conditions: (T, C', H, W), uint8.
        frames: what is drawn, (T, C, H, W), uint8.
    """

    def __init__(self, model: Any, conditions: torch.Tensor) -> None:
        self.model = model
        self.conditions = conditions.clone()
        self._states: list[Any] = [model.start(1, model.device)]
        self._drawn: list[torch.Tensor] = []
        self._draw(0)

    @property
    def frames(self) -> torch.Tensor:
        return torch.cat(self._drawn)

    def edit(self, t: int, condition: torch.Tensor) -> torch.Tensor:
        """Put another condition (C', H, W) in the place of frame t; the frames from t on, (T - t, C, H, W), uint8.

        Raises:
            OptionError: no such frame, or a condition of another shape.
        """
        if not 0 <= t < len(self.conditions):
            raise OptionError(f"there are frames 0 to {len(self.conditions) - 1}, and no frame {t}")
        if condition.shape != self.conditions.shape[1:] or condition.dtype != torch.uint8:
            wanted = f"uint8 {tuple(self.conditions.shape[1:])}"
            raise OptionError(f"a condition must be {wanted}, not {condition.dtype} {tuple(condition.shape)}")
        self.conditions[t] = condition
        self._draw(t)
        return torch.cat(self._drawn[t:])

    def _draw(self, first: int) -> None:
        del self._states[first + 1 :], self._drawn[first:]
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            for condition in self.conditions[first:]:
                condition = condition.unsqueeze(0).to(self.model.device)
                frame, state = self.model.advance(self._states[-1], condition)
                self._states.append(state)
                self._drawn.append(to_pixels(frame).cpu())
        self.model.train(was_training)
