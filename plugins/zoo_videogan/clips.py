"""What the GANs of clips have in common: layers, sizes, and clips of a fixed length.

Shapes: B batch, C colour channels, T frames, H, W height and width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import AdversarialModel, to_pixels
from zoo.request import SampleRequest

SLOPE = 0.2  # of leaky ReLUs, as in DCGAN
GAIN_DEVIATION = 0.02  # of batch norm's gains at first, as in DCGAN


def levels_of(resolution: int) -> int:
    """How often 4x4 is doubled; raises ValueError unless the resolution is a power of two from 8 on."""
    levels = resolution.bit_length() - 3
    if levels < 1 or 4 << levels != resolution:
        raise ValueError(f"resolution must be a power of two of at least 8, not {resolution}")
    return levels


def check_sizes(channels: int, **sizes: int) -> None:
    """Raise ValueError for channels that no picture has, or sizes below 1."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, not {size}")


def up(c_in: int, c_out: int, *, dims: int, first: Sequence[int] | None = None, eps: float = 1e-5) -> nn.Sequential:
    """A transposed convolution that doubles all sides, or with `first` makes that shape from 1x1, batch norm, ReLU."""
    conv, norm = ((nn.ConvTranspose2d, nn.BatchNorm2d), (nn.ConvTranspose3d, nn.BatchNorm3d))[dims - 2]
    where = (tuple(first), 1, 0) if first else (4, 2, 1)
    return nn.Sequential(conv(c_in, c_out, *where, bias=False), norm(c_out, eps=eps), nn.ReLU())


def initialise(module: nn.Module, deviation: float) -> None:
    """Weights of convolutions and linear layers N(0, deviation), gains N(1, 0.02), no offsets (DCGAN)."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(layer.weight, 1.0, GAIN_DEVIATION)
            nn.init.zeros_(layer.bias)


def labels_of(
    request: SampleRequest, count: int, *, stream: str = "label", what: str = "classes"
) -> torch.Tensor | None:
    """Classes (B,): those of option `label`, or for each sample one by its noise; None of a model without any.

    Args:
        request: what is asked for.
        count: classes of the model.
        stream: name of the noise that chooses.
        what: they are, for errors.

    Raises:
        OptionError: a class, of a model without any.
    """
    given = request.options.get("label")
    if not count:
        if given is not None:
            raise OptionError(f"option 'label': this model knows no {what}")
        return None
    if given is None:
        return (request.child(stream).uniform() * count).long().clamp(max=count - 1)
    return torch.as_tensor(given, device=request.device)


class FixedLength(AdversarialModel):
    """A model whose clips have one length: its generator makes all frames at once."""

    sample_batch_size = 16

    def cut(self, clips: torch.Tensor, request: SampleRequest) -> torch.Tensor:
        """Clips (B, C, T, H, W) of -1 to 1 as bytes (B, T', C, H, W), the first T' frames if fewer are asked for."""
        return to_pixels(clips[:, :, : request.frames].transpose(1, 2))

    def check_frames(self, request: SampleRequest) -> None:
        """Raise OptionError for more frames than the model draws."""
        if request.frames is not None and request.frames > self.frames:
            raise OptionError(f"{self.spec.name} draws clips of {self.frames} frames, not of {request.frames}")
