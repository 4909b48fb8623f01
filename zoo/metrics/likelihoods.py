"""Figures with receipts: what was measured, on which pictures, how many, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from zoo.data.examples import Examples
from zoo.media.images import quantise
from zoo.metrics.choice import as_read, choose, named
from zoo.model import Model

LIKELIHOODS = ("nats", "bits_per_dim")


def likelihood(
    model: Model,
    pictures: Examples,
    *,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    progress: Callable[[float], None] | None = None,
) -> tuple[float, int]:
    """Mean negative log-likelihood in nats a picture, and how many pictures it is over; a limit chooses by the seed."""
    chosen = choose(len(pictures), limit, seed)
    n = len(chosen)
    total, done = 0.0, 0
    with torch.no_grad():
        for first in range(0, n, batch_size):
            batch = pictures.batch(chosen[first : first + batch_size])
            images = quantise(batch["image"], model.levels)
            conditions = {name: batch[name] for name in conditions_of(model, pictures)}
            total -= float(model.log_prob(images, **conditions).double().sum())
            done += len(images)
            if progress:
                progress(done / n)
    return total / n, n


def conditions_of(model: Model, pictures: Examples) -> list[str]:
    """What the data gives of that which the model is conditioned on."""
    return [name for name in model.condition_names if name in pictures.given]


def in_unit(nats: float, metric: str, image_shape: tuple[int, ...]) -> float:
    """Nats a picture in the unit of a metric: "nats", or "bits_per_dim" = nats / (C H W ln 2)."""
    return nats if metric == "nats" else nats / (math.prod(image_shape) * math.log(2))


def receipt(
    metric: str,
    nats: float,
    model: Model,
    pictures: Examples,
    count: int,
    seed: int = 0,
    reading: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """One likelihood figure with all that it depends on; figures compare only where the rest is equal."""
    _, height, width = model.image_shape
    return {
        "name": metric,
        "value": round(in_unit(nats, metric, model.image_shape), 4),
        "data": pictures.source.name,
        "revision": pictures.source.revision,
        "split": named(pictures.split, count, len(pictures), seed),
        "count": count,
        "levels": model.levels,
        **({"given": ", ".join(given)} if (given := conditions_of(model, pictures)) else {}),
        **as_read(reading),
        **({"resizer": resizer} if (resizer := pictures.source.resizer(width, height)) else {}),
    }
