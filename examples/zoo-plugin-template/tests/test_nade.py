"""NADE keeps the contract of the zoo, and does what its paper says."""

from __future__ import annotations

import math

import pytest
import torch
import zoo
from zoo import testing


@pytest.mark.parametrize("check", testing.CHECKS)
def test_conformance(check: str) -> None:
    [result] = testing.check("nade", only=check)
    assert result.status in ("pass", "n/a"), result.detail


def build(image_shape: tuple[int, int, int], levels: int) -> zoo.Model:
    torch.manual_seed(0)
    return zoo.build("nade", image_shape=image_shape, levels=levels, width=5).eval()


@torch.no_grad()
def test_the_likelihood_is_that_of_the_paper() -> None:
    """Sub-pixel by sub-pixel, with the equations as they stand in the paper."""
    model = build((1, 2, 3), levels=2).double()
    image = torch.tensor([[[[1, 0, 1], [1, 1, 0]]]], dtype=torch.uint8)
    x = image.flatten().double()
    expected = 0.0
    for d in range(6):
        hidden = torch.sigmoid(model.input_bias + sum(model.input_weight[k] * x[k] for k in range(d)))
        probabilities = torch.softmax(model.output_bias[d] + model.output_weight[d] @ hidden, 0)
        expected += math.log(float(probabilities[int(x[d])]))
    assert float(model.log_prob(image)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("image_shape", "levels"), [((1, 1, 5), 2), ((1, 5, 1), 256), ((3, 3, 4), 5), ((3, 2, 2), 300)]
)
def test_the_cached_sampler_draws_what_the_naive_one_draws(image_shape: tuple[int, int, int], levels: int) -> None:
    model = build(image_shape, levels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)  # so that sub-pixels do depend on each other
    for seed in range(3):
        assert torch.equal(model.sample(4, seed=seed), model.sample(4, seed=seed, method="naive"))


def test_completing_pictures_keeps_the_given_rows() -> None:
    model = build((1, 4, 4), levels=2)
    given = torch.ones(3, 1, 4, 4, dtype=torch.uint8)
    cached, naive = (model.sample(3, given=given, given_rows=2, method=method) for method in ("cached", "naive"))
    assert torch.equal(cached, naive)
    assert bool((cached[:, :, :2] == 1).all())


def test_number_of_parameters() -> None:
    """W (D-1 x h), c (h), V (D x L x h), b (D x L), at the size of the paper."""
    model = zoo.build("nade", preset="binarized_mnist")
    assert sum(p.numel() for p in model.parameters()) == 783 * 500 + 500 + 784 * 2 * 500 + 784 * 2


def test_a_picture_of_one_sub_pixel_is_refused() -> None:
    with pytest.raises(zoo.ZooError, match="at least 2 sub-pixels"):
        zoo.build("nade", image_shape=(1, 1, 1))
