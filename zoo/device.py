"""Names of devices, the same everywhere: auto, cpu, cuda, cuda:N, mps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo.errors import OptionError

if TYPE_CHECKING:
    import torch

NAMES = "auto, cpu, cuda, cuda:N or mps"
PATTERN = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def check_device(name: str) -> str:
    """A device's name as it was given; raises OptionError if it is none. Whether there is such a device, `pick_device`
    finds out."""
    if not isinstance(name, str) or not PATTERN.fullmatch(name):
        raise OptionError(f"device takes one of {NAMES}, not {name!r}")
    return name


def pick_device(name: str) -> torch.device:
    """The device that a name stands for; "auto" is CUDA where there is one, else the CPU. Raises OptionError."""
    import torch

    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("this torch has no device 'mps'; take device 'cpu'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError("there is no CUDA device that torch can use; take device 'cpu'")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise OptionError(f"there is no device '{name}'; the last one is cuda:{last}")
    return device
