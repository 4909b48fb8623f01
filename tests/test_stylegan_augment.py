"""Adaptive augmentation: exact where it promises to be, differentiable twice, and as probable as it says."""

from __future__ import annotations

import math

import pytest
import torch

import zoo

zoo.models()  # puts plugins/ on the path of a checkout that is not installed

from zoo_stylegan import augment  # noqa: E402
from zoo_stylegan.augment import Augment, AugmentController  # noqa: E402

CHANNELS = [1, 3]


def pictures(n: int = 4, channels: int = 3, size: int = 16, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    noise = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return noise * 2 - 1


def smooth(n: int = 1, size: int = 32) -> torch.Tensor:
    """A picture without symmetry that interpolation hardly changes."""
    x = torch.linspace(-1, 1, size, dtype=torch.float64)
    return (torch.sin(3 * x + 1) * torch.cos(2 * x[:, None] - 0.5) + 0.3 * x[:, None]).expand(n, 3, size, size)


def pipeline(p: float, **only: bool) -> Augment:
    made = Augment(**{"blit": False, "geometry": False, "colour": False, **only} if only else {})
    made.p.fill_(p)
    torch.manual_seed(3)
    return made


def warp(images: torch.Tensor, **changes: float) -> torch.Tensor:
    names = ("scale", "first", "stretch", "second", "right", "down")
    values = {**dict(zip(names, augment.STILL, strict=True)), **changes}
    return augment.warp(images, **{k: torch.full((len(images),), float(v)).double() for k, v in values.items()})


def recolour(images: torch.Tensor, **changes: float) -> torch.Tensor:
    names = ("brightness", "contrast", "luma", "hue", "saturation")
    values = {**dict(zip(names, augment.SAME, strict=True)), **changes}
    return augment.recolour(images, **{k: torch.full((len(images),), float(v)).double() for k, v in values.items()})


def move(images: torch.Tensor, mirror: bool = False, turns: int = 0, right: int = 0, down: int = 0) -> torch.Tensor:
    whole = [torch.full((len(images),), value) for value in (turns, right, down)]
    return augment.move(images, torch.full((len(images),), mirror), *whole)


# The whole


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_with_probability_0_nothing_changes(channels: int, dtype: torch.dtype) -> None:
    images = pictures(channels=channels).to(dtype)
    augmented = pipeline(0.0)(images)
    assert augmented.dtype == dtype
    assert torch.equal(augmented, images)


def test_a_sample_for_which_nothing_is_drawn_stays_as_it_is() -> None:
    """And the others do change."""
    images = pictures(64, dtype=torch.float32)
    same = (pipeline(0.1)(images) == images).flatten(1).all(1)
    assert 0.3 < same.double().mean() < 0.8  # of 13 draws, some leave nothing changed: 0.9 ** 13 = 0.25 at the least


def test_transforms_are_in_full_precision_whatever_the_rest_is() -> None:
    images, pipe = pictures(dtype=torch.float32), pipeline(1.0)
    full = pipe(images)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pipe(images), full)


@pytest.mark.parametrize("only", ["blit", "geometry", "colour"])
def test_a_category_alone(only: str) -> None:
    images = pictures(64)
    augmented = pipeline(1.0, **{only: True})(images)
    assert (augmented != images).flatten(1).any(1).double().mean() > 0.9
    assert torch.equal(Augment(blit=False, geometry=False, colour=False)(images), images)


def test_the_randomness_is_that_of_torch() -> None:
    images, pipe = pictures(), pipeline(0.7)
    torch.manual_seed(1)
    first, second = pipe(images), pipe(images)
    torch.manual_seed(1)
    assert torch.equal(pipe(images), first)
    assert not torch.equal(first, second)


