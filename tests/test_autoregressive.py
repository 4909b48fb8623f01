"""Properties that make an autoregressive model exact: dependence, normalisation, and samplers that agree."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo import building
from zoo.errors import OptionError, TrainingError
from zoo.nn.draw import pick
from zoo.nn.masked import MaskedConv2d, group_bounds
from zoo.settings import Settings
from zoo.train import planning
from zoo.train.accelerator import make_accelerator

MODELS = [spec.name for spec in zoo.models() if spec.kind == "autoregressive"]
SHAPES = [((1, 6, 5), 2), ((1, 5, 6), 256), ((3, 4, 5), 2), ((3, 5, 4), 256), ((1, 4, 4), 512)]


def build(image_shape: tuple[int, int, int], levels: int, model: str = "pixelcnn", **overrides: int) -> zoo.Model:
    torch.manual_seed(1)
    sizes = {"n_layers": 3, "width": 12, "head_width": 23, **overrides}
    model = zoo.build(model, image_shape=image_shape, levels=levels, **sizes)
    with torch.no_grad():  # larger weights than at the start of training, so that pixels do depend on each other
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval()


def given(model: zoo.Model, n: int) -> dict[str, torch.Tensor]:
    """What n pictures are conditioned on, if the model takes anything: class 1 for all."""
    return model.conditions({"label": torch.ones(n, dtype=torch.int64)}, n)


def random_images(image_shape: tuple[int, int, int], levels: int, n: int = 2) -> torch.Tensor:
    return torch.randint(0, levels, (n, *image_shape), generator=torch.Generator().manual_seed(2))


def dependence(model: zoo.Model, image: torch.Tensor, row: int, column: int, channel: int) -> torch.Tensor:
    """(C, H, W), true where the logits at one sub-pixel depend on the input; by the Jacobian in double precision.

    ReLUs leak meanwhile: one that happens to be off for this picture would hide what it can see.
    """
    scaled = model.scale(image).double().requires_grad_()
    model = model.double()
    model.scale = lambda images: images  # type: ignore[method-assign]
    with mock.patch.object(F, "relu", functools.partial(F.leaky_relu, negative_slope=0.5)):
        logits = model(scaled, **given(model, 1))[0, :, channel, row, column]
    weights = torch.rand(len(logits), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((logits * weights).sum(), scaled)
    return gradient[0] != 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("image_shape", "levels"), SHAPES)
def test_no_logit_depends_on_its_own_or_a_later_sub_pixel(
    image_shape: tuple[int, int, int], levels: int, model: str
) -> None:
    """By perturbing every input in double precision: nothing moves before and at it, R before G before B."""
    network = build(image_shape, levels, model).double()
    image = random_images(image_shape, levels, n=1)
    channels, height, width = image_shape
    with torch.no_grad():
        base = network(image, **given(network, 1))
        for row, column, channel in itertools.product(range(height), range(width), range(channels)):
            changed = image.clone()
            changed[0, channel, row, column] = (changed[0, channel, row, column] + 1) % levels
            moved = ((network(changed, **given(network, 1)) - base).abs() > 1e-10).any(1)[0]  # C H W
            order = moved.permute(1, 2, 0).flatten()
            position = (row * width + column) * channels + channel
            assert not order[: position + 1].any()


@pytest.mark.parametrize("model", MODELS)
def test_channels_see_each_other_in_the_order_red_green_blue(model: str) -> None:
    """At the pixel itself: R sees none, G sees R, B sees R and G (reference: [[0,0,0],[1,0,0],[1,1,0]])."""
    image = random_images((3, 5, 5), 256, n=1)
    seen = [dependence(build((3, 5, 5), 256, model), image, 2, 2, channel)[:, 2, 2].tolist() for channel in range(3)]
    assert seen == [[False, False, False], [True, False, False], [True, True, False]]


def test_the_blind_spot_is_the_papers() -> None:
    """12 mask-B layers of 3x3 after the 7x7 mask A on a 17x17 canvas: the centre sees 129 of its 144 past pixels.

    Alone, 3x3 layers widen the field by one column a row, which leaves the upper right wedge unseen; the first layer
    reaches three columns over three rows and so saves a part of it. Gated PixelCNN mends this.
    """
    model = build((1, 17, 17), 2, n_layers=12, width=4, head_width=4)
    seen = dependence(model, random_images((1, 17, 17), 2, n=1), 8, 8, 0)[0]
    past = torch.arange(17 * 17).view(17, 17) < 8 * 17 + 8
    assert not (seen & ~past).any()
    wedge = torch.tensor([[column - 8 > blind_from(8 - row) for column in range(17)] for row in range(17)])
    assert torch.equal(seen, past & ~wedge)
    assert (int(past.sum()), int(seen.sum())) == (144, 129)


@pytest.mark.parametrize(("row", "column"), [(12, 8), (10, 10), (15, 12), (5, 6)])
def test_gated_pixelcnn_has_no_blind_spot(row: int, column: int) -> None:
    """13 layers reach 15 rows and columns: on 21x21 every past pixel is seen, 260 of 260 at (12, 8)."""
    model = build((1, 21, 21), 2, "gated_pixelcnn", n_layers=13, width=4, head_width=4)
    seen = dependence(model, random_images((1, 21, 21), 2, n=1), row, column, 0)[0]
    past = torch.arange(21 * 21).view(21, 21) < 21 * row + column
    assert torch.equal(seen, past)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_gated_pixelcnn_sees_all_within_reach_and_nothing_beyond(n_layers: int) -> None:
    """3 rows and columns by the first layer, 1 more by each further one; the presets as the module says."""
    model = build((1, 13, 13), 2, "gated_pixelcnn", n_layers=n_layers, width=4, head_width=4)
    seen = dependence(model, random_images((1, 13, 13), 2, n=1), 7, 6, 0)[0]
    reach = 3 + n_layers - 1
    places = itertools.product(range(13), range(13))
    near = [7 - i <= reach and abs(6 - j) <= reach and (i, j) < (7, 6) for i, j in places]
    assert torch.equal(seen.flatten(), torch.tensor(near))
    presets = zoo.registry.model_spec("gated_pixelcnn").presets
    reaches = {name: 3 + presets[name].model["n_layers"] - 1 for name in ("mnist", "binarized_mnist", "cifar10")}
    assert reaches == {"mnist": 26, "binarized_mnist": 17, "cifar10": 17}


def test_gated_pixelcnn_sees_all_channels_of_the_past() -> None:
    model = build((3, 6, 7), 256, "gated_pixelcnn", n_layers=5)
    image = random_images((3, 6, 7), 256, n=1)
    for channel in range(3):
        seen = dependence(model, image, 4, 3, channel).permute(1, 2, 0).flatten()
        assert torch.equal(seen, torch.arange(6 * 7 * 3) < (4 * 7 + 3) * 3 + channel)


@pytest.mark.parametrize(("image_shape", "levels"), SHAPES)
def test_skip_connections_keep_gated_pixelcnn_exact(image_shape: tuple[int, int, int], levels: int) -> None:
    """Every layer reaches the head, no future does, and the sampler still agrees."""
    model = build(image_shape, levels, "gated_pixelcnn", skip_connections=True)
    assert torch.equal(model.sample(4, seed=5, method="naive"), model.sample(4, seed=5))
    images = random_images(image_shape, levels)
    model.nats(images, model(images)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    channels, height, width = image_shape
    for channel in range(channels):
        seen = dependence(model, images[:1], height - 2, 1, channel).permute(1, 2, 0).flatten()
        assert torch.equal(seen, torch.arange(len(seen)) < ((height - 2) * width + 1) * channels + channel)


def blind_from(rows_up: int) -> int:
    """The furthest column to the right that is seen `rows_up` rows above the pixel."""
    return 0 if rows_up <= 0 else rows_up + 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_probabilities_of_all_binary_pictures_sum_to_one(channels: int, model: str) -> None:
    """All 512 binary 3x3 pictures; for RGB all 512 of 3 channels by 1x3."""
    shape = (1, 3, 3) if channels == 1 else (3, 1, 3)
    network = build(shape, 2, model)
    pictures = torch.tensor(list(itertools.product((0, 1), repeat=9)), dtype=torch.uint8).view(512, *shape)
    with torch.no_grad():
        assert float(network.log_prob(pictures).exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("image_shape", "levels"), SHAPES)
def test_cached_equals_naive(image_shape: tuple[int, int, int], levels: int, model: str) -> None:
    network = build(image_shape, levels, model)
    naive = network.sample(6, seed=5, method="naive")
    assert torch.equal(naive, network.sample(6, seed=5, method="cached"))
    assert naive.dtype == (torch.uint8 if levels <= 256 else torch.int64)
    assert naive.unique().numel() > 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("image_shape", "levels"), SHAPES)
def test_cached_logits_equal_the_full_forward_to_rounding(
    image_shape: tuple[int, int, int], levels: int, model: str
) -> None:
    """In double precision, fed with given pixels, every logit of the stepwise network agrees to 1e-12."""
    full = build(image_shape, levels, model).double()
    images = random_images(image_shape, levels, n=3)
    channels, height, width = image_shape
    with torch.no_grad():
        network = full.cached(3, **given(full, 3))
        logits_of_all = full(images, **given(full, 3))
        network.reset()
        for row in range(height):
            network.start_row()
            for column, channel in itertools.product(range(width), range(channels)):
                logits = network.logits(column, channel)
                torch.testing.assert_close(logits, logits_of_all[:, :, channel, row, column], rtol=0, atol=1e-12)
                network.put(column, channel, images[:, channel, row, column])


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_sample_does_not_depend_on_the_batch(batch_size: int) -> None:
    model = build((1, 6, 6), 256)
    assert torch.equal(model.sample(16, seed=7), model.sample(16, seed=7, batch_size=batch_size))


def test_no_samples_are_an_empty_batch(tiny: zoo.Model) -> None:
    assert tiny.sample(0).shape == (0, 1, 8, 8)


def test_the_share_that_is_done_goes_on_from_batch_to_batch(tiny: zoo.Model) -> None:
    shares: list[float] = []
    tiny.sample(4, batch_size=2, progress=shares.append)
    rows = [(row + 1) / 8 for row in range(8)]
    done = [*rows, 1.0]  # each batch tells that it is done
    assert shares == [share / 2 for share in done] + [0.5 + share / 2 for share in done]


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("wider", [{}, {"width": 18}, {"head_width": 31}, {"width": 15, "head_width": 24}])
@pytest.mark.parametrize(("n_layers", "after"), [(3, True), (5, False), (5, True)])
@pytest.mark.parametrize("model", ["gated_pixelcnn", "conditional_pixelcnn"])
def test_a_larger_gated_pixelcnn_begins_as_the_function_of_its_weights(
    model: str, n_layers: int, before: bool, after: bool, wider: dict[str, int], tmp_path: Path
) -> None:
    image_shape, levels = (3, 5, 4), 16
    weights = build(image_shape, levels, model, skip_connections=before)
    zoo.save(weights, tmp_path / "weights")
    overrides = {"n_layers": n_layers, "skip_connections": after, **wider}
    settings = Settings(model=model, data="-", out="-", init=str(tmp_path / "weights"), overrides=overrides)
    if before and not after:  # a sum over all layers is no residual sum
        with pytest.raises(TrainingError, match="'layers.0.skip.weight' differs"):
            planning.build(settings, device="cpu")
        return
    grown = planning.build(settings, device="cpu")[1].eval()
    images = random_images(image_shape, levels)
    torch.testing.assert_close(grown(images, **given(grown, 2)), weights(images, **given(weights, 2)))
    for smaller in ({"n_layers": 2}, {"width": 9}, {"head_width": 22}, {"levels": 32}, {"kernel_size": 5}):
        settings = dataclasses.replace(settings, overrides={**overrides, **smaller})
        with pytest.raises(TrainingError, match="do not fit this"):
            planning.build(settings, device="cpu")


def test_new_features_of_a_wider_gated_pixelcnn_learn_from_the_first_step_on() -> None:
    sizes = {"image_shape": (3, 6, 6), "levels": 16, "n_layers": 3}
    weights = zoo.build("gated_pixelcnn", width=6, head_width=9, **sizes)
    wider = zoo.build("gated_pixelcnn", width=12, head_width=18, **sizes)
    wider.load_state_dict(wider.grown(weights))
    images = random_images((3, 6, 6), 16)
    with mock.patch.object(F, "relu", F.leaky_relu):  # a feature that happens to be off would learn nothing
        F.cross_entropy(wider(images), images).backward()
    masks = {f"{name}.weight": m.mask for name, m in wider.named_modules() if isinstance(m, MaskedConv2d)}
    unread = 0
    for name, parameter in wider.named_parameters():
        zeros = (parameter == 0) & (masks.get(name, torch.tensor(1)) != 0)  # which the pixels behind the mask are not
        assert (parameter.grad[zeros] != 0).all(), name
        unread += int(zeros.sum())
    assert unread


def test_start_continues_the_same_samples() -> None:
    model = build((1, 6, 6), 256)
    assert torch.equal(model.sample(8, seed=7)[5:], model.sample(3, seed=7, start=5))


@pytest.mark.parametrize("method", ["cached", "naive"])
def test_given_rows_are_kept_and_the_rest_drawn(method: str) -> None:
    model = build((3, 5, 4), 16)
    given = random_images((3, 5, 4), 16, n=6).to(torch.uint8)
    drawn = model.sample(6, seed=1, method=method, given=given, given_rows=2)
    assert torch.equal(drawn[:, :, :2], given[:, :, :2])
    other = model.sample(6, seed=2, method=method, given=given, given_rows=2)
    assert not torch.equal(drawn[:, :, 2:], other[:, :, 2:])
    assert torch.equal(drawn, model.sample(6, seed=1, given=given, given_rows=2, batch_size=4))


def test_all_rows_given_come_back_as_they_are() -> None:
    model = build((1, 5, 4), 16)
    given = random_images((1, 5, 4), 16, n=1).to(torch.uint8)
    assert torch.equal(model.sample(3, given=given, given_rows=5), given.expand(3, -1, -1, -1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given_rows": 2}, "needs pictures"),
        ({"given": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)}, "'given' needs given_rows=N"),
        ({"given_rows": 9, "given": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)}, "have 8 rows"),
        ({"given_rows": 2, "given": torch.zeros(1, 1, 8, 7, dtype=torch.uint8)}, r"not \(1, 1, 8, 7\)"),
        ({"given_rows": 2, "given": torch.full((1, 1, 8, 8), 4)}, "values go from 4 to 4"),
        ({"given_rows": 2, "given": torch.zeros(3, 1, 8, 8, dtype=torch.uint8)}, "one for each of the 2 samples"),
        ({"given_rows": 2, "given": torch.zeros(1, 1, 8, 8)}, "float32"),
        ({"temperature": -1.0}, "from 0.0 to 10.0"),
        ({"temperature": float("nan")}, "from 0.0 to 10.0"),
        ({"method": "fast"}, "one of cached, naive"),
        ({"n": -1}, "at least 0"),
        ({"n": 2.0}, "n takes an integer"),
        ({"n": True}, "n takes an integer"),
        ({"seed": "3"}, "seed takes an integer"),
        ({"batch_size": 0}, "at least 1"),
        ({"precision": "int8"}, "one of fp32"),
        ({"seed": torch.zeros(3, 3)}, r"^seed takes an integer of at least 0, not tensor.*$"),
        ({"precision": torch.zeros(3, 3)}, r"^precision takes one of .* not tensor.*$"),
    ],
)
def test_bad_sampling_arguments_are_named(tiny: zoo.Model, options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        tiny.sample(**{"n": 2, **options})


def test_a_given_picture_that_is_wrong_is_named_before_the_first_batch(
    tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "draw_batch", lambda request: pytest.fail("a batch was drawn"))
    given = torch.tensor([0, 4]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    with pytest.raises(OptionError, match="values go from 0 to 4"):
        tiny.sample(2, batch_size=1, given=given, given_rows=2)


@pytest.mark.parametrize("integer", [np.int64, np.uint8, torch.tensor], ids=("int64", "uint8", "tensor"))
def test_integers_of_other_libraries_are_integers(tiny: zoo.Model, integer: Callable[[int], Any]) -> None:
    drawn = tiny.sample(integer(2), seed=integer(3), start=integer(1), batch_size=integer(1))
    assert torch.equal(drawn, tiny.sample(2, seed=3, start=1))


def test_an_unknown_option_gives_the_nearest_name(tiny: zoo.Model) -> None:
    with pytest.raises(zoo.ZooError, match="did you mean 'temperature'"):
        tiny.sample(1, temprature=1.0)


def test_none_is_as_if_an_option_were_not_given(tiny: zoo.Model) -> None:
    for spec in zoo.models():
        assert spec.parse_options({option.name: None for option in spec.sample_options}) == spec.parse_options({})
    options = dict.fromkeys(option.name for option in tiny.spec.sample_options)
    assert torch.equal(tiny.sample(2, **options), tiny.sample(2))


@pytest.mark.parametrize("size", [0, -1, 2.0, None])
def test_a_number_of_pictures_that_is_none_is_named(tiny: zoo.Model, size: Any) -> None:
    with pytest.raises(OptionError, match=f"batch_size takes an integer of at least 1, not {size}"):
        tiny.log_prob(random_images((1, 8, 8), 4), batch_size=size)


def test_a_model_is_in_evaluation_mode_meanwhile_and_as_it_was_afterwards(tiny: zoo.Model) -> None:
    modes = []
    tiny.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    for training in (True, False):
        tiny.train(training)
        drawn = tiny.sample(1, method="naive")
        assert tiny.training is training
        tiny.log_prob(drawn)
        assert tiny.training is training
    assert not any(modes)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 8, 9, dtype=torch.uint8), r"\(N, 1, 8, 8\).*not \(2, 1, 8, 9\)"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"not \(1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8), "not torch.float32"),
        (torch.full((2, 1, 8, 8), 9), "values go from 9 to 9"),
        (torch.full((2, 1, 8, 8), -1), "values go from -1 to -1"),
    ],
)
def test_log_prob_names_what_is_wrong_with_its_images(tiny: zoo.Model, images: torch.Tensor, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        tiny.log_prob(images)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint16, torch.uint32, torch.uint64, torch.int64], ids=str)
def test_pictures_are_integers_of_any_type(tiny: zoo.Model, dtype: torch.dtype) -> None:
    images = random_images((1, 8, 8), 4).to(torch.uint8)
    assert torch.equal(tiny.log_prob(images.to(dtype)), tiny.log_prob(images))
    assert torch.equal(tiny.sample(2, given=images.to(dtype), given_rows=3)[:, :, :3], images[:, :, :3])


def test_log_prob_of_a_model_without_conditions_takes_none(tiny: zoo.Model) -> None:
    images = random_images((1, 8, 8), 2)
    with pytest.raises(OptionError, match="conditioned on nothing; leave out label, map"):
        tiny.log_prob(images, label=3, map=images)
    assert torch.equal(tiny.log_prob(images, label=None), tiny.log_prob(images))


def test_log_prob_is_the_sum_of_the_chosen_log_softmax(tiny: zoo.Model) -> None:
    images = random_images((1, 8, 8), 4, n=3)
    with torch.no_grad():
        chosen = tiny(images).log_softmax(1).gather(1, images[:, None]).flatten(1).sum(1)
        torch.testing.assert_close(tiny.log_prob(images, batch_size=2), chosen)
    assert not tiny.training


def test_temperature_zero_takes_the_likeliest_level(tiny: zoo.Model) -> None:
    drawn = tiny.sample(2, temperature=0.0)
    assert torch.equal(drawn[0], drawn[1])
    with torch.no_grad():
        assert torch.equal(tiny(drawn[:1]).argmax(1)[0], drawn[0].long())


def test_pick_draws_from_the_softmax() -> None:
    """Uniform numbers on a grid hit every level in proportion to its probability."""
    logits = torch.tensor([[0.0, 1.0, -2.0, 0.5]])
    n = 100_000
    uniform = (torch.arange(n) + 0.5) / n
    for temperature in (1.0, 0.5):
        counts = pick(logits.expand(n, -1), uniform, temperature).bincount(minlength=4) / n
        torch.testing.assert_close(counts, (logits[0] / temperature).softmax(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("temperature", [1e-10, 1e-38, 1e-300])
def test_a_temperature_near_zero_takes_the_likeliest_level(temperature: float) -> None:
    logits = torch.tensor([[0.0, 10.0, 30.0, -20.0], [5.0, 4.0, -3.0, 0.0]])
    assert pick(logits, torch.tensor([0.3, 0.9]), temperature).tolist() == [2, 0]


def test_pick_never_leaves_the_range() -> None:
    uniform = torch.tensor([0.0, 1 - 2**-24])
    assert pick(torch.zeros(2, 256), uniform, 1.0).tolist() == [0, 255]


def test_masked_weights_get_no_gradient_and_no_update() -> None:
    """The mask is in the graph: what it hides is never touched, whatever the optimiser's momentum."""
    conv = MaskedConv2d(3, 6, 3, mask="A", groups=3)
    before = conv.weight.detach().clone()
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.1)
    for _ in range(3):
        conv(torch.randn(2, 3, 5, 5)).square().sum().backward()
        optimizer.step()
    moved = conv.weight != before
    assert torch.equal(moved, conv.mask.bool())


