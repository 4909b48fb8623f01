"""Device, precision, processes and accumulation of a run; the only file that imports accelerate."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin

from zoo.device import pick_device
from zoo.errors import OptionError
from zoo.settings import Settings


def make_accelerator(settings: Settings) -> Accelerator:
    """The device, precision, processes and accumulation that the settings ask for."""
    device = pick_device(settings.device)
    if not torch.distributed.is_initialized():  # accelerate keeps the first device and precision of a process
        AcceleratorState._reset_state(reset_partial_state=True)
    try:
        return Accelerator(
            cpu=device.type == "cpu",
            mixed_precision={"fp32": "no", "tf32": "no"}.get(settings.precision, settings.precision),
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=settings.accumulate, sync_with_dataloader=False
            ),
        )
    except ValueError as error:
        raise OptionError(f"precision {settings.precision}: {error}") from None
