"""The generators of vid2vid, coarse and fine (Wang et al., arXiv 1808.06601, section 3 and appendix A).

Each has two encoders, of labels and of past frames, whose features are added; a branch for the picture, and one for the
flow and the weight of what it moves. A foreground network of its own sees labels alone.

Shapes: B batch, K channels of labels, C channels of frames, F features, H, W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from zoo.nn.flow import warp
from zoo_translation.networks import Kind, Norm, ResidualBlock, initialise

FLOW_SCALE = 20.0  # pixels of a flow at an output of 1


@dataclass(frozen=True)
class Drawn:
    """What a generator gives.

    Attributes:
        frame: (B, C, H, W), -1 to 1.
        flow, weight: (B, 2, H, W) in pixels and (B, 1, H, W) of the hallucinated picture; None without a flow branch.
        features: of its branches before their last layers: picture, flow, foreground; the next finer one adds them.
    """

    frame: torch.Tensor
    flow: torch.Tensor | None
    weight: torch.Tensor | None
    features: tuple[torch.Tensor | None, ...]


def compose(raw: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """m * hallucinated + (1 - m) * moved (eq. 3 of the paper, with m for the weight of the hallucinated picture)."""
    return weight * raw + (1 - weight) * moved


def stem(c_in: int, c_out: int, norm: Kind) -> nn.Sequential:
    """A 7x7 convolution with reflected borders."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 7, 1, 3, padding_mode="reflect"), Norm(c_out, norm), nn.ReLU())


def down(c_in: int, norm: Kind) -> nn.Sequential:
    """Half the size, twice the features."""
    return nn.Sequential(nn.Conv2d(c_in, 2 * c_in, 3, 2, 1), Norm(2 * c_in, norm), nn.ReLU())


def up(c_in: int, norm: Kind) -> nn.Sequential:
    """Twice the size, half the features."""
    conv = nn.ConvTranspose2d(c_in, c_in // 2, 3, 2, 1, output_padding=1)
    return nn.Sequential(conv, Norm(c_in // 2, norm), nn.ReLU())


def blocks(features: int, count: int, norm: Kind) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(features, norm=norm, biases=True) for _ in range(count)))


def head(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 7, 1, 3, padding_mode="reflect")


class Generator(nn.Module):
    """One scale of vid2vid.

    Args:
        labels, past, outputs: channels of the labels of all frames it sees, of the past frames, and of a frame.
        width: features of its first layer.
        downs: halvings.
        encoder_blocks, branch_blocks: residual blocks of each encoder and of each branch.
        foreground_blocks, foreground_width: of the foreground network; None blocks without one.
        flow: whether there is a flow branch.
        flow_scale: pixels of a flow at an output of 1.
        norm: normalisation.
    """

    def __init__(
        self,
        labels: int,
        past: int,
        outputs: int,
        *,
        width: int,
        downs: int,
        encoder_blocks: int,
        branch_blocks: int,
        foreground_blocks: int | None,
        foreground_width: int,
        flow: bool,
        flow_scale: float,
        norm: Kind,
    ) -> None:
        super().__init__()
        self.flow_scale, deep = flow_scale, width << downs

        def encoder(c_in: int, first: int, count: int) -> nn.Sequential:
            halves = [down(first << i, norm) for i in range(downs)]
            return nn.Sequential(stem(c_in, first, norm), *halves, blocks(first << downs, count, norm))

        def branch(first: int, count: int) -> nn.Sequential:
            return nn.Sequential(blocks(first, count, norm), *(up(first >> i, norm) for i in range(downs)))

        self.of_labels, self.of_past = encoder(labels, width, encoder_blocks), encoder(past, width, encoder_blocks)
        self.picture, self.picture_head = branch(deep, branch_blocks), head(width, outputs)
        self.flow = branch(deep, branch_blocks) if flow else None
        self.flow_head, self.weight_head = (head(width, 2), head(width, 1)) if flow else (None, None)
        self.foreground: nn.ModuleList | None = None
        if foreground_blocks is not None:
            narrow = foreground_width
            before, after = (foreground_blocks, 0) if downs > 1 else (0, foreground_blocks)
            parts = (encoder(labels, narrow, before), branch(narrow << downs, after), head(narrow, outputs))
            self.foreground = nn.ModuleList(parts)
        initialise(self)

    def forward(
        self,
        labels: torch.Tensor,
        past: torch.Tensor,
        mask: torch.Tensor | None = None,
        coarse: tuple[torch.Tensor | None, ...] = (None, None, None),
        *,
        raw: bool = False,
    ) -> Drawn:
        """The next frame.

        Args:
            labels: (B, K, H, W).
            past: the frames before it, the last one last, (B, C L, H, W).
            mask: where the foreground is, (B, 1, H, W).
            coarse: features of the next coarser generator.
            raw: without what the flow moves, as in a first frame.
        """
        seen = self.of_labels(labels) + self.of_past(past)
        of_picture = self.picture(_plus(seen, coarse[0]))
        frame = self.picture_head(of_picture).tanh()
        flow = weight = of_flow = of_foreground = None
        if self.flow is not None and self.flow_head is not None and self.weight_head is not None:
            of_flow = self.flow(_plus(seen, coarse[1]))
            flow = self.flow_scale * self.flow_head(of_flow).float()
            weight = self.weight_head(of_flow).sigmoid()
            if not raw:
                frame = compose(frame, warp(past[:, -frame.shape[1] :].float(), flow), weight)
        if self.foreground is not None and mask is not None:
            encoder, branch, last = self.foreground
            of_foreground = branch(_plus(encoder(labels), coarse[2]))
            frame = mask * last(of_foreground).tanh() + (1 - mask) * frame
        return Drawn(frame, flow, weight, (of_picture, of_flow, of_foreground))


def _plus(x: torch.Tensor, more: torch.Tensor | None) -> torch.Tensor:
    return x if more is None else x + more
