"""Maximum likelihood: a step is that of the recipe, written out a second time."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

import zoo
from zoo import building
from zoo.media import quantise
from zoo.nn.likelihood import LikelihoodTrainer, corrupted
from zoo.nn.soap import SOAP
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator


def rate(share: float) -> float:
    """Up in a line over the first half, and down to a tenth in a cosine over the second."""
    if share < 0.5:
        return (share + 1e-3) / (0.5 + 1e-3)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (share - 0.5) / 0.5)) / 2


RECIPE: dict[str, Any] = {"learning_rate": 0.02, "betas": (0.5, 0.7), "weight_decay": 0.3}
RECIPE |= {"warm_up": 0.5, "last_rate": 0.1, "clip_norm": 0.05}


def trainer(model: zoo.Model, **recipe: Any) -> LikelihoodTrainer:
    settings = Settings(model="pixelcnn", data="-", out="-", examples=64, device="cpu")
    made: Any = building.make_trainer(model.spec, model, settings, make_accelerator(settings), recipe)
    return made


def test_a_step_is_what_the_recipe_says(tiny: zoo.Model) -> None:
    ours = copy.deepcopy(tiny)
    made = trainer(tiny, **RECIPE)
    adam = torch.optim.AdamW(ours.parameters(), betas=(0.5, 0.7), weight_decay=0.3)
    for seen in (0, 8, 16, 40, 56):
        pixels = torch.randint(0, 256, (8, 1, 8, 8), generator=torch.Generator().manual_seed(seen), dtype=torch.uint8)
        images = quantise(pixels, 4)
        loss = -ours(images).log_softmax(1).gather(1, images[:, None].long()).mean() / math.log(2)
        adam.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in ours.parameters()))
        assert norm > 0.05  # so that it is clipped
        for parameter in ours.parameters():
            parameter.grad *= 0.05 / norm
        adam.param_groups[0]["lr"] = 0.02 * rate(seen / 64)
        adam.step()
        assert float(made.step({"image": pixels}, seen)["bits_per_dim"]) == pytest.approx(float(loss.detach()))
    for theirs, parameter in zip(tiny.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(theirs, parameter, rtol=1e-3, atol=1e-5)


def test_soap_is_made_of_the_same_recipe(tiny: zoo.Model) -> None:
    """Its own steps are compared in `test_soap`."""
    optimizer = trainer(tiny, **RECIPE, optimizer="soap").optimizers()["model"].optimizer
    assert isinstance(optimizer, SOAP)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.02, (0.5, 0.7), 0.3)


def test_corruption_shows_blocks_of_the_picture_before() -> None:
    images = torch.arange(4)[:, None, None, None].expand(4, 3, 30, 33)
    assert torch.equal(corrupted(images, 0.0), images)
    for seed in range(20):
        torch.manual_seed(seed)
        shown = corrupted(images, 1.0)
        other = shown != images
        assert torch.equal(shown[other], images.roll(1, 0)[other])
        assert torch.equal(other, other[:, :1].expand_as(other))  # all channels of a pixel
    torch.manual_seed(0)
    shares = torch.stack([(corrupted(images, 0.5) != images).double().mean((1, 2, 3)) for _ in range(500)])
    assert shares.mean().item() == pytest.approx(0.25, abs=0.02)  # the share of a picture is anything up to 0.5
    assert shares.std() > 0.1


def test_a_corrupted_picture_is_to_predict_its_own_pixels_and_less_is_corrupted_with_time(tiny: zoo.Model) -> None:
    pixels = torch.randint(0, 256, (8, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = quantise(pixels, 4)
    for seen, share in ((0, 0.8), (32, 0.4), (64, 0.0)):
        made = trainer(tiny, corruption=0.8)
        torch.manual_seed(seen)
        shown = corrupted(images, share)
        assert torch.equal(shown, images) == (seen == 64)
        loss = -tiny(shown).log_softmax(1).gather(1, images[:, None].long()).mean() / math.log(2)
        torch.manual_seed(seen)
        assert float(made.step({"image": pixels}, seen)["bits_per_dim"]) == pytest.approx(float(loss.detach()))
