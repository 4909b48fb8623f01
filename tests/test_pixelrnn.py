"""Row LSTM and Diagonal BiLSTM: exact contexts, recurrences equal to the paper's written out, samplers that agree."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo.nn.draw import draw
from zoo.nn.masked import MaskedConv2d
from zoo.request import SampleRequest

zoo.models()  # puts plugins/ on the path of a checkout that is not installed

from zoo_pixelrnn import diagonal_bilstm, plugin  # noqa: E402
from zoo_pixelrnn.diagonal_bilstm import DiagonalBiLSTM, DiagonalLayer, Skew, shift_down  # noqa: E402
from zoo_pixelrnn.network import PixelRNN  # noqa: E402
from zoo_pixelrnn.row_lstm import RowLSTM, RowLSTMLayer  # noqa: E402

MODELS = [RowLSTM, DiagonalBiLSTM]
# Square or not, one row, one column, RGB; binary, bytes, codes.
SHAPES = [
    ((1, 6, 5), 2),
    ((1, 4, 7), 256),
    ((3, 4, 5), 2),
    ((3, 5, 4), 256),
    ((1, 4, 4), 300),
    ((1, 1, 5), 2),
    ((1, 5, 1), 2),
]


def build(model: type[PixelRNN], image_shape: tuple[int, int, int], levels: int = 2, **overrides: int) -> PixelRNN:
    """In double precision, and with larger weights than at the start of training, so that pixels depend on another."""
    torch.manual_seed(1)
    sizes = {"n_layers": 2, "width": 6, "head_width": 11, **overrides}
    network = model(image_shape=image_shape, levels=levels, **sizes).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network


def random_images(image_shape: tuple[int, int, int], levels: int = 2, n: int = 2) -> torch.Tensor:
    return torch.randint(0, levels, (n, *image_shape), generator=torch.Generator().manual_seed(2))


def no_dead_relus() -> Any:
    """ReLUs leak meanwhile: one that happens to be off would hide what it can see."""
    return mock.patch.object(F, "relu", functools.partial(F.leaky_relu, negative_slope=0.5))


def dependence(model: PixelRNN) -> torch.Tensor:
    """(C H W, C H W), in the order of drawing: whether a sub-pixel's logits (row) depend on an input (column).

    By the Jacobian of random sums of the logits, each sub-pixel's with a copy of the picture of its own.
    """
    image = random_images(model.image_shape, model.levels, n=1)
    scaled = model.scale(image.repeat(image.numel(), 1, 1, 1)).requires_grad_()
    with mock.patch.object(model, "scale", lambda images: images), no_dead_relus():
        logits = model(scaled)  # N L C H W
    weights = torch.rand(model.levels, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    sums = torch.einsum("nlchw,l->nhwc", logits, weights).flatten(1)  # N N
    (gradient,) = torch.autograd.grad(sums.diagonal().sum(), scaled)
    return gradient.permute(0, 2, 3, 1).flatten(1) != 0


def sub_pixels(image_shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Row, column and channel in the order of drawing."""
    channels, height, width = image_shape
    return list(itertools.product(range(height), range(width), range(channels)))


def expected(
    image_shape: tuple[int, int, int], sees: Callable[[tuple[int, int], tuple[int, int]], bool]
) -> torch.Tensor:
    """A dependence map from what a pixel sees of others; of its own channels it sees those before."""
    places = sub_pixels(image_shape)
    rows = [
        [c < channel if (i, j) == (row, column) else sees((row, column), (i, j)) for i, j, c in places]
        for row, column, channel in places
    ]
    return torch.tensor(rows)


def past(pixel: tuple[int, int], other: tuple[int, int]) -> bool:
    return other < pixel


