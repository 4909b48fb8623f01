"""From a picture back to its w (StyleGAN2, arXiv 1912.04958, section 5 and appendix D).

Shapes: N pictures, C colour channels, H, W height and width, D size of w.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.adversarial import from_pixels
from zoo.seeds import derive_seed
from zoo_stylegan.gan import check_labels
from zoo_stylegan.styles import StyleBased

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

RATE, RAMP_UP, RAMP_DOWN = 0.1, 0.05, 0.25  # learning rate, and the shares of the steps in which it rises and falls
JITTER, JITTER_SHARE = 0.05, 0.75  # noise on w in parts of its deviation, and the share of the steps that have any
NOISE_WEIGHT = 1e5
MEAN_COUNT = 10_000  # latents that the mean and the deviation of w are measured on
SMALLEST = 8  # maps of noise are compared with themselves down to this size


@dataclass(frozen=True)
class Projection:
    """What was found.

    Attributes:
        w: (N, D).
        noise: of each layer, (N, 1, H, W).
        images: what the model draws from these, (N, C, H, W), float32, about -1 to 1.
        distance: of the images from the pictures, (N,).
    """

    w: torch.Tensor
    noise: list[torch.Tensor]
    images: torch.Tensor
    distance: torch.Tensor


def project(
    model: StyleBased,
    pictures: torch.Tensor,
    *,
    label: torch.Tensor | None = None,
    steps: int = 1000,
    seed: int = 0,
    distance: Distance | None = None,
    progress: Callable[[float], None] | None = None,
) -> Projection:
    """Find w and noise with which a model draws given pictures, each on its own.

    Adam on w and on the maps of noise. w starts at the mean and is jittered, less and less; noise is kept noise by a
    penalty on its autocorrelation at all scales, and by normalisation after each step.

    Args:
        model: with its weights.
        pictures: (N, C, H, W), uint8, of the model's size.
        label: classes (N,), for a model that has them; they decide where w starts.
        steps: of optimisation; the paper takes 1000.
        seed: of noise and jitter.
        distance: of float pictures (N, C, H, W) from others, (N,), differentiable. The paper takes LPIPS with VGG-16;
            without one it is `pyramid_distance`, which knows nothing of perception.
        progress: called after each step with the share that is done.

    Raises:
        OptionError: pictures of another size or type, labels that the model has not, or no steps.
    """
    if pictures.dtype != torch.uint8 or pictures.shape[1:] != model.image_shape or not len(pictures):
        raise OptionError(
            f"projection takes pictures (N, {', '.join(map(str, model.image_shape))}) of uint8, not "
            f"{tuple(pictures.shape)} of {str(pictures.dtype).removeprefix('torch.')}"
        )
    if steps < 1:
        raise OptionError(f"steps takes an integer of at least 1, not {steps}")
    if label is not None:
        if label.shape != pictures.shape[:1] or label.is_floating_point():
            raise OptionError(
                f"projection takes labels ({len(pictures)},) of integers, one for each picture, not "
                f"{tuple(label.shape)} of {str(label.dtype).removeprefix('torch.')}"
            )
        label = check_labels(label, model.classes)
    elif model.classes:
        raise OptionError(f"this model has {model.classes} classes; projection needs the label of each picture")
    measure, target = distance or pyramid_distance, from_pixels(pictures.to(model.device))
    start, deviation = _statistics(model, label, len(target), seed)
    draws = [torch.Generator().manual_seed(derive_seed(seed, "project", i)) for i in range(len(target))]

    def normal(*shape: int) -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=draw) for draw in draws]).to(model.device)

    noise = [normal(1, size, size).requires_grad_() for size in model.noise_sizes]
    w = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([w, *noise], betas=(0.9, 0.999))
    for step in range(steps):
        share = step / steps
        optimizer.param_groups[0]["lr"] = RATE * _schedule(share)
        jitter = JITTER * deviation * max(1 - share / JITTER_SHARE, 0) ** 2
        images = model.pictures(w + jitter * normal(w.shape[1]), noise)
        # A sum, so that no picture has a part in another's gradient.
        loss = measure(images, target).sum()
        for map_ in noise:
            loss = loss + NOISE_WEIGHT * _autocorrelation(map_).sum()
        w.grad, *gradients = torch.autograd.grad(loss, [w, *noise])
        for map_, gradient in zip(noise, gradients, strict=True):
            map_.grad = gradient
        optimizer.step()
        with torch.no_grad():
            for map_ in noise:
                map_.sub_(map_.mean((1, 2, 3), keepdim=True))
                map_.mul_((map_.square().mean((1, 2, 3), keepdim=True) + 1e-8).rsqrt())
        if progress:
            progress((step + 1) / steps)
    found = [map_.detach() for map_ in noise]
    with torch.no_grad():
        images = model.pictures(w, found)
        return Projection(w.detach(), found, images, measure(images, target))


def pyramid_distance(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Mean squared differences of (N, C, H, W) at every scale down to 4x4, added up, (N,)."""
    total = images.new_zeros(len(images))
    while True:
        total = total + (images - others).square().mean((1, 2, 3))
        if images.shape[-1] <= 4:
            return total
        images, others = F.avg_pool2d(images, 2), F.avg_pool2d(others, 2)


def _statistics(
    model: StyleBased, label: torch.Tensor | None, n: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """Mean w of each picture's class (N, D), and how far random w are from it, root mean square, (N, 1)."""
    draw = torch.Generator().manual_seed(derive_seed(seed, "mean w"))
    z = torch.randn(MEAN_COUNT, model.latent_size, generator=draw).to(model.device)
    means, deviations = {}, {}
    labels = [0] * n if label is None else label.tolist()
    for value in dict.fromkeys(labels):
        same = None if label is None else torch.full((MEAN_COUNT,), value, device=model.device)
        with torch.no_grad():
            w = model.generator.mapping(z, same)
        means[value] = w.mean(0)
        deviations[value] = (w - means[value]).square().sum(1).mean().sqrt()
    return torch.stack([means[v] for v in labels]), torch.stack([deviations[v] for v in labels]).unsqueeze(1)


def _schedule(share: float) -> float:
    """The learning rate's factor: up in a line, down in a cosine."""
    down = min(1.0, (1 - share) / RAMP_DOWN)
    return min(1.0, share / RAMP_UP) * (0.5 - 0.5 * math.cos(math.pi * down))


def _autocorrelation(noise: torch.Tensor) -> torch.Tensor:
    """Squared products of maps (N, 1, H, W) with themselves shifted by a pixel, at all scales, (N,)."""
    total = noise.new_zeros(len(noise))
    while True:
        for dim in (2, 3):
            total = total + (noise * noise.roll(1, dim)).mean((1, 2, 3)).square()
        if noise.shape[-1] <= SMALLEST:
            return total
        noise = F.avg_pool2d(noise, 2) * 2  # twice, which keeps the variance
