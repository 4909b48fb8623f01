"""Latents to pictures: truncation, noise, style mixing, walks.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, D size of w, S style slots.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from zoo.errors import OptionError
from zoo.nn.adversarial import to_pixels
from zoo.request import SampleRequest
from zoo_stylegan.gan import GAN, check_labels
from zoo_stylegan.layers import doubled
from zoo_stylegan.mapping import truncate
from zoo_stylegan.styles import Noise, StyleBased


def sample(model: GAN, request: SampleRequest) -> torch.Tensor:
    """The pictures of a request, (B, C, H, W), uint8, from its noise; enlarged while the model is still growing."""
    lod = float(model.lod)
    if isinstance(model, StyleBased):
        images = model.generator.synthesis(_styles(model, request), _noise(model, request), lod)
    else:
        images = model.draw(model.z_of(request), _labels(model, request), lod)
    return to_pixels(doubled(images, int(lod)))


def _labels(model: GAN, request: SampleRequest) -> torch.Tensor | None:
    """Classes (B,): those asked for, or for each sample one by its noise; None where there are none.

    They have a stream of noise of their own: a picture whose class is drawn is the one of that class given.
    """
    given = request.options.get("label")
    if given is None:
        if not model.classes:
            return None
        return (request.child("label").uniform() * model.classes).long().clamp(max=model.classes - 1)
    return check_labels(torch.as_tensor(given, device=request.device), model.classes)


def _styles(model: StyleBased, request: SampleRequest) -> torch.Tensor:
    """(B, S, D) of a request."""
    options = request.options
    chosen = [name for name in ("walk", "mixing", "z", "w") if options[name] is not None]
    chosen += ["label"] * (options["w"] is not None and options["label"] is not None)  # w has the class in it
    if len(chosen) > 1:
        raise OptionError(f"options '{chosen[0]}' and '{chosen[1]}' exclude each other")
    if options["mixing"] is not None:
        return _mixed(model, request)
    if options["w"] is not None:
        model.latent_of(request)  # before the noise of the layers, as where z is drawn
        return _truncated(model, options["w"].to(request.device), options)
    if options["walk"] is None:
        return _truncated(model, _latents(model, request)[1], options)
    # `keys` times `steps` samples in succession are one walk, whose latents are those of `keys` samples.
    keys, steps = options["keys"], options["steps"]
    share = torch.tensor([i % steps / steps for i in request.indices], device=request.device).view(-1, 1)

    def latent(ahead: int) -> tuple[torch.Tensor, torch.Tensor]:
        at = [i // (keys * steps) * keys + (i // steps + ahead) % keys for i in request.indices]
        return _latents(model, dataclasses.replace(request, indices=at))

    (first, w_first), (second, w_second) = latent(0), latent(1)
    if options["walk"] == "w":
        return _truncated(model, torch.lerp(w_first, w_second, share), options)
    z = slerp(first, second, share)
    return _truncated(model, model.generator.mapping(z, _label_of_walk(model, request)), options)


def _label_of_walk(model: StyleBased, request: SampleRequest) -> torch.Tensor | None:
    """Classes (B,) of the frames of walks: without option `label` that of the sample which a walk begins with."""
    keys, steps = request.options["keys"], request.options["steps"]
    return _labels(model, dataclasses.replace(request, indices=[i // (keys * steps) * keys for i in request.indices]))


def _latents(model: StyleBased, request: SampleRequest) -> tuple[torch.Tensor, torch.Tensor]:
    """z (B, Z) and w (B, D)."""
    z = model.z_of(request)
    return z, model.generator.mapping(z, _labels(model, request))


def slerp(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Points on the great circles between latents (B, Z), `share` (B, 1) of the way."""
    a, b = (torch.nn.functional.normalize(z, dim=1) for z in (first, second))
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos().clamp(min=1e-6)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def _truncated(model: StyleBased, w: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    slots = w.unsqueeze(1).expand(-1, model.slots, -1) if w.ndim == 2 else w
    psi = options["truncation"]
    if psi == 1:
        return slots
    return truncate(slots, model.generator.mapping.mean_w, psi, options["truncation_layers"])


def _mixed(model: StyleBased, request: SampleRequest) -> torch.Tensor:
    """A table of style mixing (figure 3 of StyleGAN): `mixing` columns beside a first one of sources.

    Row 0 holds the sources of fine styles, column 0 those of coarse styles, the corner the mean w.
    """
    layers = request.options["mixing_layers"] or model.slots // 2
    if layers >= model.slots:
        raise OptionError(f"option 'mixing_layers' takes an integer from 1 to {model.slots - 1}, not {layers}")
    cells = [divmod(i, request.options["mixing"] + 1) for i in request.indices]
    # Sources of the rows have even indices, those of the columns odd ones.
    coarse = _latents(model, dataclasses.replace(request, indices=[2 * row for row, _ in cells]))[1]
    fine = _latents(model, dataclasses.replace(request, indices=[2 * column + 1 for _, column in cells]))[1]
    row, column = torch.tensor(cells, device=request.device).unsqueeze(-1).unbind(1)  # B 1
    mean = model.generator.mapping.mean_w.expand_as(coarse)
    low = torch.where(row > 0, coarse, torch.where(column > 0, fine, mean)).unsqueeze(1)
    high = torch.where(column > 0, fine, torch.where(row > 0, coarse, mean)).unsqueeze(1)
    slots = [low.expand(-1, layers, -1), high.expand(-1, model.slots - layers, -1)]
    return _truncated(model, torch.cat(slots, 1), request.options)


def _noise(model: StyleBased, request: SampleRequest) -> Noise:
    """New noise for each sample; one for all if asked for, or where pictures are compared."""
    if request.options["noise"] == "constant" or request.options["walk"] or request.options["mixing"]:
        return model.generator.synthesis.constant_noise
    return lambda layer, size: request.normal(1, size, size)
