"""Clips of Everybody Dance Now, frame by frame from the frame before.

A clip can go on from any of its frames: with option `previous` the rest of it is drawn anew, where its figures were
edited. It goes on from that frame in bytes, not from the numbers that were rounded to them, so levels may differ.

Shapes: B batch, T frames, C channels, H, W height and width, J joints.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from zoo.errors import OptionError
from zoo.nn.adversarial import from_pixels, to_pixels
from zoo.request import SampleRequest
from zoo_translation.everybody_dance_now import EverybodyDanceNow
from zoo_translation.sequence import conditions_of


def sample(model: EverybodyDanceNow, request: SampleRequest) -> Iterator[torch.Tensor]:
    """Frames, uint8 (B, C, H, W), as many as there are figures or as are asked for; holds one at a time.

    Raises:
        OptionError: no figures, fewer than asked for, or an input of another shape.
    """
    figures = conditions_of(model, request, model.condition_shape, what="figures")
    joints = _joints(model, request)
    label = _label(model, request)
    reference = _picture(model, request, "reference", wanted=model.reference)
    previous = _picture(model, request, "previous", wanted=False)
    return _frames(model, request, figures, joints, label, reference, previous)


def _frames(
    model: EverybodyDanceNow,
    request: SampleRequest,
    figures: Iterator[torch.Tensor],
    joints: torch.Tensor | None,
    label: torch.Tensor | None,
    reference: torch.Tensor | None,
    previous: torch.Tensor | None,
) -> Iterator[torch.Tensor]:
    if previous is None:
        previous = torch.zeros(request.n, *model.image_shape, device=request.device)
    for t, figure in enumerate(itertools.islice(figures, request.frames)):
        condition = model.encode(figure.unsqueeze(1), label, reference)[:, 0]  # B K H W
        places = None if joints is None else joints[:, min(t, joints.shape[1] - 1)]
        frame = model.draw(condition, previous, label)
        previous = model.refine(condition, frame, model.corners(places, request.n), label)
        if request.frames:
            request.progress((t + 1) / request.frames)
        yield to_pixels(previous)


def _joints(model: EverybodyDanceNow, request: SampleRequest) -> torch.Tensor | None:
    """(B, T, J, 2)"""
    joints = request.options["joints"]
    if joints is None:
        return None
    if not isinstance(joints, torch.Tensor) or joints.ndim != 4 or joints.shape[2:] != (model.joints, 2):
        found = tuple(joints.shape) if isinstance(joints, torch.Tensor) else type(joints).__name__
        raise OptionError(f"option 'joints' takes (N, T, {model.joints}, 2), not {found}")
    return joints


def _label(model: EverybodyDanceNow, request: SampleRequest) -> torch.Tensor | None:
    """(B,); the first person where none is named."""
    label = request.options["label"]
    if not model.people:
        if label is not None:
            raise OptionError(f"these weights of {model.spec.name} know one person and take no label")
        return None
    values = [0] * request.n if label is None else label
    if any(value >= model.people for value in values):
        raise OptionError(f"option 'label' takes 0 to {model.people - 1}, not {max(values)}")
    return torch.tensor(values, device=request.device)


def _picture(model: EverybodyDanceNow, request: SampleRequest, name: str, *, wanted: bool) -> torch.Tensor | None:
    """An input picture as -1 to 1, (B, C, H, W)."""
    picture = request.options[name]
    if picture is None:
        if wanted:
            raise OptionError(f"these weights draw whoever a picture shows; they need {name}=PICTURE")
        return None
    if picture.dtype != torch.uint8 or tuple(picture.shape) != (request.n, *model.image_shape):
        wanted_shape = ", ".join(map(str, model.image_shape))
        raise OptionError(
            f"option '{name}' takes uint8 (N, {wanted_shape}), not {picture.dtype} {tuple(picture.shape)}"
        )
    return from_pixels(picture.to(request.device))
