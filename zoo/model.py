"""The base class of every model in the zoo: an `nn.Module` that knows its spec and config, and can sample."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from zoo import sampling
from zoo.errors import OptionError
from zoo.request import SampleRequest
from zoo.spec import ModelSpec


class Model(nn.Module):
    """A generative model. Plugins subclass it; `zoo.build` and `zoo.load` return it.

    Attributes:
        spec: what the plugin declared about this model.
        config: the constructor's keyword arguments, completed with defaults; `zoo.build(spec.name, **config)` makes
            the same architecture.
        image_shape: (C, H, W) of one picture or frame; the constructor sets it.
        levels: values of a sub-pixel; samples and `log_prob` use 0 to levels - 1.
        sample_batch_size: how many samples one call of the sampling hook makes, unless the caller says otherwise.
    """

    sample_batch_size: ClassVar[int] = 64
    image_shape: tuple[int, int, int]
    levels: int = 256
    spec: ModelSpec
    config: dict[str, Any]

    def attach(self, spec: ModelSpec, config: Mapping[str, Any], draw: Callable[[Model, SampleRequest], Any]) -> None:
        """Called once by the core after `zoo_build`; `draw` calls `zoo_sample` of the plugin that owns the model."""
        self.spec = spec
        self.config = dict(config)
        self._draw = draw

    def draw_batch(self, request: SampleRequest) -> Any:
        """One batch of samples, as the plugin gives it; `sample` is what users call."""
        return self._draw(self, request)

    def released(self) -> Model:
        """A copy as it is evaluated, sampled and published: without what only training needs, if there is such."""
        return copy.deepcopy(self)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int | None = None,
        precision: str = "fp32",
        progress: Callable[[float], None] | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Draw samples. Sample i of seed s is the same whatever the batch size or the number of processes.

        Args:
            n: how many.
            seed: together with a sample's index it determines the sample.
            start: index of the first sample; n samples from `start` continue an earlier call.
            batch_size: samples per call of the sampling hook; a matter of memory and speed alone.
            precision: "fp32", or "bf16" or "fp16" for autocast.
            progress: called with the share that is done, from 0 to 1.
            options: the model's own options, see `zoo info`.

        Returns:
            (N, C, H, W), or (N, T, C, H, W) for video, on the CPU; uint8, or int64 for models of over 256 levels.

        Raises:
            UnknownNameError: an option that the model does not have.
            OptionError: an option of the wrong type, range or shape.
        """
        return sampling.sample(
            self, n, seed=seed, start=start, batch_size=batch_size, precision=precision, progress=progress, **options
        )

    def log_prob(self, images: torch.Tensor, **conditions: Any) -> torch.Tensor:
        """Exact log-likelihood in nats, (N,); only for models that have one."""
        raise OptionError(f"{self.spec.name} has no tractable likelihood")

    @property
    def has_likelihood(self) -> bool:
        """Whether `log_prob` works."""
        return type(self).log_prob is not Model.log_prob
