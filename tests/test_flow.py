"""Optical flow: moving pictures along it, resizing it, finding it by matching blocks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import zoo
from zoo.nn.flow import end_point_error, match_blocks, resize_flow, warp

zoo.models()  # puts plugins/ on the path
from zoo_translation.flow_network import WEIGHTS, find_flow  # noqa: E402
from zoo_translation.motion import pairs  # noqa: E402


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


def test_the_error_of_a_flow_is_the_mean_length_of_the_difference() -> None:
    flow = constant(3, 4, noise(1, 1, 4, 4))
    flow[:, :, :2] = 0
    assert float(end_point_error(flow, torch.zeros_like(flow))) == pytest.approx(2.5)


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


# Synthetic motion, and the network that was trained on it


def test_synthetic_flow_is_the_one_by_which_shapes_move() -> None:
    previous, current, flow = pairs(8, 48, 3.0, torch.Generator().manual_seed(0))
    assert previous.shape == current.shape == (8, 3, 48, 48)
    assert -1 <= previous.min() < previous.max() <= 1
    moved = (warp(previous, flow) - current).abs().mean(1)
    still = (previous - current).abs().mean(1)
    assert moved.median() < 0.02  # exact but for what was hidden, borders, and what warping blurs
    assert moved.mean() < 0.5 * still.mean()
    assert flow.abs().max() <= 3
    assert (flow != flow.round()).any()
    assert len(flow[0].flatten(1).T.unique(dim=0)) > 2  # several layers
    again = pairs(8, 48, 3.0, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(again, (previous, current, flow), strict=True))


def test_the_network_errs_less_than_the_matching_of_blocks() -> None:
    previous, current, truth = pairs(24, 32, 4.0, torch.Generator().manual_seed(1))
    blocks = [end_point_error(match_blocks(previous, current, block=block), truth) for block in (3, 5)]
    assert end_point_error(find_flow(previous, current), truth) < min(blocks)
    assert WEIGHTS.stat().st_size < 200_000


def test_the_network_takes_any_size_and_grey_pictures_and_knows_still_ones() -> None:
    images = noise(1, 1, 17, 23) * 2 - 1
    flow = find_flow(images, images)
    assert flow.shape == (1, 2, 17, 23)
    assert end_point_error(flow, torch.zeros_like(flow)) < 0.2


def test_temporal_error_is_what_the_true_flow_does_not_explain() -> None:
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "flicker.py"
    spec = importlib.util.spec_from_file_location("flicker", path)
    assert spec is not None
    assert spec.loader is not None
    flicker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flicker)
    ground = noise(1, 3, 12, 12) * 2 - 1
    clip = torch.stack([ground.roll(t, 3) for t in range(4)], 1)
    flow = constant(-1, 0, ground)[:, None].expand(1, 3, 2, 12, 12)
    inside = clip[..., 4:]  # what comes round the border is new
    assert flicker.temporal_error(inside, flow[..., 4:]) < 0.2 * flicker.temporal_error(inside, 0 * flow[..., 4:])
    flickering = inside + 0.2 * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 4, 1, 1, 1)
    assert flicker.temporal_error(flickering, flow[..., 4:]) > 0.3
    for found_by in ("match", "network"):
        found = flicker.true_flow(clip, None, found_by)
        assert torch.allclose(found[..., 4:-4, 4:-4].mean((0, 1, 3, 4)), torch.tensor([-1.0, 0.0]), atol=0.1)
