"""What a plugin gives the training loop: a `Trainer`, its state, and the usual schedule of its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from zoo.model import Model
from zoo.settings import Settings
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class RunView:
    """A training run as the listeners of `zoo_run_*` see it.

    Attributes:
        folder: the run folder.
        settings: of the run.
        spec, model: what is trained; `average` is the moving average that is evaluated, sampled and saved.
        seen: examples so far.
        is_main: whether this process writes.
    """

    folder: Path
    settings: Settings
    spec: ModelSpec
    model: Model
    average: Model
    seen: int
    is_main: bool


class Trainer(Protocol):
    """What `zoo_train` returns: the objective, with whatever it optimises already prepared by the accelerator."""

    def modules(self) -> dict[str, nn.Module]:
        """Everything with state to checkpoint: the model, and what is trained beside it."""

    def optimizers(self) -> dict[str, Any]:
        """Every optimizer, as `accelerator.prepare` gave it back."""

    # A trainer may also have `evaluate(batch) -> dict[str, torch.Tensor]`: scalars of a held-out batch, to be averaged,
    # of the model, which has the weights of the moving average meanwhile;
    # and `settle(average: Model) -> None`: measures anew what belongs to weights and is no average of buffers, such as
    # the statistics of batch normalisation, before the average is evaluated, sampled or kept.

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        """One update from one batch; `seen` is the number of examples before it. Returns scalars to be averaged."""


def warm_cosine(seen: int, examples: int, warm: float = 0.01, last: float = 0.02) -> float:
    """Factor of the learning rate: linear over the first `warm` share, then a half cosine down to `last`."""
    share = min(1.0, seen / examples)
    if share < warm:
        return (share + 1e-3) / (warm + 1e-3)
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm)))
