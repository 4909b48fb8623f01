"""Clips that are drawn frame by frame from conditions and past frames, and drawn anew from any frame on.

Shapes: B batch, T frames, C channels, H, W height and width.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch

from zoo import sampling
from zoo.errors import OptionError
from zoo.nn.adversarial import to_pixels
from zoo.precision import precision
from zoo.request import SampleRequest
from zoo.spec import Option

Given = dict[str, torch.Tensor]  # what one frame is drawn from, by the name of its option, (B, ...)


class Recurrent(Protocol):
    """A model whose frames follow from a state and from what is given for each frame.

    Attributes:
        frame_shapes: what may be given for each frame, by the name of its option, and the shape of one: (C, H, W) of
            pictures, uint8, and others of numbers.
        not_needed: those of them that may be left out.
    """

    spec: Any
    frame_shapes: Mapping[str, tuple[int, ...]]
    not_needed: tuple[str, ...]

    def begin(self, request: SampleRequest) -> Any:
        """The state before the first frame of a request; raises OptionError for options that do not fit."""

    def advance(self, state: Any, given: Given) -> tuple[torch.Tensor, Any]:
        """The next frame (B, C, H, W), -1 to 1, and the state after it."""


def draw(model: Any, request: SampleRequest) -> Iterator[torch.Tensor]:
    """The frames of a request, uint8 (B, C, H, W), one by one: as many as are given, or as are asked for.

    Raises:
        OptionError: nothing to draw from, fewer frames than asked for, or frames of another shape.
    """
    return _drawn(model, request, frames_of(model, request), model.begin(request))


def _drawn(model: Any, request: SampleRequest, frames: Iterator[Given], state: Any) -> Iterator[torch.Tensor]:
    t, least = 0, request.frames or 1
    for t, given in enumerate(itertools.islice(frames, request.frames), 1):
        frame, state = model.advance(state, given)
        if request.frames:
            request.progress(t / request.frames)
        yield to_pixels(frame)
    if t < least:  # of iterators; the lengths of clips are known before
        raise OptionError(f"what is drawn from ended after {t} frames, but {least} are to be drawn")


def frames_of(model: Any, request: SampleRequest) -> Iterator[Given]:
    """What each frame of a request is drawn from, of clips or of iterators of frames.

    Raises:
        OptionError: none, fewer frames than are asked for, frames of another shape, inputs of several lengths, or one
            that this model does not know.
    """
    clips: dict[str, Iterator[torch.Tensor]] = {}
    lengths: dict[str, int] = {}
    for option in model.spec.sample_options:
        name, given = option.name, request.options[option.name]
        if option.type not in ("video", "tensor") or (given is None and name in model.not_needed):
            continue
        if name not in model.frame_shapes:
            if given is not None:
                raise OptionError(f"these weights draw from {', '.join(model.frame_shapes)}; they know no {name}")
        elif given is None:
            raise OptionError(f"{model.spec.name} draws from a clip; it needs {name}=CLIP")
        elif isinstance(given, torch.Tensor):
            lengths[name] = _length(model, option, given)
            clips[name] = iter(given.to(request.device).unbind(1))
        else:  # one iterator, whose frames all samples share
            clips[name] = _checked(request, given[0], model.frame_shapes[name], name)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise OptionError(f"inputs must have equally many frames, but have: {found}")
    for name, length in lengths.items():
        if not length or (request.frames or 0) > length:
            raise OptionError(f"option '{name}' has {length} frames, but {request.frames or 1} are to be drawn")
    return _side_by_side(clips)


def _length(model: Any, option: Option, given: torch.Tensor) -> int:
    """The frames of a clip (B, T, ...)."""
    shape = model.frame_shapes[option.name]
    if option.type == "tensor" and (given.ndim != 2 + len(shape) or tuple(given.shape[2:]) != shape):
        axes = ", ".join(map(str, shape))
        raise OptionError(f"option '{option.name}' takes (N, T, {axes}), not {tuple(given.shape)}")
    return given.shape[1]


def _checked(
    request: SampleRequest, frames: Iterator[Any], shape: tuple[int, ...], name: str
) -> Iterator[torch.Tensor]:
    """The frames of an iterator, of a shape or (B, *shape) each, for all samples."""
    is_picture = len(shape) == 3
    for frame in frames:
        fits = isinstance(frame, torch.Tensor) and (frame.dtype == torch.uint8) == is_picture
        if not fits or tuple(frame.shape) not in (shape, (1, *shape), (request.n, *shape)):
            found = f"{frame.dtype} {tuple(frame.shape)}" if isinstance(frame, torch.Tensor) else type(frame).__name__
            wanted = f"{'uint8' if is_picture else 'float'} {shape}"
            raise OptionError(f"frames of option '{name}' must be {wanted}, not {found}")
        yield frame.to(request.device).expand(request.n, *shape)


def _side_by_side(clips: Mapping[str, Iterator[torch.Tensor]]) -> Iterator[Given]:
    """One frame of every input; raises OptionError where an iterator ends before another."""
    for frames in itertools.zip_longest(*clips.values()):
        given = dict(zip(clips, frames, strict=True))
        if ended := [name for name, frame in given.items() if frame is None]:
            raise OptionError(f"inputs must have equally many frames, but {', '.join(ended)} ended first")
        yield given


class Editor:
    """A clip whose inputs can be edited: a change at frame t costs the frames from t on, whose states are kept.

    Attributes:
        frames: what is drawn, (T, C, H, W), uint8, equal to `model.sample(1, frames=T, ...)[0]`.
        inputs: what it is drawn from by name, (T, C', H, W), uint8.
    """

    def __init__(self, model: Any, condition: torch.Tensor | None = None, *, seed: int = 0, **options: Any) -> None:
        """Draw a clip.

        Args:
            model: of this plugin, that draws clips.
            condition: (T, C', H, W), uint8; None of models that draw from other clips alone.
            seed: of the noise of models that have some.
            options: the others of `model.sample`, of one sample, without an axis of samples.

        Raises:
            OptionError: as of `model.sample`.
        """
        whole = {name: _one(value) for name, value in {"condition": condition, **options}.items()}
        request = sampling.request_for(model, 1, seed=seed, options=whole)
        self.model = model
        self._given = list(frames_of(model, request))
        self._states: list[Any] = [model.begin(request)]
        self._drawn: list[torch.Tensor] = []
        self._draw(0)

    @property
    def frames(self) -> torch.Tensor:
        return torch.cat(self._drawn)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        return {name: torch.cat([given[name] for given in self._given]).cpu() for name in self._given[0]}

    def edit(self, t: int, condition: torch.Tensor | None = None, **others: torch.Tensor) -> torch.Tensor:
        """Put other inputs in the place of those of frame t, or of as many frames from t on as they have.

        Args:
            t: from 0.
            condition: (C', H, W), uint8, or (K, C', H, W) of K frames; None leaves it as it is.
            others: of models that draw from several clips, or from keypoints: by name, likewise.

        Returns:
            The frames from t on, (T - t, C, H, W), uint8.

        Raises:
            OptionError: no such frame, or an input that is unknown or does not fit.
        """
        t = self._frame(t)
        changed = {**others, **({} if condition is None else {"condition": condition})}
        new = [dict(given) for given in self._given]
        for name, value in changed.items():
            old = self._given[t].get(name)
            if old is None:
                raise OptionError(f"this clip is drawn from {', '.join(self._given[t])}; it has no {name}")
            values = _frames(name, value, old)  # K ...
            if not 0 < len(values) <= len(new) - t:
                raise OptionError(f"there are {len(new) - t} frames from {t} on, but '{name}' is of {len(values)}")
            sampling.check_classes(self.model, name, value)
            for given, frame in zip(new[t:], values.to(self.model.device), strict=False):
                given[name] = frame.unsqueeze(0)
        self._given = new
        self._draw(t)
        return torch.cat(self._drawn[t:])

    def _frame(self, t: Any) -> int:
        """The number of a frame; raises OptionError for anything else."""
        try:
            if not isinstance(t, bool) and 0 <= operator.index(t) < len(self._given):
                return operator.index(t)
        except TypeError:  # no integer
            pass
        raise OptionError(f"there are frames 0 to {len(self._given) - 1}, and no frame {t!r}")

    def _draw(self, first: int) -> None:
        del self._states[first + 1 :], self._drawn[first:]
        device = self.model.device
        with sampling.evaluating(self.model), torch.no_grad(), precision("fp32", device):
            for given in self._given[first:]:
                frame, state = self.model.advance(self._states[-1], given)
                self._states.append(state)
                self._drawn.append(to_pixels(frame).cpu())


def _frames(name: str, value: Any, old: torch.Tensor) -> torch.Tensor:
    """What frames are to be drawn from, (K, ...), each like `old` (1, ...); raises OptionError for anything else."""
    is_tensor = isinstance(value, torch.Tensor)
    values = value.unsqueeze(0) if is_tensor and value.ndim == old.ndim - 1 else value
    if not is_tensor or values.ndim != old.ndim or values.shape[1:] != old.shape[1:] or value.dtype != old.dtype:
        found = f"{value.dtype} {tuple(value.shape)}" if is_tensor else type(value).__name__
        wanted = f"{str(old.dtype).removeprefix('torch.')} {tuple(old.shape[1:])}"
        raise OptionError(f"'{name}' of a frame must be {wanted}, not {found}")
    return values  # type: ignore[no-any-return]


def _one(value: Any) -> Any:
    """An option of one sample as `model.sample` takes it."""
    return value.unsqueeze(0) if isinstance(value, torch.Tensor) else value
