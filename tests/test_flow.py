"""Optical flow: moving pictures along it, resizing it, finding it by matching blocks."""

from __future__ import annotations

import pytest
import torch

from zoo.nn.flow import end_point_error, match_blocks, resize_flow, warp


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def constant(x: float, y: float, like: torch.Tensor) -> torch.Tensor:
    flow = torch.empty(len(like), 2, *like.shape[-2:])
    flow[:, 0], flow[:, 1] = x, y
    return flow


def test_no_flow_is_the_identity() -> None:
    """With grid_sample's default of align_corners the mean error on white noise is 0.127."""
    images = noise(2, 3, 17, 23)
    assert (warp(images, constant(0, 0, images)) - images).abs().max() < 1e-5


@pytest.mark.parametrize(("x", "y"), [(1, 0), (0, 1), (-2, 3)])
def test_a_flow_of_whole_pixels_is_a_roll_inside_the_border(x: int, y: int) -> None:
    images = noise(2, 3, 17, 23)
    moved = warp(images, constant(x, y, images))
    rolled = images.roll((-y, -x), (2, 3))
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert (moved[inside] - rolled[inside]).abs().max() < 1e-4
    assert not torch.allclose(moved, images)


def test_beyond_the_border_is_its_pixel() -> None:
    images = noise(1, 1, 5, 6)
    moved = warp(images, constant(100, 0, images))
    assert torch.allclose(moved, images[..., -1:].expand_as(images), atol=1e-5)


def test_each_component_grows_with_its_own_axis() -> None:
    flow = constant(2, 3, noise(1, 1, 8, 8))
    larger = resize_flow(flow, 16, 32)
    assert larger.shape == (1, 2, 16, 32)
    assert torch.allclose(larger[:, 0], torch.tensor(8.0))
    assert torch.allclose(larger[:, 1], torch.tensor(6.0))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, -2), (-4, 4)])
def test_matching_blocks_finds_the_shift(x: int, y: int) -> None:
    previous = noise(2, 3, 20, 24)
    current = previous.roll((-y, -x), (2, 3))
    flow = match_blocks(previous, current, reach=4)
    inside = (slice(None), slice(None), slice(7, -7), slice(7, -7))
    assert end_point_error(flow[inside], constant(x, y, previous)[inside]) == 0


def test_a_plain_ground_stands_still() -> None:
    plain = torch.full((1, 3, 12, 12), 0.5)
    assert match_blocks(plain, plain).abs().max() == 0
