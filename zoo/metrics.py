"""Figures with receipts: what was measured, on which pictures, how many, and how."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from zoo.data import load
from zoo.errors import DataError, OptionError, unknown
from zoo.images import quantise
from zoo.model import Model
from zoo.pictures import Pictures

METRICS = ("nats", "bits_per_dim")


def likelihood(
    model: Model,
    pictures: Pictures,
    *,
    limit: int | None = None,
    batch_size: int = 128,
    progress: Callable[[float], None] | None = None,
) -> tuple[float, int]:
    """Mean negative log-likelihood in nats a picture, and how many pictures it is over."""
    n = len(pictures) if limit is None else min(limit, len(pictures))
    total, done = 0.0, 0
    with torch.no_grad():
        for batch in pictures.batches(batch_size, n):
            images = quantise(batch["image"], model.levels)
            conditions = {name: batch[name] for name in _conditions(model, pictures)}
            total -= float(model.log_prob(images, **conditions).double().sum())
            done += len(images)
            if progress:
                progress(done / n)
    return total / n, n


def _conditions(model: Model, pictures: Pictures) -> list[str]:
    """What the data gives of that which the model is conditioned on."""
    return [name for name in getattr(model, "condition_names", ()) if name in pictures.given]


def in_unit(nats: float, metric: str, image_shape: tuple[int, ...]) -> float:
    """Nats a picture in the unit of a metric: "nats", or "bits_per_dim" = nats / (C H W ln 2)."""
    return nats if metric == "nats" else nats / (math.prod(image_shape) * math.log(2))


def evaluate(
    model: Model,
    *,
    data: str,
    split: str = "test",
    metrics: list[str] | None = None,
    limit: int | None = None,
    batch_size: int = 128,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure a model; a list of receipts.

    Args:
        model: with its weights.
        data: as `zoo train --data` takes it.
        split: which pictures of it.
        metrics: names out of `METRICS`; all that apply if None.
        limit: only the first pictures of the split; the receipt says so.
        batch_size: pictures a pass.
        progress: called with the share that is done.

    Raises:
        UnknownNameError: a metric that there is none of.
        OptionError: a likelihood of a model that has none.
        DataError: pictures that do not fit the model.
    """
    for name in metrics or []:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    if limit is not None and limit < 1:
        raise OptionError(f"limit takes an integer of at least 1, not {limit}")
    if not model.has_likelihood:
        raise OptionError(f"{model.spec.name} has no likelihood, so no {' or '.join(metrics or METRICS)}")
    pictures = load(data, split, model.image_shape)
    nats, count = likelihood(model, pictures, limit=limit, batch_size=batch_size, progress=progress)
    if not math.isfinite(nats):
        raise DataError(f"the likelihood of {data} is {nats}; the weights are broken")
    return [receipt(name, nats, model, pictures, count) for name in metrics or METRICS]


def receipt(metric: str, nats: float, model: Model, pictures: Pictures, count: int) -> dict[str, Any]:
    """One likelihood figure with all that it depends on; figures compare only where the rest is equal."""
    whole = "" if count == len(pictures) else f"[:{count}]"
    _, height, width = pictures.image_shape
    return {
        "name": metric,
        "value": round(in_unit(nats, metric, model.image_shape), 4),
        "data": pictures.source.name,
        "revision": pictures.source.revision,
        "split": pictures.split + whole,
        "count": count,
        "levels": model.levels,
        **({"given": ", ".join(given)} if (given := _conditions(model, pictures)) else {}),
        **({"resizer": f"box to {width}x{height}"} if pictures.source.spec.resize else {}),
    }
