"""The state of a run, for checkpoints: its trainer's, and the moving average of what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from zoo.model import Model
from zoo.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator


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


def channels_last(model: Model, device: torch.device) -> None:
    """Lay the weights of convolutions out as the fast kernels take them; their values stay."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if device.type == "cuda" or model.channels_last:
        for weight in (p for p in model.parameters() if p.dim() in formats):
            weight.data = weight.data.contiguous(memory_format=formats[weight.dim()])


class MovingAverage:
    """The moving average of a model's weights, which is evaluated, sampled and saved: `model`, in evaluation mode.

    Args:
        source: what is trained; its `released` form is averaged.
        half_life: examples after which the average has forgotten half; 0 follows the source at once.
        batch_size: examples of an update.
    """

    def __init__(self, source: Model, device: torch.device, *, half_life: int, batch_size: int) -> None:
        self.source, self.half_life, self.batch_size = source, half_life, batch_size
        self.model = source.released().to(device).eval().requires_grad_(False)
        self._constant = source.constant_buffers

    @torch.no_grad()
    def update(self, seen: int) -> None:
        """Take in the weights after `seen` examples; in the beginning the average forgets faster."""
        steps = seen / self.batch_size
        keep = min(0.5 ** (self.batch_size / self.half_life), steps / (steps + 10)) if self.half_life else 0.0
        theirs = dict(self.source.named_parameters()) | dict(self.source.named_buffers())
        ours = dict(self.model.named_parameters())  # perhaps fewer: a GAN's discriminator is not averaged
        torch._foreach_lerp_([p.detach() for p in ours.values()], [theirs[name].detach() for name in ours], 1 - keep)
        for name, buffer in self.model.named_buffers():
            if name not in self._constant:
                buffer.copy_(theirs[name])


@contextmanager
def averaged(source: Model, average: Model) -> Iterator[None]:
    """What is trained, with the weights and buffers of its average while the block runs, for trainers to measure; what
    the average has not, such as a discriminator, stays. The average has the others meanwhile."""
    theirs = dict(source.named_parameters()) | dict(source.named_buffers())
    ours = dict(average.named_parameters()) | dict(average.named_buffers())

    def swap() -> None:
        for name, tensor in ours.items():
            tensor.data, theirs[name].data = theirs[name].data, tensor.data

    swap()
    try:
        yield
    finally:
        swap()
