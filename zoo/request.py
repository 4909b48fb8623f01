"""What a sampler gets: which samples, their noise, their options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zoo.seeds import derive_seed


@dataclass
class SampleRequest:
    """One batch to be sampled.

    Attributes:
        seed: of the whole call.
        indices: which samples of that seed this batch holds.
        device: where to sample.
        options: all options of the model's spec, checked. Per-sample options are lists of `n` values, or tensors
            whose first axis is `n`.
        progress: tell it the share of this batch that is done.
    """

    seed: int
    indices: Sequence[int]
    device: torch.device
    options: dict[str, Any]
    progress: Callable[[float], None] = lambda share: None
    _generators: list[torch.Generator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._generators = [torch.Generator().manual_seed(derive_seed(self.seed, index)) for index in self.indices]

    @property
    def n(self) -> int:
        return len(self.indices)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform noise in [0, 1), (n, *shape), float32; each sample's share comes from its own generator."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators]).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal noise, (n, *shape), float32; each sample's share comes from its own generator."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators]).to(self.device)
