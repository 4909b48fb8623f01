"""Measuring a model: metrics by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zoo.data.tables import load
from zoo.errors import DataError, OptionError, unknown
from zoo.metrics.likelihoods import LIKELIHOODS, likelihood, receipt
from zoo.metrics.samples import CONTROLS, COUNT, OF_SAMPLES, Job
from zoo.model import Model

METRICS = (*LIKELIHOODS, *OF_SAMPLES)
BOTH = "precision_recall"


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
    resize: bool = False,
    count: int = COUNT,
    seed: int = 0,
    features: str | None = None,
    options: Mapping[str, Any] | None = None,
    control: str | None = None,
    precision: str = "fp32",
    columns: Mapping[str, str] | None = None,
    pairs: str | None = None,
    stride: int = 1,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure a model; a list of receipts, empty but in the first of several processes that share the samples.

    Args:
        model: with its weights.
        data: as `zoo train --data` takes it.
        split: which pictures of it; None is "test" for likelihoods, or "validation" of data without one, and "train"
            for metrics of samples, for which "train+validation" is both.
        metrics: names out of `METRICS`, or "precision_recall"; the likelihoods if None.
        limit: only that many pictures of the split, chosen by the seed; the receipt says so.
        batch_size: pictures a pass.
        resize: bring pictures of other sizes to the model's; receipts say so.
        count: samples, or paths, of metrics of samples; of likelihoods none are drawn.
        seed: of the pictures of a limit, the samples, the paths and the subsets of KID.
        features: the network of metrics of samples, as `zoo.metrics.features.load` takes it; None is each metric's own.
        options: of `model.sample`; a list has a value for each of the samples.
        control: what metrics of samples give for real examples in place of samples: "real" compares two halves of them,
            "shuffled" one half whose frames are in an order of chance with the other, and "reconstructed" the pictures
            with what the model's encoder keeps of them.
        precision: that samples are drawn in, as of `model.sample`; features and likelihoods are computed in "fp32".
        columns, pairs, stride: as of `zoo.data.load`; of likelihoods too.
        progress: called with the share that is done.

    Raises:
        UnknownNameError: a metric, data set or feature network that there is none of.
        OptionError: what the model can't do, too few pictures, or a metric that has another name with these features.
        DataError: pictures that do not fit the model.
        HubError: a feature network that is not to be had.
    """
    names = parse(metrics) if metrics is not None else list(LIKELIHOODS)
    for name, value, least in (
        ("limit", limit, 1),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("count", count, 1),
    ):
        if value is not None and value < least:
            raise OptionError(f"{name} takes an integer of at least {least}, not {value}")
    likelihoods = [name for name in names if name in LIKELIHOODS]
    of_samples = [name for name in names if name not in LIKELIHOODS]
    if likelihoods and precision != "fp32":
        raise OptionError(f"{' and '.join(likelihoods)} are computed in fp32; precision is for metrics of samples")
    if likelihoods and not model.has_likelihood:
        hint = "" if metrics is not None else "; samples are measured by --metric fid,kid,precision_recall"
        raise OptionError(f"{model.spec.name} has no likelihood, so no {' or '.join(likelihoods)}{hint}")
    for name, given in (("control", control), ("options", options)):
        if given and not of_samples:
            raise OptionError(f"{name} is for metrics of samples, and {' and '.join(likelihoods)} are none")
    reading: dict[str, Any] = {"columns": columns, "pairs": pairs, "stride": stride}
    receipts: dict[str, Any] = {}
    if of_samples:
        if control not in (None, *CONTROLS):
            raise OptionError(f"control takes one of {', '.join(CONTROLS)}, not {control!r}")
        drawing = (resize, count, seed, features, dict(options or {}), control, precision)
        job = Job(model, data, split or "train", limit, batch_size, *drawing, reading)
        receipts |= job.measure(of_samples, progress)
        if not receipts:
            return []
    if likelihoods:
        pictures = load(data, split, model.batch_shapes, resize=resize, who=model.spec.name, **reading)
        nats, n = likelihood(model, pictures, limit=limit, seed=seed, batch_size=batch_size, progress=progress)
        if not math.isfinite(nats):
            raise DataError(f"the likelihood of {data} is {nats}; the weights are broken")
        receipts |= {name: receipt(name, nats, model, pictures, n, seed, reading) for name in likelihoods}
    return [receipts[name] for name in names]
