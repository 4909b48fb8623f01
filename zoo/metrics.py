"""Figures with receipts: what was measured, on which pictures, how many, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from zoo.data import load
from zoo.errors import DataError, OptionError, unknown
from zoo.images import quantise
from zoo.model import Model
from zoo.pictures import Pictures
from zoo.sample_metrics import COUNT, OF_SAMPLES, Job

LIKELIHOODS = ("nats", "bits_per_dim")
METRICS = (*LIKELIHOODS, *OF_SAMPLES)
BOTH = "precision_recall"


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


def parse(names: Iterable[str]) -> list[str]:
    """Names of metrics, each once; "precision_recall" stands for both. Raises UnknownNameError."""
    both = {BOTH: ("precision", "recall")}
    found = dict.fromkeys(part for name in names for part in both.get(name, (name,)))
    for name in found:
        if name not in METRICS:
            raise unknown("metric", name, (*METRICS, BOTH))
    return list(found)


def evaluate(
    model: Model,
    *,
    data: str,
    split: str | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 128,
    count: int = COUNT,
    seed: int = 0,
    features: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure a model; a list of receipts, empty but in the first of several processes that share the samples.

    Args:
        model: with its weights.
        data: as `zoo train --data` takes it.
        split: which pictures of it; None is "test" for likelihoods, or "validation" of data without one, and "train"
            for metrics of samples, for which "train+validation" is both.
        metrics: names out of `METRICS`, or "precision_recall"; the likelihoods if None.
        limit: only the first pictures of the split; the receipt says so.
        batch_size: pictures a pass.
        count: samples, or paths, of metrics of samples; of likelihoods none are drawn.
        seed: of the samples, the paths and the subsets of KID.
        features: the network of metrics of samples, as `zoo.features.load` takes it; None is each metric's own.
        options: of `model.sample`; a list has a value for each of the samples.
        progress: called with the share that is done.

    Raises:
        UnknownNameError: a metric, data set or feature network that there is none of.
        OptionError: what the model can't do, too few pictures, or a metric that has another name with these features.
        DataError: pictures that do not fit the model.
        HubError: a feature network that is not to be had.
    """
    names = parse(metrics) if metrics is not None else list(LIKELIHOODS)
    if limit is not None and limit < 1:
        raise OptionError(f"limit takes an integer of at least 1, not {limit}")
    likelihoods = [name for name in names if name in LIKELIHOODS]
    of_samples = [name for name in names if name not in LIKELIHOODS]
    if likelihoods and not model.has_likelihood:
        hint = "" if metrics is not None else "; samples are measured by --metric fid,kid,precision_recall"
        raise OptionError(f"{model.spec.name} has no likelihood, so no {' or '.join(likelihoods)}{hint}")
    receipts: dict[str, Any] = {}
    if of_samples:
        job = Job(model, data, split or "train", limit, batch_size, count, seed, features, dict(options or {}))
        receipts |= job.measure(of_samples, progress)
        if not receipts:
            return []
    if likelihoods:
        pictures = load(data, split, model.image_shape)
        nats, n = likelihood(model, pictures, limit=limit, batch_size=batch_size, progress=progress)
        if not math.isfinite(nats):
            raise DataError(f"the likelihood of {data} is {nats}; the weights are broken")
        receipts |= {name: receipt(name, nats, model, pictures, n) for name in likelihoods}
    return [receipts[name] for name in names]


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