# What each pixel sees


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("image_shape", [(1, 11, 11), (1, 4, 13), (3, 4, 9)])
def test_row_lstm_sees_a_triangle(image_shape: tuple[int, int, int], n_layers: int) -> None:
    """K_ss widens the context by one column a row on both sides, K_is by one on the left a layer; 7x7 comes before.

    d rows up: on the left d columns from K_ss, one a layer from K_is, and three from the first layer's own row. On the
    right d - 1 and three, since the first layer sees to the right only from the row below.
    """

    def sees(pixel: tuple[int, int], other: tuple[int, int]) -> bool:
        rows_up, to_the_right = pixel[0] - other[0], other[1] - pixel[1]
        right = rows_up + 2 if rows_up else -1
        return rows_up >= 0 and -(rows_up + n_layers + 3) <= to_the_right <= right

    model = build(RowLSTM, image_shape, n_layers=n_layers, width=3)
    assert torch.equal(dependence(model), expected(image_shape, sees))


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("image_shape", [(1, 8, 8), (1, 4, 13), (1, 13, 4), (1, 1, 9), (1, 9, 1), (3, 3, 9), (3, 6, 3)])
def test_diagonal_bilstm_sees_all_the_past(image_shape: tuple[int, int, int], n_layers: int) -> None:
    """Every sub-pixel before, and no other, from every sub-pixel, with one layer already."""
    model = build(DiagonalBiLSTM, image_shape, n_layers=n_layers, width=3)
    assert torch.equal(dependence(model), expected(image_shape, past))


def test_the_right_lstm_must_read_the_pixel_itself() -> None:
    """Without it the last pixel of the row above is seen only three columns to its left, where the 7x7 kernel ends."""
    model = build(DiagonalBiLSTM, (1, 4, 9), n_layers=3, width=3)
    with torch.no_grad():
        model.layers[0].pixel_to_right.weight.zero_()

    def sees(pixel: tuple[int, int], other: tuple[int, int]) -> bool:
        return other < pixel and not (other == (pixel[0] - 1, 8) and pixel[1] < 8 - 3)

    assert torch.equal(dependence(model), expected((1, 4, 9), sees))


def test_clearing_a_row_in_place_of_the_shift_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The known error of published code: the pixel itself, and those right of it, reach its own logits."""
    model = build(DiagonalBiLSTM, (1, 4, 5), n_layers=1, width=3)
    monkeypatch.setattr(diagonal_bilstm, "shift_down", lambda x: F.pad(x[:, :, :-1], (0, 0, 0, 1)))
    seen = dependence(model)
    assert seen.diagonal()[:15].all()  # in all rows but the last
    assert not torch.equal(seen, expected((1, 4, 5), past))


def test_shift_down() -> None:
    x = torch.arange(12.0).view(1, 1, 4, 3)
    assert shift_down(x)[0, 0].tolist() == [[0, 0, 0], [0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_every_gate_is_masked_as_its_features_are(groups: int) -> None:
    """The mask of the 4h features, regrouped by gate, is four times the mask of h features."""
    wanted = MaskedConv2d(12, 6, 3, mask="B", groups=groups, rows_above=0).mask
    mask = RowLSTMLayer(6, groups).input_to_state.mask.unflatten(0, (groups, 4, -1))
    for gate in range(4):
        assert torch.equal(mask[:, gate].flatten(0, 1), wanted)


# The recurrences, written out


def step(sums: torch.Tensor, c: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 3 for one pixel, (B, 4h) and (B, h): one channel group and one gate after the other."""
    h_parts, c_parts = [], []
    size = c.shape[1] // groups
    for group in range(groups):
        o, f, i, g = (sums[:, (4 * group + gate) * size :][:, :size] for gate in range(4))
        c_new = f.sigmoid() * c[:, group * size :][:, :size] + i.sigmoid() * g.tanh()
        h_parts.append(o.sigmoid() * c_new.tanh())
        c_parts.append(c_new)
    return torch.cat(h_parts, 1), torch.cat(c_parts, 1)


