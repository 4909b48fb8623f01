"""In which precision to compute: one decision for sampling, `log_prob`, evaluation, checks and training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from zoo.device import pick_device
from zoo.errors import OptionError, told
from zoo.settings import AUTO, PRECISIONS

_REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(name: str) -> str:
    """`name` if it is a precision; raises OptionError."""
    if not isinstance(name, str) or name not in PRECISIONS:
        raise OptionError(f"precision takes one of {', '.join(PRECISIONS)}, not {told(name)}")
    return name


def fast_precision(name: str, device: str) -> str:
    """The precision that a device computes fastest in, for "auto"; any other name stays.

    Args:
        name: a precision, or "auto".
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Processors with AMX or AVX-512 instructions for bfloat16, and CUDA devices from Ampere on, take half the time or
    less for the products of large layers in bf16.
    """
    if name != AUTO:
        return name
    where = pick_device(device)
    if where.type == "cuda":
        fast = torch.cuda.get_device_capability(where) >= (8, 0)
    else:
        can: Any = getattr(torch.cpu, "get_capabilities", dict)() if where.type == "cpu" else {}
        fast = bool(can.get("amx_bf16") or can.get("avx512_bf16"))
    return "bf16" if fast else "fp32"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether products and convolutions of a CUDA device may be in TF32, for as long as the block runs."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = allowed
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was


@contextmanager
def float32(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TF32 while the block runs: for what papers keep in full precision."""
    autocast = nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
    with tf32(False), autocast:
        yield


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute in this precision while the block runs.

    "fp32" means no TF32 on CUDA either; "tf32" allows it; "bf16" and "fp16" are autocast.

    Raises:
        OptionError: no such precision, or one that the device can't do.
    """
    check_precision(name)
    if name == "tf32" and device.type != "cuda":
        raise OptionError(f"precision 'tf32' is for CUDA devices, not for {device.type}; take fp32")
    autocast = torch.autocast(device.type, _REDUCED[name]) if name in _REDUCED else nullcontext()
    with tf32(name != "fp32"), autocast:
        yield
