"""What networks that play against each other share: the losses of the papers, and what is changed for a while only."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zoo.nn.adversarial import (
    Loss,
    discriminator_loss,
    frozen,
    generator_loss,
    measuring,
    noise_like,
    r1_penalty,
    share,
    to_pixels,
)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(4, 3, 50, 60),
        torch.zeros(4, 3, 50, 60).to(memory_format=torch.channels_last),
        torch.zeros(4, 3, 5, 20, 30, dtype=torch.float64).to(memory_format=torch.channels_last_3d),
        torch.zeros(4, 1, 50, 60).expand(4, 3, 50, 60)[:, :, ::2, 1:],
        torch.zeros(()),
    ],
)
def test_noise_is_standard_normal_and_laid_out_as_what_it_is_added_to(x: torch.Tensor) -> None:
    torch.manual_seed(0)
    noise = noise_like(x)
    like = torch.empty_like(x)
    assert (noise.shape, noise.dtype, noise.stride()) == (x.shape, x.dtype, like.stride())
    if x.ndim:
        assert abs(noise.mean().item()) < 0.03
        assert noise.std().item() == pytest.approx(1, abs=0.03)
        assert len(noise.unique()) > 0.99 * noise.numel()  # each number is its own


def sure(score: float) -> float:
    """The probability of a score."""
    return 1 / (1 + math.exp(-score))


@pytest.mark.parametrize(
    ("kind", "discriminator", "generator"),
    [
        (
            "logistic",
            -(math.log(sure(2)) + math.log(sure(-0.5)) + math.log(1 - sure(-3)) + math.log(1 - sure(0.25))) / 2,
            -(math.log(sure(-3)) + math.log(sure(0.25))) / 2,  # not saturating
        ),
        ("least-squares", (1 + 1.5**2 + 3**2 + 0.25**2) / 2, (4**2 + 0.75**2) / 2),
        ("hinge", (0 + 1.5 + 0 + 1.25) / 2, (3 - 0.25) / 2),  # of the four scores two are beyond their margins
        ("wasserstein", (-3 + 0.25) / 2 - (2 - 0.5) / 2, (3 - 0.25) / 2),
    ],
)
def test_the_losses_are_those_of_the_papers(kind: Loss, discriminator: float, generator: float) -> None:
    real, fake = torch.tensor([2.0, -0.5]), torch.tensor([-3.0, 0.25])
    assert float(discriminator_loss(kind, real, fake)) == pytest.approx(discriminator)
    assert float(generator_loss(kind, fake)) == pytest.approx(generator)


def test_r1_sums_over_a_picture_and_is_the_mean_over_pictures() -> None:
    real = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    penalty = r1_penalty(real, real.square().sum(1) / 2)  # whose slope is x
    assert float(penalty.detach()) == (25 + 1) / 2
    (slope,) = torch.autograd.grad(penalty, real)
    assert torch.equal(slope, real.detach())


def test_what_is_beyond_the_range_is_the_last_byte() -> None:
    images = torch.tensor([-math.inf, -1.5, -1.0, -0.99, 0.99, 1.0, 1.5, math.inf])
    assert to_pixels(images).tolist() == [0, 0, 0, 1, 254, 255, 255, 255]


def test_what_is_frozen_passes_gradients_on_and_what_was_frozen_stays_so() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(ValueError, match="on purpose"), frozen(network):  # noqa: PT012
        network(x).sum().backward()
        raise ValueError("on purpose")
    assert x.grad is not None
    assert network.weight.grad is None
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, False]


def test_measured_statistics_are_the_mean_over_the_passes() -> None:
    """And afterwards the network is as it was, except for them: it goes on to follow in training as before."""
    norm = nn.BatchNorm1d(1, momentum=0.25)
    network = nn.Sequential(norm, nn.Dropout(0.5)).eval()
    norm.running_mean.fill_(100)
    with measuring(network):
        assert not network[1].training
        for mean in (1.0, 5.0):
            network(torch.tensor([[mean - 1], [mean + 1]]))
    assert float(norm.running_mean) == 3
    assert float(norm.running_var) == 2
    assert (norm.momentum, norm.training) == (0.25, False)
    norm.train()(torch.tensor([[6.0], [8.0]]))
    assert float(norm.running_mean) == 0.75 * 3 + 0.25 * 7


def test_processes_share_the_mean_of_their_gradients() -> None:
    here, there = [torch.arange(6.0).view(2, 3), torch.tensor(1.0)], torch.tensor([9.0] * 6 + [-3.0])
    accelerator = SimpleNamespace(reduce=lambda flat, how: {"mean": (flat + there) / 2, "sum": flat + there}[how])
    share(here, accelerator)  # type: ignore[arg-type]
    assert torch.equal(here[0], (torch.arange(6.0).view(2, 3) + 9) / 2)
    assert float(here[1]) == -1