def test_group_bounds_cover_any_width() -> None:
    for features, groups in itertools.product(range(3, 20), (1, 2, 3)):
        bounds = group_bounds(features, groups)
        assert bounds[0] == 0
        assert bounds[-1] == features
        assert all(start < end for start, end in itertools.pairwise(bounds))


def test_bad_constructor_arguments_are_named() -> None:
    with pytest.raises(OptionError, match="levels must be at least 2"):
        zoo.build("pixelcnn", levels=1)
    with pytest.raises(OptionError, match="image_shape"):
        zoo.build("pixelcnn", image_shape=(1, 0, 8))
    with pytest.raises(OptionError, match="channel groups"):
        zoo.build("pixelcnn", image_shape=(3, 8, 8), width=1)
    with pytest.raises(OptionError, match="kernel_size must be at least 1, not 0"):
        zoo.build("gated_pixelcnn", kernel_size=0)
    with pytest.raises(OptionError, match="setting 'width' of pixelcnn must be int, not 'wide'"):
        zoo.build("pixelcnn", width="wide")
    with pytest.raises(zoo.ZooError, match="did you mean 'width'"):
        zoo.build("pixelcnn", widht=8)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"clip_norm": -1.0}, "clip_norm must be positive, not -1.0"),
        ({"warm_up": 1.0}, "warm_up must be at least 0 and less than 1, not 1.0"),
        ({"last_rate": 2.0}, "last_rate must be from 0 to 1, not 2.0"),
        ({"corruption": 1.5}, "corruption must be from 0 to 1, not 1.5"),
    ],
)
def test_recipes_that_make_no_sense_are_named(tiny: zoo.Model, recipe: dict[str, float], message: str) -> None:
    settings = Settings(model="pixelcnn", data="-", out="-", device="cpu")
    with pytest.raises(OptionError, match=message):
        building.make_trainer(tiny.spec, tiny, settings, make_accelerator(settings), recipe)


