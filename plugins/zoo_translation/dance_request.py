"""What Everybody Dance Now draws from besides its figures, as a request has it: a person, pictures, keypoints.

Shapes: B batch, T frames, J joints, C channels, H, W height and width.
"""

from __future__ import annotations

import torch

from zoo.errors import OptionError
from zoo.nn.adversarial import from_pixels
from zoo.request import SampleRequest


def check_heads(joints: torch.Tensor, head: int) -> None:
    """Raise OptionError for keypoints (B, T, J, 2) of a clip that shows no head at all."""
    known = joints[:, :, head].isfinite().all(2).any(1)  # B
    if not known.all():
        clip = int(known.int().argmin())
        where = f"joint {head}, the head, in any of the {joints.shape[1]} frames of clip {clip}"
        raise OptionError(f"option 'joints' does not know {where}; fill it in, or leave the keypoints out")


def person_of(request: SampleRequest, people: int, name: str) -> torch.Tensor | None:
    """Whom to draw, (B,): the first person where none is named, None of models of one; `name` is the model's.

    Raises:
        OptionError: somebody, for a model that knows one person alone.
    """
    label = request.options["label"]
    if not people:
        if label is not None:
            raise OptionError(f"these weights of {name} know one person and take no label")
        return None
    return torch.tensor([0] * request.n if label is None else label, device=request.device)


def picture_of(request: SampleRequest, name: str, shape: tuple[int, int, int]) -> torch.Tensor | None:
    """An input picture of this name as -1 to 1, (B, C, H, W), if it is given; OptionError for another shape."""
    picture = request.options[name]
    if picture is None:
        return None
    if picture.dtype != torch.uint8 or tuple(picture.shape) != (request.n, *shape):
        axes = ", ".join(map(str, shape))
        raise OptionError(f"option '{name}' takes uint8 (N, {axes}), not {picture.dtype} {tuple(picture.shape)}")
    return from_pixels(picture.to(request.device))