@pytest.mark.parametrize(("groups", "height", "width"), [(1, 4, 5), (3, 5, 3), (1, 1, 4), (3, 4, 1)])
def test_both_directions_in_one_product_equal_two_loops_over_pixels(groups: int, height: int, width: int) -> None:
    network = build(DiagonalBiLSTM, (groups, height, width))
    x = torch.randn(2, 12, height, width, dtype=torch.float64)
    pixels = torch.randn(2, groups, height, width, dtype=torch.float64)
    for layer in network.layers:
        left, right = layer.input_to_left(x), layer.input_to_right(x)
        if layer.pixel_to_right is not None:
            right = right + layer.pixel_to_right(pixels)
        states = one_direction(layer, 0, left)
        from_right = one_direction(layer, 1, right.flip(3)).flip(3)
        states[:, :, 1:] += from_right[:, :, :-1]
        torch.testing.assert_close(layer(x, pixels, network.skew), x + layer.lift(states), rtol=0, atol=1e-12)


def one_direction(layer: DiagonalLayer, direction: int, sums: torch.Tensor) -> torch.Tensor:
    """h of all pixels, (B, h, H, W), from left to right, row by row, pixel by pixel."""
    batch, _, height, width = sums.shape
    weight = layer.state_to_state[direction]
    states = {}
    for i, j in itertools.product(range(height), range(width)):
        if j == 0:
            states[i, -1] = layer.first_h[direction].expand(batch, -1)
            c = layer.first_c[direction].expand(batch, -1)
        above = states[i - 1, j] if i else torch.zeros_like(states[i, -1])
        states[i, j], c = step(sums[:, :, i, j] + torch.cat((above, states[i, j - 1]), 1) @ weight, c, layer.groups)
    return torch.stack([states[i, j] for i in range(height) for j in range(width)], 2).unflatten(2, (height, width))


@pytest.mark.parametrize(("groups", "height", "width"), [(1, 4, 5), (3, 5, 3), (1, 1, 4), (3, 4, 1)])
def test_row_lstm_equals_a_loop_over_pixels(groups: int, height: int, width: int) -> None:
    layer = build(RowLSTM, (groups, height, width)).layers[0]
    x = torch.randn(2, 12, height, width, dtype=torch.float64)
    sums = layer.input_to_state(x)
    row = [(layer.first_h.expand(2, -1), layer.first_c.expand(2, -1))] * width
    rows = []
    for i in range(height):
        nothing = torch.zeros(2, 6, dtype=torch.float64)
        h = [nothing, *(h for h, _ in row), nothing]
        row = [
            step(sums[:, :, i, j] + torch.cat(h[j : j + 3], 1) @ layer.state_to_state, row[j][1], groups)
            for j in range(width)
        ]
        rows.append(torch.stack([h for h, _ in row], 2))
    torch.testing.assert_close(layer(x), x + layer.lift(torch.stack(rows, 2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 6), (6, 3), (1, 5), (5, 1), (1, 1)])
def test_skewing_and_its_inverse(height: int, width: int) -> None:
    """Column k of the skewed map holds the pixels with i + j = k, from top to bottom; of the mirror image, too."""
    left, right = torch.randn(2, 3, 2, height, width)  # 2 times B F H W
    skew = Skew(height, width)
    diagonals = skew(left, right)
    assert len(diagonals) == width + height - 1
    for k, diagonal in enumerate(diagonals):
        places = [(i, k - i) for i in range(height) if 0 <= k - i < width]
        assert torch.equal(diagonal[0], torch.stack([left[:, :, i, j] for i, j in places]))
        assert torch.equal(diagonal[1], torch.stack([right.flip(3)[:, :, i, j] for i, j in places]))
    for back, x in zip(skew.undo(diagonals, width), (left, right), strict=True):
        assert torch.equal(back, x)


# Likelihood, gradients, samplers


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("image_shape", [(1, 3, 3), (3, 1, 3), (3, 3, 1)])
def test_the_probabilities_of_all_binary_pictures_sum_to_one(
    image_shape: tuple[int, int, int], model: type[PixelRNN]
) -> None:
    network = build(model, image_shape)
    pictures = torch.tensor(list(itertools.product((0, 1), repeat=9))).view(512, *image_shape)
    with torch.no_grad():
        probabilities = network.log_prob(pictures, batch_size=512).exp()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-6)
    assert float(probabilities.max() / probabilities.min()) > 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_parameter_gets_a_gradient(channels: int, model: type[PixelRNN]) -> None:
    network = build(model, (channels, 4, 5))
    images = random_images((channels, 4, 5))
    with no_dead_relus():
        network.nats(images, network(images)).sum().backward()
    for name, parameter in network.named_parameters():
        shown = getattr(network.get_submodule(name.rpartition(".")[0]), "mask", None)
        hidden = shown == 0 if shown is not None and name.endswith("weight") else torch.zeros_like(parameter).bool()
        assert (parameter.grad[~hidden] != 0).float().mean() > 0.99, name
        assert not parameter.grad[hidden].any(), name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("image_shape", "levels"), SHAPES)