def test_bits_per_dim_of_a_uniform_model_is_log2_of_its_levels() -> None:
    model = build((1, 4, 4), 8)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.zero_()
        nats = -model.log_prob(random_images((1, 4, 4), 8))
    torch.testing.assert_close(nats / (16 * math.log(2)), torch.full((2,), 3.0))


@pytest.mark.gpu
def test_the_graph_on_a_gpu_draws_the_same_pictures() -> None:
    model = build((3, 6, 5), 256)
    ours = model.sample(8, seed=1)
    model.cuda()
    assert (model.sample(8, seed=1, method="naive") == ours).float().mean() > 0.999
    assert (model.sample(8, seed=1) == ours).float().mean() > 0.999
    assert torch.equal(model.sample(8, seed=1), model.sample(8, seed=1))


# Conditional PixelCNN


def conditional(condition: str, size: int, shape: tuple[int, int, int] = (1, 5, 4), **more: int) -> zoo.Model:
    return build(shape, 8, "conditional_pixelcnn", condition=condition, condition_size=size, **more)


def test_without_v_the_conditional_model_is_the_unconditional_one() -> None:
    model, plain = conditional("label", 3), build((1, 5, 4), 8, "gated_pixelcnn")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "condition" in name:
                parameter.zero_()
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if "condition" not in k})
        images = random_images((1, 5, 4), 8)
        torch.testing.assert_close(model.log_prob(images, label=2), plain.log_prob(images))


