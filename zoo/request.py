"""What a sampler gets: which samples, their noise, their options."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from zoo.seeds import derive_seed


def for_batches(options: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The options of a call for each of its batches: an iterator of frames is read once and goes to all of them."""
    copies = {name: itertools.tee(value, count) for name, value in options.items() if isinstance(value, Iterator)}
    return [{**options, **{name: copy[i] for name, copy in copies.items()}} for i in range(count)]


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
        frames: of clips: how many to draw; None is as many as the options give, or without end in `model.stream`.
        path: names of the parts that this request is for, see `child`.
        kept: shared by all batches of one call: what a sampler prepares once, such as a CUDA graph.
    """

    seed: int
    indices: Sequence[int]
    device: torch.device
    options: dict[str, Any]
    progress: Callable[[float], None] = lambda share: None
    frames: int | None = None
    path: tuple[str, ...] = ()
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    _generators: list[torch.Generator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        seeds = [derive_seed(self.seed, index, *self.path) for index in self.indices]
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def child(self, name: str) -> SampleRequest:
        """The same samples with a stream of noise of their own, for one part of a model, or one frame of a clip.

        What a part draws then depends neither on what other parts draw nor on the order in which they do.
        """
        return replace(self, path=(*self.path, name))

    @property
    def n(self) -> int:
        return len(self.indices)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform noise in [0, 1), `(n, *shape)`, float32; each sample's share comes from its own generator."""
        return self._drawn(torch.rand, shape)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal noise, `(n, *shape)`, float32; each sample's share comes from its own generator."""
        return self._drawn(torch.randn, shape)

    def _drawn(self, source: Callable[..., torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
        """On the CPU and in float32, whatever torch's defaults are."""
        parts = [source(shape, generator=g, dtype=torch.float32, device="cpu") for g in self._generators]
        return torch.stack(parts).to(self.device)
