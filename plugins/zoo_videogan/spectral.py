"""Layers whose weights are divided by their largest singular value (Miyato et al., arXiv 1802.05957).

One step of the power iteration for each pass in training, as in BigGAN (Brock et al., arXiv 1809.11096). A weight is
normalised once for a whole clip: `normalised` gives it to whoever applies it many times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.precision import float32


class SpectralNorm(nn.Module):
    """What the layers share: the weight (out, ...), and the singular vectors that belong to its largest value."""

    weight: nn.Parameter
    u: torch.Tensor
    v: torch.Tensor
    _kept: tuple[Any, torch.Tensor] | None = None

    def begin(self) -> None:
        """Orthogonal weights, whose singular values are all 1, and singular vectors to begin with."""
        nn.init.orthogonal_(self.weight)
        matrix = self.weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(matrix.shape[1]), dim=0))

    def normalised(self) -> torch.Tensor:
        """The weight by its largest singular value; kept for as long as nobody can change either."""
        if not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()):
            state = (self.weight._version, self.u._version, self.weight.data_ptr(), self.u.data_ptr())
            if self._kept is None or self._kept[0] != state:
                self._kept = (state, self._normalised())
            return self._kept[1]
        self._kept = None
        return self._normalised()

    def _normalised(self) -> torch.Tensor:
        matrix = self.weight.flatten(1)
        if self.training:
            self.iterate(1)
        with float32(matrix.device):
            return self.weight / (self.u @ (matrix @ self.v))

    @torch.no_grad()
    def iterate(self, steps: int) -> None:
        """Bring the singular vectors nearer to those of the weight, by the power iteration."""
        matrix = self.weight.flatten(1)
        with float32(matrix.device):
            for _ in range(steps):
                self.v = F.normalize(matrix.T @ self.u, dim=0)
                self.u = F.normalize(matrix @ self.v, dim=0)


class Linear(SpectralNorm, nn.Linear):
    """A linear layer."""

    def __init__(self, c_in: int, c_out: int, bias: bool = True) -> None:
        nn.Linear.__init__(self, c_in, c_out, bias)
        self.begin()
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.normalised(), self.bias)


class Conv2d(SpectralNorm, nn.Conv2d):
    """A convolution of pictures that keeps their size."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, bias: bool = True) -> None:
        nn.Conv2d.__init__(self, c_in, c_out, kernel, padding=kernel // 2, bias=bias)
        self.begin()
        if bias:
            nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.normalised(), self.bias, padding=self.padding)  # type: ignore[arg-type]


class Conv3d(SpectralNorm, nn.Conv3d):
    """A convolution of clips that keeps their size."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3) -> None:
        nn.Conv3d.__init__(self, c_in, c_out, kernel, padding=kernel // 2)
        self.begin()
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv3d(x, self.normalised(), self.bias, padding=self.padding)  # type: ignore[arg-type]


class Embedding(SpectralNorm, nn.Embedding):
    """A table of vectors, one for each class."""

    def __init__(self, classes: int, size: int) -> None:
        nn.Embedding.__init__(self, classes, size)
        self.begin()

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        return F.embedding(label, self.normalised())
