"""Rejection of samples by a classifier's score: Razavi, van den Oord, Vinyals, VQ-VAE-2, arXiv 1906.00446, section 3.4.

A classifier that has learned the labels of the data gives each sample a probability of the class it was drawn for.
Samples with a high one are kept: they look more like their class, and are less varied. The paper keeps the best share
of many samples. Here every sample is the best of a few candidates of its own, which keeps the same share, and sample i
of a seed is still the same picture in any batch.

Shapes: n samples of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo.errors import OptionError
from zoo.metrics import features
from zoo.request import SampleRequest

Codes = list[torch.Tensor]


def check(options: dict[str, Any], classes: int) -> None:
    """Raise OptionError for options that do not go together."""
    path = options["classifier"]
    if (path is None) != (options["candidates"] == 1):
        raise OptionError("to reject samples, give both options: candidates=N, 2 or more, and classifier=FILE")
    if path is not None and not classes:
        raise OptionError("only samples of a class can be rejected by a classifier, and this model has no classes")
    if path is not None and not Path(path).expanduser().is_file():
        raise OptionError(f"option 'classifier' takes a TorchScript file, and there is none at '{path}'")


def best(
    request: SampleRequest,
    label: torch.Tensor,
    classes: int,
    draw: Callable[[SampleRequest], Codes],
    show: Callable[[Codes], torch.Tensor],
) -> Codes:
    """The codes of the candidates that a classifier is surest of, (n, h, w) each.

    Args:
        request: with options `candidates` and `classifier`.
        label: (n,), the class of each sample.
        classes: of the model.
        draw: the codes of a request.
        show: pictures (n, C, H, W), uint8, of codes.

    Raises:
        OptionError: a classifier that fails on the pictures, or tells another number of classes apart.
    """
    path, count = request.options["classifier"], request.options["candidates"]
    if path not in request.kept:
        request.kept[path] = features.load(path, request.device)
    chosen: Codes = []
    highest = torch.empty(0)
    for number in range(count):
        part = request.child(f"candidate {number}") if number else request
        codes = draw(replace(part, progress=lambda done, first=number: request.progress((first + done) / count)))
        logits = request.kept[path].of_pictures(show(codes))
        if logits.shape[1] != classes:
            raise OptionError(f"classifier '{path}' knows {logits.shape[1]} classes, but this model has {classes}")
        score = logits.log_softmax(1).gather(1, label.cpu()[:, None])[:, 0]
        if not number:
            chosen, highest = codes, score
            continue
        better = score > highest
        highest = torch.where(better, score, highest)
        at = better.to(request.device)[:, None, None]
        chosen = [torch.where(at, new, old) for new, old in zip(codes, chosen, strict=True)]
    return chosen