def test_cached_logits_equal_the_full_forward_to_rounding(
    image_shape: tuple[int, int, int], levels: int, model: type[PixelRNN]
) -> None:
    """Fed with given pixels every logit agrees to 1e-12, after a reset as before it."""
    full = build(model, image_shape, levels, n_layers=3)
    with torch.no_grad():
        network = full.cached(3)
        for seed in range(2):
            images = (random_images(image_shape, levels, n=3) + seed) % levels
            logits = full(images)
            network.reset()
            for row, column, channel in sub_pixels(image_shape):
                if column == channel == 0:
                    network.start_row()
                torch.testing.assert_close(
                    network.logits(column, channel), logits[:, :, channel, row, column], rtol=0, atol=1e-12
                )
                network.put(column, channel, images[:, channel, row, column])


def samples(model: PixelRNN, n: int, method: str, device: str = "cpu") -> torch.Tensor:
    options = {"method": method, "temperature": 1.0, "given": None, "given_rows": 0}
    request = SampleRequest(seed=5, indices=range(n), device=torch.device(device), options=options)
    return draw(model, request).cpu()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("image_shape", "levels"), SHAPES)
def test_cached_equals_naive(image_shape: tuple[int, int, int], levels: int, model: type[PixelRNN]) -> None:
    network = build(model, image_shape, levels).float()
    naive = samples(network, 4, "naive")
    assert torch.equal(naive, samples(network, 4, "cached"))
    assert naive.unique().numel() > 1


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_the_graph_on_a_gpu_draws_the_same_pictures(model: type[PixelRNN]) -> None:
    network = build(model, (3, 6, 5), 256)
    ours = samples(network, 8, "cached")
    network.cuda()
    assert torch.equal(samples(network, 8, "cached", "cuda"), ours)
    assert torch.equal(samples(network, 8, "naive", "cuda"), ours)


# Construction


def test_a_width_that_the_channels_do_not_divide_is_named() -> None:
    for model in MODELS:
        with pytest.raises(ValueError, match="width must be a multiple of the 3 channels; take 129, not 128"):
            model(image_shape=(3, 8, 8), width=128)
        with pytest.raises(ValueError, match="at least 1"):
            model(image_shape=(3, 8, 8), n_layers=0)


@pytest.mark.parametrize(("spec", "model"), list(zip(plugin.zoo_models(), MODELS, strict=True)))
def test_presets_build(spec: zoo.ModelSpec, model: type[PixelRNN]) -> None:
    """And have as many parameters as the layers' sizes say."""
    for name, config in ((name, preset.model) for name, preset in spec.presets.items()):
        with torch.device("meta"):
            network = plugin.zoo_build(spec, config)
        assert type(network) is model
        h, head, n, c = config["width"], config["head_width"], config["n_layers"], config["image_shape"][0]
        lift = 2 * h * (h + 1)
        if model is RowLSTM:
            layer = 4 * h * (2 * h * 3 + 1) + 3 * h * 4 * h + 2 * h + lift
        else:
            layer = 2 * (4 * h * (2 * h + 1) + 2 * h * 4 * h + 2 * h) + lift
        pixel = 4 * h * c if model is DiagonalBiLSTM else 0
        outputs = c * config["levels"]
        ends = 2 * h * (c * 4 * 7 + 1) + head * (2 * h + 1) + outputs * (head + 1)
        assert sum(p.numel() for p in network.parameters()) == n * layer + pixel + ends, name
