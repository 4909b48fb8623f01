"""Sampling on every path: splits into batches, makes the noise, picks autocast, calls `zoo_sample`, returns uint8.

Sample i of seed s has a generator of its own, derived from (s, i) and drawn on the CPU. So it is the same picture in
any batch, process and device (up to rounding).
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from zoo import registry
from zoo.errors import OptionError, PluginError
from zoo.model import Model
from zoo.spec import Option

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part; neighbouring parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass
class SampleRequest:
    """One batch to be sampled.

    Attributes:
        seed: of the whole call.
        indices: which samples of that seed this batch holds.
        device: where to sample.
        options: all options of the model's spec, checked. Per-sample options are lists of `n` values, or tensors
            whose first axis is `n`.
        progress: tell it the share of this batch that is done.
    """

    seed: int
    indices: Sequence[int]
    device: torch.device
    options: dict[str, Any]
    progress: Callable[[float], None] = lambda share: None
    _generators: list[torch.Generator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._generators = [torch.Generator().manual_seed(derive_seed(self.seed, index)) for index in self.indices]

    @property
    def n(self) -> int:
        return len(self.indices)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform noise in [0, 1), (n, *shape), float32; each sample's share comes from its own generator."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators]).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal noise, (n, *shape), float32; each sample's share comes from its own generator."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators]).to(self.device)


def sample(
    model: Model,
    n: int,
    *,
    seed: int = 0,
    start: int = 0,
    batch_size: int | None = None,
    precision: str = "fp32",
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> torch.Tensor:
    """What `model.sample` does; see `zoo.Model.sample`."""
    n, seed, start = _integer("n", n, 0), _integer("seed", seed, 0), _integer("start", start, 0)
    batch_size = None if batch_size is None else _integer("batch_size", batch_size, 1)
    if precision not in PRECISIONS:
        raise OptionError(f"precision takes one of {', '.join(PRECISIONS)}, not {precision!r}")
    size = batch_size or model.sample_batch_size
    checked = _check_options(model, n, options)
    device = model.device
    autocast = torch.autocast(device.type, PRECISIONS[precision]) if PRECISIONS[precision] else nullcontext()
    was_training = model.training
    model.eval()
    batches = []
    try:
        for first in range(0, n, size):
            rows = range(first, min(first + size, n))
            request = SampleRequest(
                seed=seed,
                indices=range(start + rows.start, start + rows.stop),
                device=device,
                options={name: _slice(model, name, value, rows) for name, value in checked.items()},
                progress=_share(progress, rows, n),
            )
            with torch.no_grad(), autocast:
                images = registry.call(model.spec, "zoo_sample", model=model, request=request)
            batches.append(_check_samples(model, images, request.n).cpu())
            request.progress(1.0)
    finally:
        model.train(was_training)
    if not batches:
        return torch.zeros((0, *([0] if model.spec.is_video else []), *model.image_shape), dtype=torch.uint8)
    return torch.cat(batches)


def _integer(name: str, value: Any, least: int) -> int:
    """An integer of Python, NumPy or torch as one of Python: seeds are derived from its text."""
    try:
        if not isinstance(value, bool) and operator.index(value) >= least:
            return operator.index(value)
    except (TypeError, ValueError):
        pass
    raise OptionError(f"{name} takes an integer of at least {least}, not {value!r}")


def _share(progress: Callable[[float], None] | None, rows: range, n: int) -> Callable[[float], None]:
    return (lambda share: progress((rows.start + share * len(rows)) / n)) if progress else lambda share: None


def _option(model: Model, name: str) -> Option:
    return next(option for option in model.spec.sample_options if option.name == name)


def _check_options(model: Model, n: int, options: dict[str, Any]) -> dict[str, Any]:
    """Options checked against the spec; per-sample ones must be one value, or n of them."""
    whole = {}
    lists = {}
    for name, value in options.items():
        known = [option for option in model.spec.sample_options if option.name == name]
        if known and known[0].per_sample and value is not None and not isinstance(value, str | int | float):
            lists[name] = value
        else:
            whole[name] = value
    checked = model.spec.parse_options(whole)
    for name, value in lists.items():
        if len(value) not in (1, n):
            raise OptionError(f"option '{name}' needs one value, or one for each of the {n} samples, not {len(value)}")
        if _option(model, name).type in ("image", "tensor"):
            checked[name] = value
        else:
            values = value.tolist() if isinstance(value, torch.Tensor) else value
            checked[name] = [_option(model, name).parse(item) for item in values]
    return checked


def _slice(model: Model, name: str, value: Any, rows: range) -> Any:
    """The rows of a per-sample option; one value stands for all."""
    if value is None or not _option(model, name).per_sample:
        return value
    if not isinstance(value, list | torch.Tensor):
        return [value] * len(rows)
    if len(value) == 1:
        return [value[0]] * len(rows) if isinstance(value, list) else value.expand(len(rows), *value.shape[1:])
    return value[rows.start : rows.stop]


def _check_samples(model: Model, images: Any, n: int) -> torch.Tensor:
    """A plugin's answer: integers with the axes that the spec promises."""
    rank = 1 + len(model.spec.data_shape)
    if not isinstance(images, torch.Tensor) or images.ndim != rank or len(images) != n:
        found = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        axes = ", ".join(("N", *model.spec.data_shape))
        raise PluginError(f"zoo_sample of '{model.spec.name}' must return ({axes}) with N={n}, not {found}")
    if images.dtype not in (torch.uint8, torch.int64):
        raise PluginError(f"zoo_sample of '{model.spec.name}' must return uint8 (or int64 codes), not {images.dtype}")
    return images