def test_the_condition_enters_every_gate() -> None:
    model = conditional("label", 3)
    names = [name for name, _ in model.named_parameters() if "condition" in name]
    assert len(names) == 2 * len(model.layers) - 1  # the vertical stack ends before its last gate
    model.nats(images := random_images((1, 5, 4), 8), model(images, **given(model, 2))).sum().backward()
    for name in names:
        assert model.get_parameter(name).grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("condition", "shape", "maps"),
    [("label", (), 0), ("label", (), 3), ("vector", (5,), 0), ("vector", (5,), 3), ("map", (5, 5, 4), 0)],
)
def test_conditional_cached_equals_naive(condition: str, shape: tuple[int, ...], maps: int) -> None:
    model = conditional(condition, 5, location_maps=maps)
    h = [0, 4, 2, 2] if condition == "label" else torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    naive = model.sample(4, seed=1, method="naive", **{condition: h})
    assert torch.equal(naive, model.sample(4, seed=1, batch_size=3, **{condition: h}))


def test_a_map_acts_where_it_is() -> None:
    """A change of the map at (2, 1) moves the logits there, and none in the rows above (V is a 1x1 convolution)."""
    model, images = conditional("map", 2).double(), random_images((1, 5, 4), 8, n=1)
    h = torch.zeros(1, 2, 5, 4)
    with torch.no_grad():
        before = model(images, h.double())
        h[0, 0, 2, 1] = 1
        moved = ((model(images, h.double()) - before).abs() > 1e-10).any(1)[0, 0]
    assert moved[2, 1]
    assert not moved[:2].any()


