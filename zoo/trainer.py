"""What a plugin gives the training loop: a `Trainer`, its state, and the usual schedule of its learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from accelerate import Accelerator


class Trainer(Protocol):
    """What `zoo_train` returns: the objective, with whatever it optimises already prepared by the accelerator."""

    def modules(self) -> dict[str, nn.Module]:
        """Everything with state to checkpoint: the model, and what is trained beside it."""

    def optimizers(self) -> dict[str, Any]:
        """Every optimizer, as `accelerator.prepare` gave it back."""

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        """One update from one batch; `seen` is the number of examples before it. Returns scalars to be averaged."""


def warm_cosine(seen: int, examples: int, warm: float = 0.01, last: float = 0.02) -> float:
    """Factor of the learning rate: linear from 0 over the first `warm` share, then a half cosine down to `last`."""
    share = min(1.0, seen / examples)
    if share < warm:
        return (share + 1e-3) / (warm + 1e-3)
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm)))


def take_state(trainer: Trainer, accelerator: Accelerator) -> dict[str, Any]:
    """All state of a trainer: modules, optimizers, and the loss scale of fp16."""
    modules, scaler = trainer.modules().items(), accelerator.scaler
    return {
        "modules": {name: accelerator.unwrap_model(module).state_dict() for name, module in modules},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in trainer.optimizers().items()},
        "scaler": scaler.state_dict() if scaler is not None else None,
    }


def load_state(trainer: Trainer, accelerator: Accelerator, state: dict[str, Any]) -> None:
    """Undo `take_state`; raises KeyError, RuntimeError or ValueError if it is of another model."""
    for name, module in trainer.modules().items():
        accelerator.unwrap_model(module).load_state_dict(state["modules"][name])
    for name, optimizer in trainer.optimizers().items():
        optimizer.load_state_dict(state["optimizers"][name])
    if accelerator.scaler is not None and state["scaler"]:
        accelerator.scaler.load_state_dict(state["scaler"])
