"""How weights came to be, for their config.json and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.trainer import RunView

if TYPE_CHECKING:
    from accelerate import Accelerator

KEPT = ("preset", "overrides", "batch_size", "seed", "precision", "ema_images")


def receipt(
    run: RunView,
    accelerator: Accelerator,
    minutes: float,
    recipe: dict[str, Any],
    licence: str | None,
    begun_with: dict[str, Any] | None,
) -> dict[str, Any]:
    """What a run was, from its settings, the device, the licence of its data, and the weights it began with."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "examples": run.seen,
        "minutes": round(minutes, 1),
        "device": name,
        "processes": accelerator.num_processes,
        "torch": torch.__version__,
        "data_licence": licence,
        "recipe": recipe,
        **({"begun_with": begun_with} if begun_with else {}),
        **({"resize": True} if run.settings.resize else {}),
        **{name: getattr(run.settings, name) for name in KEPT},
    }