@pytest.mark.parametrize("given", [{"label": [2, 0]}, {"vector": [[1.0, 2, 3], [3, 2, 1]]}, {"text": ["cat", "a dog"]}])
@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 9, 17)])
def test_a_condition_that_knows_where_is_a_map_that_follows_from_it(
    given: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    """Equation 5: with s = m(h) the network is the one that is given s, which is another at every pixel."""
    (condition,) = given
    model, same = conditional(condition, 3, shape, location_maps=8), conditional("map", 8, shape)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(("locate.", "encoder."))}
    same.load_state_dict(own)
    images = random_images(shape, 8, n=2)
    with torch.no_grad():
        s = model._h(model.conditions(given, 2)["condition"])
        assert s.shape == (2, 8, *shape[1:])
        assert (s[0].flatten(1).std(1) > 0).all()
        assert not s[0].isclose(s[1]).any()
        torch.testing.assert_close(model.log_prob(images, **given), same.log_prob(images, map=s))


def test_locations_need_a_condition_that_is_none_yet() -> None:
    for condition, maps in (("map", 2), ("label", -1)):
        with pytest.raises(OptionError, match="location_maps must be at least 0, and 0 with a condition of maps"):
            conditional(condition, 3, location_maps=maps)


def test_without_a_label_the_model_is_the_mixture_of_its_classes() -> None:
    """log p(x) = log mean_y p(x|y); a picture whose class is drawn is the one of that class given."""
    model = conditional("label", 3)
    images = random_images((1, 5, 4), 8, n=4)
    with torch.no_grad():
        joint = torch.stack([model.log_prob(images, label=k) for k in range(3)], 1)
        torch.testing.assert_close(model.log_prob(images), joint.logsumexp(1) - math.log(3))
        torch.testing.assert_close(model.class_log_probs(images), joint)
    drawn = model.sample(12, seed=1)
    classes = [model.sample(12, seed=1, label=k) for k in range(3)]
    matches = [{k for k in range(3) if torch.equal(drawn[i], classes[k][i])} for i in range(12)]
    assert all(matches)
    assert set.union(*matches) == {0, 1, 2}