def test_each_transform_happens_with_probability_p() -> None:
    n, p = 40_000, 0.5
    pipe = pipeline(p)
    mirror, turns, right, down = pipe.draw_blit(n, 32)
    scale, first, stretch, second, across, along = pipe.draw_geometry(n, 32)
    brightness, contrast, luma, hue, saturation = pipe.draw_colour(n)
    happened = {
        p / 2: [mirror, luma == -1],  # of those that may be mirrored, half are
        p * 3 / 4: [turns > 0],
        p * 7 / 8: [right != 0, down != 0],  # a uniform number from -4 to 4, rounded
        p: [scale != 1, stretch != 1, across != 0, along != 0, brightness != 0, contrast != 1, hue != 0],
        1 - math.sqrt(1 - p): [first != 0, second != 0],
    }
    for expected, draws in happened.items():
        for draw in draws:
            assert draw.double().mean().item() == pytest.approx(expected, abs=0.01)
    for draw in ((first != 0) | (second != 0), saturation != 1):
        assert draw.double().mean().item() == pytest.approx(p, abs=0.01)
    assert set(turns.tolist()) == {0, 1, 2, 3}
    assert set(right.tolist()) == set(range(-4, 5))


def test_the_sizes_of_the_random_numbers_are_those_of_the_paper() -> None:
    n = 40_000
    pipe = pipeline(1.0)
    scale, _, stretch, second, across, _ = pipe.draw_geometry(n, 32)
    brightness, contrast, _, hue, saturation = pipe.draw_colour(n)
    drawn = [(scale.log2(), 0.2), (stretch.log2(), 0.2), (across / 32, 0.125), (brightness, 0.2)]
    drawn += [(contrast.log2(), 0.5), (saturation.log2(), 1.0)]
    drawn += [(second, math.pi / math.sqrt(3)), (hue, math.pi / math.sqrt(3))]
    for values, deviation in drawn:
        assert values.std().item() == pytest.approx(deviation, rel=0.02)
        assert values.mean().item() == pytest.approx(0, abs=0.03 * deviation)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 2, 8, 8), (2, 3, 8, 9), (2, 3, 6, 6), (2, 4, 3, 8, 8)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="augmentation takes"):
        Augment()(torch.zeros(shape))


def test_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="float pictures"):
        Augment()(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


# Blitting


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_mirror_and_quarter_turns_move_pixels_exactly(mirror: bool, turns: int) -> None:
    images = pictures()
    expected = (images.flip(3) if mirror else images).rot90(turns, (2, 3))
    assert torch.equal(move(images, mirror, turns), expected)


def test_translation_moves_pixels_exactly_and_reflects_at_the_border() -> None:
    images = pictures()
    padded = torch.nn.functional.pad(images, (3, 3, 3, 3), mode="reflect")
    assert torch.equal(move(images, right=3, down=-2), padded[:, :, 5:21, 0:16])
    assert torch.equal(move(images, True, 1, 3, -2), move(move(images, True, 1), right=3, down=-2))


def test_blitting_makes_no_new_values() -> None:
    images = pictures(32)
    for before, after in zip(images, pipeline(1.0, blit=True)(images), strict=True):
        for channel in range(3):
            assert set(after[channel].flatten().tolist()) <= set(before[channel].flatten().tolist())


# Geometry


def test_the_wavelet_is_the_one_with_six_vanishing_moments() -> None:
    """Orthogonal to its shifts by even numbers; its mirror filter sees no polynomial below degree 6."""
    taps = torch.tensor(augment.SYM6, dtype=torch.float64)
    products = [(taps[: len(taps) - 2 * k] * taps[2 * k :]).sum().item() for k in range(6)]
    assert products == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-10)
    i = torch.arange(12, dtype=torch.float64)
    mirror = (-1) ** i * taps.flip(0)
    for degree in range(6):
        assert (i**degree * mirror).sum().item() == pytest.approx(0, abs=1e-11 * 11.0**degree)


