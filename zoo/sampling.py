"""Sampling on every path: splits into batches, makes the noise, picks autocast, calls `zoo_sample`, returns uint8.

Sample i of seed s has a generator of its own, derived from (s, i) and drawn on the CPU. So it is the same picture in
any batch, process and device (up to rounding).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch

from zoo.errors import OptionError, PluginError
from zoo.precision import check_precision
from zoo.precision import precision as computing
from zoo.request import SampleRequest
from zoo.spec import ModelSpec, Option


class Sampled(Protocol):
    """What sampling needs of a `zoo.Model`."""

    spec: ModelSpec
    image_shape: tuple[int, int, int]
    sample_batch_size: ClassVar[int]
    training: bool

    @property
    def device(self) -> torch.device: ...

    def train(self, mode: bool = True) -> Any: ...

    def draw_batch(self, request: SampleRequest) -> Any:
        """One batch, as the plugin's `zoo_sample` gives it."""


def sample(
    model: Sampled,
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
    check_precision(precision)
    size = batch_size or model.sample_batch_size
    checked = _check_options(model, n, options)
    device = model.device
    was_training = model.training
    model.train(False)
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
            with torch.no_grad(), computing(precision, device):
                images = model.draw_batch(request)
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


def _option(model: Sampled, name: str) -> Option:
    return next(option for option in model.spec.sample_options if option.name == name)


def _check_options(model: Sampled, n: int, options: dict[str, Any]) -> dict[str, Any]:
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


def _slice(model: Sampled, name: str, value: Any, rows: range) -> Any:
    """The rows of a per-sample option; one value stands for all."""
    if value is None or not _option(model, name).per_sample:
        return value
    if not isinstance(value, list | torch.Tensor):
        return [value] * len(rows)
    if len(value) == 1:
        return [value[0]] * len(rows) if isinstance(value, list) else value.expand(len(rows), *value.shape[1:])
    return value[rows.start : rows.stop]


def _check_samples(model: Sampled, images: Any, n: int) -> torch.Tensor:
    """A plugin's answer: integers with the axes that the spec promises."""
    rank = 1 + len(model.spec.data_shape)
    if not isinstance(images, torch.Tensor) or images.ndim != rank or len(images) != n:
        found = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        axes = ", ".join(("N", *model.spec.data_shape))
        raise PluginError(f"zoo_sample of '{model.spec.name}' must return ({axes}) with N={n}, not {found}")
    if images.dtype not in (torch.uint8, torch.int64):
        raise PluginError(f"zoo_sample of '{model.spec.name}' must return uint8 (or int64 codes), not {images.dtype}")
    return images