def test_class_posteriors_follow_bayes_rule() -> None:
    """A model whose class 1 prefers level 0 everywhere takes dark pictures for class 1 (a generative classifier)."""
    model = conditional("label", 2)
    with torch.no_grad():
        for layer in model.layers:
            layer.condition_horizontal.weight.mul_(4)
    drawn = torch.cat([model.sample(32, seed=k, label=k) for k in range(2)])
    with torch.no_grad():
        posterior = model.class_log_probs(drawn).softmax(1)
    torch.testing.assert_close(posterior.sum(1), torch.ones(64))
    assert (posterior.argmax(1) == torch.arange(64) // 32).float().mean() > 0.8


@pytest.mark.parametrize(
    ("condition", "options", "message"),
    [
        ("label", {"label": 3}, "label must be from 0 to 2, not 3$"),
        ("label", {"label": -1}, "label must be from 0 to 2, not -1$"),
        ("label", {"label": torch.zeros(3, dtype=torch.int64)}, r"one for each of the 2 pictures, not \(3,\)"),
        ("label", {"label": torch.zeros(2)}, "of torch.float32"),
        ("label", {"label": [True, False]}, "of torch.bool"),
        ("label", {"label": "cat"}, "label must be numbers, not 'cat'"),
        ("label", {"label": [[0], [1, 2]]}, r"label must be numbers, not \[\[0\], \[1, 2\]\]"),
        ("vector", {}, "conditioned on a vector; give vector"),
        ("vector", {"vector": torch.zeros(2, 4)}, r"vector must be \(2, 3\), not \(2, 4\)"),
        ("vector", {"vector": "up"}, "vector must be numbers, not 'up'"),
        ("map", {"map": object()}, "map must be numbers, not <object"),
        ("map", {"map": torch.zeros(2, 3, 4, 5)}, r"map must be \(2, 3, 5, 4\), not \(2, 3, 4, 5\)"),
    ],
)
def test_a_wrong_condition_is_named(condition: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        conditional(condition, 3).log_prob(random_images((1, 5, 4), 8), **options)


def test_likelihoods_are_computed_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the process allows: a figure of fp32 is one."""
    model = zoo.build("pixelcnn", preset="tiny")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    allowed = []
    model.register_forward_pre_hook(lambda module, inputs: allowed.append(torch.backends.cudnn.allow_tf32))
    model.log_prob(model.sample(2))
    assert allowed[-1] is False
    assert torch.backends.cudnn.allow_tf32 is True