def test_resampling_reconstructs_perfectly() -> None:
    images = pictures()
    torch.testing.assert_close(warp(images), images, rtol=0, atol=1e-6)
    torch.testing.assert_close(warp(images, right=2)[..., 5:], move(images, right=2)[..., 5:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_rotation_turns_clockwise_about_the_centre(which: str, quarters: int) -> None:
    turned = warp(smooth(), **{which: quarters * math.pi / 2})
    inner = slice(6, -6)  # bilinear, so not exact; the border is the reflected picture
    expected = smooth().rot90(-quarters, (2, 3))
    torch.testing.assert_close(turned[..., inner, inner], expected[..., inner, inner], rtol=0, atol=3e-3)


def test_scaling_and_stretching() -> None:
    """Against the function that the picture shows, at other places."""
    size = 32
    x = torch.linspace(-1, 1, size, dtype=torch.float64)

    def shown(width: float, height: float, right: float = 0.0) -> torch.Tensor:
        columns, rows = (x - right * 2 / (size - 1)) / width, x[:, None] / height
        return torch.sin(3 * columns + 1) * torch.cos(2 * rows - 0.5) + 0.3 * rows

    inner = slice(6, -6)
    for changes, expected in [
        ({"scale": 1.3}, shown(1.3, 1.3)),
        ({"stretch": 1.25}, shown(1.25, 0.8)),
        ({"scale": 0.9, "right": 2.6}, shown(0.9, 0.9, 2.6)),
    ]:
        found = warp(smooth(), **changes)[0, 0]
        torch.testing.assert_close(found[inner, inner], expected[inner, inner], rtol=0, atol=3e-3)


def test_all_of_the_geometry_is_one_affine_map() -> None:
    """Scaled, rotated, stretched, rotated again and shifted, in this order: p becomes R S R p + t, about the centre."""
    size, inner = 64, slice(20, -20)
    first, stretch, second, scale, right, down = 0.6, 1.2, -0.3, 1.1, 2.6, -1.7

    def turn(angle: float) -> torch.Tensor:
        """Clockwise as seen, y pointing down."""
        cos, sin = math.cos(angle), math.sin(angle)
        return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)

    forth = turn(second) @ torch.diag(torch.tensor([stretch, 1 / stretch], dtype=torch.float64)) @ turn(first) * scale
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(place - down, place - right, indexing="ij")
    x, y = torch.einsum("ij,jhw->ihw", forth.inverse(), torch.stack([x, y])) / ((size - 1) / 2)
    expected = torch.sin(3 * x + 1) * torch.cos(2 * y - 0.5) + 0.3 * y  # what `smooth` shows at these places
    found = warp(smooth(size=size), scale=scale, first=first, stretch=stretch, second=second, right=right, down=down)
    torch.testing.assert_close(found[0, 0, inner, inner], expected[inner, inner], rtol=0, atol=3e-3)


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_constant_picture_stays_constant(channels: int) -> None:
    """There is no border at which something darker comes in, however far away."""
    images = torch.full((32, channels, 16, 16), 0.3)
    torch.testing.assert_close(pipeline(1.0, geometry=True)(images), images)
    torch.testing.assert_close(warp(images.double(), scale=0.05, right=200), images.double())


def test_fine_detail_is_filtered_when_a_picture_shrinks() -> None:
    """Stripes of one pixel, at half the size, would alias to a constant or to stripes; they become grey."""
    stripes = torch.ones(1, 3, 32, 32, dtype=torch.float64)
    stripes[..., ::2] = -1
    assert warp(stripes, scale=0.5)[..., 12:20, 12:20].abs().max() < 0.1


# Colour


def test_hue_and_saturation_keep_the_luma() -> None:
    images = pictures()
    luma = images.mean(1)
    for changes in ({"hue": 1.0}, {"saturation": 2.5}, {"hue": -2.0, "saturation": 0.3}):
        assert not torch.allclose(recolour(images, **changes), images)
        torch.testing.assert_close(recolour(images, **changes).mean(1), luma)


def test_hue_turns_colours_round() -> None:
    images = pictures()
    third = recolour(images, hue=2 * math.pi / 3)
    torch.testing.assert_close(third, images.roll(1, 1))  # red to green, green to blue, blue to red
    torch.testing.assert_close(recolour(recolour(images, hue=0.7), hue=-0.7), images)
    torch.testing.assert_close(recolour(images, hue=0.7).square().sum(1), images.square().sum(1))


def test_the_luma_flip_undoes_itself_and_keeps_the_rest_of_the_colour() -> None:
    images = pictures()
    flipped = recolour(images, luma=-1)
    torch.testing.assert_close(recolour(flipped, luma=-1), images)
    torch.testing.assert_close(flipped.mean(1), -images.mean(1))
    torch.testing.assert_close(flipped - flipped.mean(1, True), images - images.mean(1, True))


@pytest.mark.parametrize("channels", CHANNELS)
def test_brightness_and_contrast_in_this_order(channels: int) -> None:
    images = pictures(channels=channels)
    torch.testing.assert_close(recolour(images, brightness=0.2, contrast=1.5), 1.5 * (images + 0.2))
    torch.testing.assert_close(recolour(images, saturation=0)[:, :1], images.mean(1, True))


def test_grey_pictures_are_treated_as_rgb_pictures_without_colour() -> None:
    grey = pictures(channels=1)
    changes = {"brightness": 0.1, "contrast": 0.8, "luma": -1, "hue": 1.0, "saturation": 2.0}
    rgb = recolour(grey.expand(-1, 3, -1, -1), **changes)
    torch.testing.assert_close(recolour(grey, **changes).expand_as(rgb), rgb)


# Gradients


@pytest.mark.parametrize("channels", CHANNELS)
def test_derivatives_of_first_and_second_order(channels: int) -> None:
    pipe = pipeline(1.0)

    def transformed(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return pipe(images).pow(3)  # the transform alone is linear, and its second derivatives are 0

    images = pictures(2, channels, 7).requires_grad_()
    assert torch.autograd.gradcheck(transformed, (images,), fast_mode=True)
    assert torch.autograd.gradgradcheck(transformed, (images,), fast_mode=True)


def test_a_penalty_on_gradients_goes_through_to_the_scores() -> None:
    """As R1 does: the gradient with respect to pictures, and that of its square with respect to a weight."""
    weight = torch.ones(3, requires_grad=True)
    images = pictures(dtype=torch.float32).requires_grad_()
    scores = (pipeline(0.8)(images) * weight[:, None, None]).square().sum()
    (gradient,) = torch.autograd.grad(scores, images, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().min() > 0


# The controller


def scores(n: int, positive: int) -> torch.Tensor:
    return torch.where(torch.arange(n) < positive, 2.0, -0.5)


@pytest.mark.parametrize(("positive", "expected"), [(100, 1), (81, 1), (79, -1), (0, -1)])
def test_p_moves_by_the_pictures_seen_over_the_span(positive: int, expected: int) -> None:
    """r = (2 positive - 100) / 100, and is above 0.6 from 81 on."""
    pipe = Augment()
    pipe.p.fill_(0.5)
    controller = AugmentController(pipe)
    for step in range(1, 401):
        logged = controller.update(scores(100, positive))
        done = step // 4 * 4 * 100
        assert pipe.p.item() == pytest.approx(0.5 + expected * done / 500_000, abs=1e-5)
        assert logged["augment_r"].item() == pytest.approx((2 * positive - 100) / 100)
        assert logged["augment_p"].item() == pipe.p.item()


def test_p_stays_between_0_and_1() -> None:
    pipe = Augment()
    controller = AugmentController(pipe, span=1000)
    for positive, expected in [(0, 0.0), (100, 1.0)]:
        for _ in range(60):
            controller.update(scores(100, positive))
        assert pipe.p.item() == expected
    assert torch.isfinite(pipe(pictures())).all()


def test_r_is_the_mean_over_the_interval() -> None:
    """Three steps below the target and one far above it: together they are below."""
    controller = AugmentController(Augment())
    controller.augment.p.fill_(0.5)
    for positive in (100, 100, 100, 0):
        logged = controller.update(scores(100, positive))
    assert logged["augment_r"].item() == 0.5
    assert controller.augment.p.item() == pytest.approx(0.5 - 400 / 500_000)


def test_the_state_of_an_interrupted_interval_is_kept() -> None:
    whole, first, second = (AugmentController(Augment(), span=10_000) for _ in range(3))
    batches = [scores(64, positive) for positive in (64, 60, 10, 64, 64, 64, 2, 64, 64)]
    for batch in batches:
        whole.update(batch)
    for batch in batches[:6]:
        first.update(batch)
    second.load_state_dict(first.state_dict())
    for batch in batches[6:]:
        second.update(batch)
    assert set(whole.state_dict()) == {"signs", "count", "steps", "augment.p"}
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
