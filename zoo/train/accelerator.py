"""Device, precision, processes and accumulation of a run; the only file that imports accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin

from zoo.device import pick_device
from zoo.errors import OptionError
from zoo.settings import Settings

CHOSEN = "ACCELERATE_TORCH_DEVICE"  # by which accelerate takes one certain device


def make_accelerator(settings: Settings) -> Accelerator:
    """The device, precision, processes and accumulation that the settings ask for."""
    # `accelerate launch --cpu` of several processes names their meeting place, and starts one of them.
    if "ACCELERATE_USE_CPU" in os.environ and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        how = "torchrun --nproc-per-node N -m zoo.cli train ..."
        raise OptionError(f"accelerate launch starts one process on CPUs, however many it is asked for; take {how}")
    device = pick_device(settings.device)
    if not torch.distributed.is_initialized():  # accelerate keeps the first device and precision of a process
        AcceleratorState._reset_state(reset_partial_state=True)
    try:
        with _chosen(device):
            return Accelerator(
                cpu=device.type == "cpu",
                mixed_precision={"fp32": "no", "tf32": "no"}.get(settings.precision, settings.precision),
                gradient_accumulation_plugin=GradientAccumulationPlugin(
                    num_steps=settings.accumulate, sync_with_dataloader=False
                ),
            )
    except ValueError as error:
        about = f"precision {settings.precision}: " if "precision" in str(error) else ""
        raise OptionError(f"{about}{error}") from None


@contextmanager
def _chosen(device: torch.device) -> Iterator[None]:
    """Let accelerate take cuda:N where N is said; by itself it takes the first, or in a launch one a process."""
    if ":" not in str(device):
        yield
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OptionError(f"device '{device}' is for one process; in a launch of several, take cuda")
    before = os.environ.get(CHOSEN)
    os.environ[CHOSEN] = str(device)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CHOSEN]
        else:
            os.environ[CHOSEN] = before
