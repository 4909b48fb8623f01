"""The meta device without torch's compiler: tensors there have no values, and to draw or scale them needs none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_SCALES = {torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__, torch.Tensor.div, torch.Tensor.__truediv__}

_SAME = {torch.Tensor.normal_, torch.nn.functional.normalize}


@contextmanager
def on_meta() -> Iterator[None]:
    """New tensors are on the meta device, where the usual initialisations of weights cost nothing.

    torch has the meta device initialise by functions whose first call imports its compiler, which takes a second.
    """
    with torch.device("meta"), _Valueless():
        yield


class _Valueless(TorchFunctionMode):
    """Initialisations give back their tensor, a tensor times a number is one of its shape, and stacks are of theirs."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        first: Any = args[0] if args else named.get("tensor")
        if function is torch.stack and len(args) == 1 and not named and all(tensor.is_meta for tensor in first):
            return first[0].new_empty((len(first), *first[0].shape))
        if not isinstance(first, torch.Tensor) or not first.is_meta:
            return function(*args, **named)
        if function in _SAME or getattr(function, "__module__", "") == "torch.nn.init":
            return first
        scales = function in _SCALES and len(args) == 2 and not named and isinstance(args[1], int | float)
        return torch.empty_like(first) if scales and first.is_floating_point() else function(*args, **named)
