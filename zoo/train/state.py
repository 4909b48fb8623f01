"""The state of a trainer, for checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
