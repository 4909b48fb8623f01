"""The StyleGAN family: the papers' parameter counts, rows of their tables, layers, growing, sampling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import zoo
from zoo import building
from zoo.errors import OptionError
from zoo.nn.adversarial import from_pixels, to_pixels

zoo.models()  # puts plugins/ on the path
from zoo_stylegan import layers, stylegan2, winograd  # noqa: E402
from zoo_stylegan.gan import GAN, Growth  # noqa: E402
from zoo_stylegan.layers import downsample, fir, halved, minibatch_stddev, upsample  # noqa: E402
from zoo_stylegan.mapping import truncate  # noqa: E402
from zoo_stylegan.progan import DownConv, UpConv  # noqa: E402
from zoo_stylegan.stylegan2 import SynthesisLayer, modulated_conv2d  # noqa: E402

SMALL: dict[str, Any] = {"resolution": 16, "latent_size": 12, "width_base": 128, "width_max": 12}
SMALL_STYLE: dict[str, Any] = {**SMALL, "w_size": 10, "mapping_layers": 2}


def build(name: str, preset: str | None = None, seed: int = 0, **overrides: Any) -> Any:
    torch.manual_seed(seed)
    return zoo.build(name, preset, **overrides).eval()


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def trained(model: GAN, seed: int = 1) -> Any:
    """The model with all that starts at zero set to something, the mean w too."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith(("noise_strength", "bias", "mean_w")):
            value.add_(torch.randn(value.shape, generator=generator) * 0.3)
    return model


# Parameter counts; noise maps and the mean w are no parameters


@pytest.mark.parametrize(
    ("name", "preset", "resolution", "generator", "discriminator"),
    [
        ("progan", None, 1024, 23_079_115, 23_087_249),
        # 512 more than ports that give the learned constant no bias; the official total
        ("stylegan", "F", 1024, 26_219_627, 23_087_249),
        ("stylegan2", "A", 1024, 26_219_627, 23_087_249),
        ("stylegan2", "E", 1024, 24_900_764, 24_038_161),
        ("stylegan2", "F", 1024, 30_370_060, 29_012_513),
        ("stylegan2", "E", 256, 24_767_458, 24_001_089),
        ("stylegan2", "F", 256, 30_034_338, 28_864_129),
    ],
)
def test_parameter_counts_are_those_of_the_papers(
    name: str, preset: str | None, resolution: int, generator: int, discriminator: int
) -> None:
    with torch.device("meta"):
        model: Any = zoo.build(name, preset, resolution=resolution)
    assert (count(model.generator), count(model.discriminator)) == (generator, discriminator)


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
@pytest.mark.parametrize("row", list("ABCDEF"))
@pytest.mark.parametrize("resolution", [32, 1024])
def test_every_row_of_the_tables_can_be_built(name: str, row: str, resolution: int) -> None:
    with torch.device("meta"):
        model: Any = zoo.build(name, row, resolution=resolution)
        images = model.draw(torch.zeros(4, 512))
        assert images.shape == (4, 3, resolution, resolution)
        assert model.judge(images)[0].shape == (4,)


def test_row_a_of_stylegan_is_progressive_gan() -> None:
    ours = trained(build("stylegan", "A", **SMALL, w_size=12))
    paper = build("progan", **SMALL)
    theirs = {
        "dense.weight": "dense.weight",
        "bias": "epilogues.0.bias",
        "conv.weight": "conv.weight",
        "conv.bias": "epilogues.1.bias",
    }
    for i in range(2):
        theirs |= {f"blocks.{i}.{part}.weight": f"blocks.{i}.{part}.weight" for part in ("up", "conv")}
        theirs |= {f"blocks.{i}.{p}.bias": f"blocks.{i}.epilogues.{n}.bias" for n, p in enumerate(("up", "conv"))}
    state = ours.generator.synthesis.state_dict()
    names = {name: theirs.get(name, name) for name in paper.generator.state_dict()}
    paper.generator.load_state_dict(
        {name: state[names[name]].view_as(value) for name, value in paper.generator.state_dict().items()}
    )
    paper.discriminator.load_state_dict(ours.discriminator.state_dict())
    z = torch.randn(4, 12)
    for lod in (0.0, 0.3, 1.0, 2.0):
        images = paper.draw(z, lod=lod)
        assert torch.allclose(images, ours.draw(z, lod=lod), atol=1e-5)
        assert torch.allclose(paper.judge(images, lod=lod)[0], ours.judge(images, lod=lod)[0], atol=1e-5)


# Layers


def test_demodulated_output_has_unit_variance_for_any_style() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(8, 64, 32, 32), torch.randn(32, 64, 3, 3)
    for style in (torch.ones(8, 64), torch.randn(8, 64), torch.rand(8, 64) * 1000):
        y, factors = modulated_conv2d(x, weight, style)
        spread = (y * factors[..., None, None])[:, :, 1:-1, 1:-1].std((0, 2, 3))
        assert torch.allclose(spread, torch.ones(32), atol=0.05)


@pytest.mark.parametrize("up", [False, True])
def test_scaling_features_equals_scaling_the_weights_of_each_sample(up: bool) -> None:
    torch.manual_seed(0)
    x, weight, style = torch.randn(3, 5, 8, 8), torch.randn(6, 5, 3, 3), torch.randn(3, 5)
    y, factors = modulated_conv2d(x, weight, style, up=up)
    for i in range(3):
        w = weight * style[i].view(1, -1, 1, 1)
        w = w * (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        if up:
            expected = fir(F.conv_transpose2d(x[i : i + 1], w.transpose(0, 1), stride=2), (1, 3, 3, 1), (1, 1), gain=4)
        else:
            expected = F.conv2d(x[i : i + 1], w, padding=1)
        assert torch.allclose(y[i] * factors[i].view(-1, 1, 1), expected[0], atol=1e-5)


@pytest.mark.parametrize(("batch", "inputs", "outputs", "size"), [(1, 256, 260, (32, 36)), (2, 257, 256, (36, 32))])
def test_convolution_by_transforms_equals_the_plain_one(
    batch: int, inputs: int, outputs: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x, bias = torch.randn(batch, inputs, *size), torch.randn(outputs)
    weight = torch.randn(outputs, inputs, 3, 3) / math.sqrt(inputs * 9)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    found = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        found[layout] = winograd.conv2d(x.to(memory_format=layout), weight.to(memory_format=layout), bias)
        assert (found[layout] - expected).abs().max() < 3e-5 * expected.abs().max()
    plain = F.conv2d(x, weight, bias, padding=1)
    assert not torch.equal(found[torch.contiguous_format], plain)  # it was the transforms
    assert torch.equal(winograd.conv2d(x, weight.requires_grad_(), bias), plain)  # not where gradients are wanted
    assert torch.equal(
        winograd.conv2d(x[:, :8], weight[:, :8].detach(), bias), F.conv2d(x[:, :8], weight[:, :8], bias, padding=1)
    )


def test_autocast_takes_the_plain_convolution() -> None:
    """Transforms in bf16 would be off by a tenth of the largest value."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 256, 32, 32), torch.randn(256, 256, 3, 3) / 48
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(winograd.conv2d(x, weight), F.conv2d(x, weight, padding=1))


def test_fp16_stays_finite_with_styles_times_1000() -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(64, 64, 16).requires_grad_(False)
    layer.affine.weight.mul_(1000)
    x, w = torch.randn(4, 64, 16, 16) * 100, torch.randn(4, 16)
    half = layer(x.half(), w, torch.randn(1, 1, 16, 16))
    full = layer(x, w, torch.zeros(1, 1, 16, 16))
    assert half.dtype == torch.float16
    assert half.isfinite().all()
    assert torch.allclose(half.float(), full.clamp(-256, 256), atol=0.02 * float(full.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_draws_nearly_the_same_pictures(dtype: torch.dtype) -> None:
    model = trained(build("stylegan2", **{**SMALL_STYLE, "resolution": 32}))
    z, noise = torch.randn(4, 12), model.generator.synthesis.constant_noise
    with torch.no_grad():
        full = model.generator.synthesis(model.styles(z), noise)
        with torch.autocast("cpu", dtype):
            reduced = model.generator.synthesis(model.styles(z), noise)
    assert reduced.dtype == torch.float32
    assert 0 < (full - reduced).abs().max() < 0.05 * full.abs().max()


def test_only_the_four_highest_resolutions_are_in_reduced_precision() -> None:
    """StyleGAN2-ADA, appendix D.1."""
    sizes = {"resolution": 128, "latent_size": 4, "w_size": 4, "mapping_layers": 1, "width_base": 4, "width_max": 4}
    model = build("stylegan2", **sizes)
    seen: dict[tuple[str, int], set[torch.dtype]] = {}

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        x = output if isinstance(module, SynthesisLayer) else inputs[0]
        seen.setdefault((type(module).__name__, x.shape[-1]), set()).add(x.dtype)

    for module in model.modules():
        if isinstance(module, SynthesisLayer | stylegan2.DiscriminatorBlock):
            module.register_forward_hook(note)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model.judge(model.draw(torch.randn(4, 4)))
    assert len(seen) == 6 + 5
    for (_, size), dtypes in seen.items():
        assert dtypes == {torch.bfloat16 if size >= 16 else torch.float32}


@pytest.mark.parametrize("norm", [layers.pixel_norm, layers.instance_norm])
def test_norms_do_not_overflow_in_fp16(norm: Any) -> None:
    """The square of 256 is more than fp16 holds."""
    torch.manual_seed(0)
    x = (torch.randn(2, 8, 4, 4) * 1000).half()
    assert norm(x).dtype == torch.float16
    assert torch.allclose(norm(x).float(), norm(x.float()), atol=5e-3)


def test_fused_resampling_equals_its_two_steps() -> None:
    torch.manual_seed(0)
    x, up, down = torch.randn(2, 3, 8, 8), UpConv(3, 5), DownConv(3, 5)
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(up(x), F.conv2d(doubled, up.kernel(x), up.bias, padding=1), atol=1e-5)
    assert torch.allclose(down(x), halved(F.conv2d(x, down.kernel(x), down.bias, padding=1)), atol=1e-5)


def test_filtering_up_and_down_is_the_identity_on_smooth_signals() -> None:
    t = torch.arange(32) / 32 * 2 * math.pi
    for frequency, tolerance in ((0, 1e-6), (1, 0.02), (2, 0.06)):
        signal = (torch.cos(frequency * t)[:, None] * torch.cos(frequency * t)[None])[None, None]
        back = downsample(upsample(signal, (1, 3, 3, 1)), (1, 3, 3, 1))
        assert (back - signal)[..., 2:-2, 2:-2].abs().max() <= tolerance


@pytest.mark.parametrize("pad", [(1, 1), (2, 1), (0, 0), (-1, 2), (1, -1)])
@pytest.mark.parametrize("step", [1, 2])
def test_filters_in_bf16_are_those_in_float32(pad: tuple[int, int], step: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 16).bfloat16()
    for taps in ((1, 2, 1), (1, 3, 3, 1)):
        found, expected = (fir(y, taps, pad, 4.0, step) for y in (x, x.float()))
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 0.02 * expected.abs().max()
    assert (upsample(x, taps) - upsample(x.float(), taps)).abs().max() <= 0.05


def test_minibatch_stddev_groups_samples_that_lie_apart() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 4, 4)
    found = minibatch_stddev(x, 4)
    assert torch.equal(found[:, :3], x)
    for first in range(2):
        mean = x[first::2].std(0, unbiased=False).mean()
        assert torch.allclose(found[first::2, 3], mean.expand(4, 4, 4), atol=1e-5)
    assert torch.allclose(minibatch_stddev(x[:3], 4)[:, 3], x[:3].std(0, unbiased=False).mean().expand(3, 4, 4))
    with pytest.raises(ValueError, match="a batch of 6 pictures can't be split into groups of 4"):
        minibatch_stddev(x[:6], 4)


def test_equalised_weights_have_the_scale_of_he_initialisation() -> None:
    torch.manual_seed(0)
    conv = layers.EqualizedConv2d(64, 64, 3).requires_grad_(False)
    dense = layers.EqualizedLinear(512, 512, rate=0.01).requires_grad_(False)
    assert float(conv.weight.std()) == pytest.approx(1, rel=0.02)
    assert float(conv.kernel(torch.ones(())).std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
    assert float(dense.weight.std()) == pytest.approx(100, rel=0.02)
    assert float(dense(torch.randn(256, 512)).std()) == pytest.approx(1, rel=0.02)


def test_bytes_survive_the_round_trip() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_pixels(from_pixels(pixels)), pixels)
    assert from_pixels(pixels).aminmax() == (-1, 1)


# Growing


def test_the_schedule_of_growing() -> None:
    growth = Growth(level=5, start=3, stable=100, fade=50)
    expected = {0: 2, 99: 2, 100: 2, 125: 1.5, 150: 1, 249: 1, 275: 0.5, 300: 0, 10_000: 0}
    assert {seen: growth.lod(seen) for seen in expected} == expected


@pytest.mark.parametrize(
    ("name", "preset"), [("progan", None), ("stylegan", "F"), ("stylegan2", "A"), ("stylegan2", "D")]
)
def test_a_new_resolution_fades_in_without_a_jump(name: str, preset: str | None) -> None:
    model = trained(build(name, preset, **(SMALL if name == "progan" else SMALL_STYLE)))
    for module in model.modules():  # the random noise of the new layers would differ
        if getattr(module, "noise_strength", None) is not None:
            module.noise_strength.data.zero_()
    z = torch.randn(4, 12)
    before, after = model.draw(z, lod=1.0), model.draw(z, lod=1 - 1e-6)
    assert after.shape[-1] == 2 * before.shape[-1] == 16
    enlarged = layers.doubled(before)
    assert torch.allclose(enlarged, after, atol=1e-4)
    between, whole = model.draw(z, lod=0.25), model.draw(z, lod=0.0)
    assert torch.allclose(between, whole.lerp(enlarged, 0.25), atol=1e-4)
    scores = [model.judge(images, lod=lod)[0] for images, lod in ((before, 1.0), (enlarged, 1 - 1e-6))]
    assert torch.allclose(*scores, atol=1e-3)


def test_a_growing_model_samples_at_full_size() -> None:
    model = trained(build("stylegan", "F", **SMALL_STYLE))
    model.lod.fill_(2.0)
    pictures = model.sample(3)
    assert pictures.shape == (3, 3, 16, 16)
    assert torch.equal(pictures, pictures[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))


# Sampling


@pytest.fixture(scope="module")
def model() -> Any:
    return trained(build("stylegan2", **SMALL_STYLE))


@pytest.fixture(scope="module")
def conditional() -> Any:
    return trained(build("stylegan2", **SMALL_STYLE, classes=4))


def test_truncation_pulls_towards_the_picture_of_the_mean_w(model: Any) -> None:
    mean = model.sample(4, truncation=0, noise="constant")
    assert all(torch.equal(mean[0], picture) for picture in mean)
    distances = [
        float((model.sample(4, truncation=psi, noise="constant").float() - mean.float()).abs().mean())
        for psi in (0.25, 0.5, 1.0)
    ]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert not torch.equal(model.sample(4, truncation=0), model.sample(4, truncation=0)[[1, 0, 2, 3]])  # fresh noise


def test_truncation_of_the_first_layers_leaves_the_others() -> None:
    w, mean = torch.randn(2, 6, 3), torch.randn(3)
    found = truncate(w, mean, 0.5, 2)
    assert torch.equal(found[:, 2:], w[:, 2:])
    assert torch.allclose(found[:, :2], (w[:, :2] + mean) / 2)


def test_a_table_of_style_mixing_shows_its_sources(model: Any) -> None:
    table = model.sample(12, mixing=3, mixing_layers=2).unflatten(0, (3, 4))
    styles = model.sample(8, noise="constant")  # sources of rows are even, those of columns odd
    for row in (1, 2):
        assert (table[row, 0].int() - styles[2 * row].int()).abs().max() <= 1
    for column in (1, 2, 3):
        assert (table[0, column].int() - styles[2 * column + 1].int()).abs().max() <= 1
    assert (table[0, 0].int() - model.sample(1, truncation=0, noise="constant")[0].int()).abs().max() <= 1
    w = model.styles(torch.stack([_latent(2 * 1), _latent(2 * 2 + 1)]))
    mixed = model.generator.synthesis(torch.cat([w[:1, :2], w[1:, 2:]], 1), model.generator.synthesis.constant_noise)
    assert (table[1, 2].int() - to_pixels(mixed)[0].int()).abs().max() <= 1


def _latent(index: int) -> torch.Tensor:
    from zoo.seeds import derive_seed

    return torch.randn((12,), generator=torch.Generator().manual_seed(derive_seed(0, index)))


@pytest.mark.parametrize("kind", ["w", "z"])
def test_a_walk_passes_its_latents_and_closes(model: Any, kind: str) -> None:
    frames = model.sample(96, walk=kind, keys=3, steps=16).unflatten(0, (2, 3, 16))  # walk, key, step
    keys = model.sample(6, noise="constant").unflatten(0, (2, 3))
    assert (frames[:, :, 0].int() - keys.int()).abs().max() <= 1
    steps = torch.cat([frames.flatten(1, 2), frames[:, :1, 0]], 1).float().diff(dim=1).abs().mean((2, 3, 4))
    assert steps.max() < (keys.float() - keys.roll(1, 1).float()).abs().mean() / 2  # no frame jumps, nor does the last


def test_classes_change_pictures_and_scores(conditional: Any) -> None:
    pictures = conditional.sample(2, label=1)
    assert torch.equal(pictures, conditional.sample(2, label=[1, 1]))
    assert not torch.equal(pictures, conditional.sample(2, label=2))
    images, label = from_pixels(pictures), torch.tensor([0, 3])
    scores = conditional.judge(images, label)[0]
    assert not torch.allclose(scores, conditional.judge(images, label.flip(0))[0])


def test_samples_without_a_label_draw_one_each(conditional: Any) -> None:
    with torch.no_grad():  # a class is all there is
        conditional.generator.mapping.layers[0].weight[:, :12].zero_()
    pictures = conditional.sample(12, noise="constant").flatten(1)
    classes = conditional.sample(4, label=[0, 1, 2, 3], noise="constant").flatten(1)
    nearest = torch.cdist(pictures.float(), classes.float()).min(1)
    assert nearest.values.max() < 5
    assert len(set(nearest.indices.tolist())) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": 1}, "this model knows no classes"),
        ({"truncation": 1.5}, "takes a number from 0.0 to 1.0, not 1.5"),
        ({"truncation": -0.1}, "takes a number from 0.0 to 1.0, not -0.1"),
        ({"mixing": 2, "mixing_layers": 6}, "takes an integer from 1 to 5, not 6"),
        ({"mixing": 2, "walk": "w"}, "exclude each other"),
    ],
)
def test_sampling_options_that_make_no_sense(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model.sample(2, **options)


def test_a_gan_has_no_likelihood(model: Any) -> None:
    with pytest.raises(OptionError, match="has no tractable likelihood"):
        model.log_prob(torch.zeros(1, *model.image_shape, dtype=torch.uint8))


def test_a_label_outside_the_classes(conditional: Any) -> None:
    with pytest.raises(OptionError, match="takes an integer from 0 to 3, not 4"):
        conditional.sample(2, label=4)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("stylegan2", {"resolution": 48}, "power of two of at least 4, not 48"),
        ("progan", {"resolution": 2}, "power of two of at least 4, not 2"),
        ("stylegan", {"channels": 2}, "channels must be 1 or 3, not 2"),
        ("stylegan2", {"demodulation": False}, "set growing=true too"),
        ("stylegan", {"resolution": 8, "start_resolution": 12}, "power of two of at least 4, not 12"),
        ("progan", {"group": 0}, "group must be at least 1, not 0"),
        ("stylegan", {"width_base": 0}, "width_base and width_max must be at least 1, not 0 and 512"),
        ("stylegan2", {"width_max": -3}, "width_base and width_max must be at least 1, not 16384 and -3"),
        ("stylegan2", {"w_size": 0}, "w_size must be at least 1"),
        ("stylegan", {"mapping_layers": -1}, "mapping_layers not negative, not 512 and -1"),
    ],
)
def test_constructor_arguments_that_make_no_sense(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        zoo.build(name, **config)


def test_released_weights_have_no_discriminator(model: Any) -> None:
    released = model.released()
    assert released.discriminator is None
    assert model.discriminator is not None
    assert released.config == {**model.config, "discriminator": False}
    assert not [name for name in released.state_dict() if name.startswith("discriminator")]
    assert torch.equal(model.sample(2), released.sample(2))


def test_growing_of_stylegan2_keeps_to_what_its_rows_say() -> None:
    rows = {row: zoo.build("stylegan2", row, resolution=8).config for row in "ABCDEF"}
    spec = zoo.build("stylegan2", "tiny").spec
    recipes = {row: building.schema(spec, "recipe").check(spec.preset(row).recipe) for row in "ABCDEF"}
    assert [rows[r]["growing"] for r in "ABCDEF"] == [True] * 4 + [False] * 2
    assert [recipes[r]["r1_every"] for r in "ABCDEF"] == [1, 1, 16, 16, 16, 16]
    assert [recipes[r]["path_length_weight"] for r in "ABCDEF"] == [0, 0, 0, 2, 2, 2]
    assert [recipes[r]["r1_gamma"] for r in "ABCDEF"] == [10, 10, 10, 10, 100, 10]
    assert stylegan2.TAPS == (1, 3, 3, 1)


def test_the_mapping_network_is_in_full_precision_whatever_the_rest_is() -> None:
    model = zoo.build("stylegan2", preset="tiny").eval()
    z = torch.randn(4, model.latent_size)
    with torch.autocast("cpu", torch.bfloat16):
        w = model.generator.mapping(z)
    assert w.dtype == torch.float32
    assert torch.equal(w, model.generator.mapping(z))
