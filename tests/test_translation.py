"""pix2pix: both networks as in the paper, dropout by request, losses as named, other programs' weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import zoo
from zoo import building, media
from zoo.errors import DataError, OptionError, WeightsError
from zoo.settings import Settings
from zoo.testing import kit
from zoo.train.accelerator import make_accelerator

zoo.models()  # puts plugins/ on the path
from zoo_translation import pix2pix_import, small  # noqa: E402
from zoo_translation.networks import PATCHES, Norm, PatchGAN, ResNetGenerator, patch_scores  # noqa: E402
from zoo_translation.pix2pix_spec import ABLATION  # noqa: E402
from zoo_translation.training import falling, jitter  # noqa: E402

TINY = {"image_shape": (3, 16, 16), "width": 8, "width_max": 16, "discriminator_width": 8, "patch": 16}


def count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build("pix2pix", **{**TINY, **config}).eval()


def make_trainer(model: Any, batch_size: int = 2, accumulate: int = 1, **recipe: Any) -> Any:
    settings = Settings(
        model=model.spec.name, data="-", out="", batch_size=batch_size, accumulate=accumulate, device="cpu"
    )
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), recipe)


def step(model: Any, seed: int = 0, batch: dict[str, Any] | None = None, **recipe: Any) -> dict[str, float]:
    batch = batch or kit.random_batch(model, 2)
    torch.manual_seed(seed)
    return {k: float(v) for k, v in make_trainer(model.train(), **recipe).step(batch, 0).items()}


# Networks


def test_parameter_counts_of_the_paper() -> None:
    with torch.device("meta"):
        torch_form, without = zoo.build("pix2pix", biases=True), zoo.build("pix2pix")
    assert (count(torch_form.generator), count(torch_form.discriminator)) == (54_419_459, 2_769_601)
    assert (count(without.generator), count(without.discriminator)) == (54_414_531, 2_768_705)


def test_the_size_decides_how_deep_a_unet_is() -> None:
    for side, depth in ((256, 8), (128, 7), (64, 6), (32, 5), (512, 8), (96, 5)):
        with torch.device("meta"):
            assert len(zoo.build("pix2pix", image_shape=(3, side, side), patch=16).generator.encoder) == depth


def test_the_resnet_of_pix2pixhd_has_its_size() -> None:
    """182.5 million with 36 channels in, and the scales and shifts of normalisations that it has none of."""
    with torch.device("meta"):
        network = ResNetGenerator(36, 3, downs=4, blocks=9, width=64, width_max=1024, norm="instance", biases=True)
    norms = sum(count(module) for module in network.modules() if isinstance(module, Norm))
    assert round((count(network) - norms) / 1e6, 1) == 182.5


@pytest.mark.parametrize("patch", PATCHES)
def test_receptive_field_of_a_patch(patch: int) -> None:
    torch.manual_seed(0)
    network = PatchGAN(1, patch=patch, width=1, width_max=1, norm="instance", biases=True)
    network.norms = nn.ModuleList(nn.Identity() for _ in network.norms)  # whose statistics are of the whole picture
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    side = -(-2 * patch // 32) * 32 + 32
    picture = torch.rand(1, 1, side, side, requires_grad=True)
    scores = network(picture)
    assert scores.shape[2] == patch_scores(side, patch)
    middle = scores.shape[2] // 2
    (slope,) = torch.autograd.grad(scores[0, 0, middle, middle], picture)
    assert int((slope[0, 0] != 0).any(0).sum()) == int((slope[0, 0] != 0).any(1).sum()) == patch


def test_batch_statistics_are_those_of_a_sample_where_it_is_alone_or_not_trained_on() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4) * 5 + 1
    batch, instance = Norm(3, "batch"), Norm(3, "instance")
    alone = torch.cat([batch(x[:1]), batch(x[1:])])
    assert torch.allclose(alone, instance(x), atol=1e-6)
    assert torch.allclose(alone, batch.eval()(x), atol=1e-6)
    assert not torch.allclose(alone, batch.train()(x), atol=1e-2)
    assert torch.allclose(batch(x), F.batch_norm(x, None, None, training=True), atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_layers_of_few_positions_equal_convolutions(bias: bool) -> None:
    torch.manual_seed(0)
    down, up = nn.Conv2d(3, 5, 4, 2, 1, bias=bias).double(), nn.ConvTranspose2d(3, 5, 4, 2, 1, bias=bias).double()
    for shape in ((2, 3, 2, 2), (1, 3, 4, 8), (3, 3, 6, 4)):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for fast, layer in ((small.halve, down), (small.double, up)):
            ours, reference = fast(layer, x), layer(x)
            assert torch.allclose(ours, reference, atol=1e-12)
            slopes = [torch.autograd.grad(y.square().sum(), (x, layer.weight)) for y in (ours, reference)]
            assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(*slopes, strict=True))


# Sampling


@pytest.mark.parametrize("config", [{}, {"norm": "instance"}, {"generator": "resnet", "blocks": 2}])
def test_dropout_is_noise_of_the_request(config: dict[str, Any]) -> None:
    model = build(**config)
    condition = model.examples(3)["condition"]
    first = model.sample(3, seed=1, condition=condition)
    assert torch.equal(first, model.sample(3, seed=1, condition=condition))
    assert not torch.equal(first, model.sample(3, seed=2, condition=condition))
    same = model.sample(2, seed=1, condition=condition[:1])
    assert not torch.equal(same[0], same[1])  # one condition, two samples
    mates = condition.clone()
    mates[1:] = 255 - mates[1:]
    alone = model.sample(3, seed=1, condition=mates)[0]
    assert (alone.int() - first[0].int()).abs().max() <= 1
    still = build(**config, dropout_layers=())
    assert torch.equal(
        still.sample(1, seed=1, condition=condition[:1]), still.sample(1, seed=2, condition=condition[:1])
    )


def test_half_of_the_features_are_dropped() -> None:
    model = build(image_shape=(3, 32, 32))
    shapes = model.generator.mask_shapes(32, 32)
    assert shapes == {"decoder 0": (16, 2, 2), "decoder 1": (16, 4, 4), "decoder 2": (16, 8, 8)}
    drawn: list[dict[str, torch.Tensor]] = []
    model.generator.register_forward_pre_hook(lambda module, inputs: drawn.append(inputs[1]))
    model.sample(8, **model.examples(8))
    for name, mask in drawn[0].items():
        assert mask.shape == (8, *shapes[name])
        assert set(mask.unique().tolist()) == {0, 1}
        assert mask.mean().item() == pytest.approx(0.5, abs=0.1)
    kept = {name: torch.full((1, *shape), 0.5) for name, shape in shapes.items()}  # half of it, doubled: as it is
    x = torch.randn(1, 3, 32, 32)
    model.generator.dropout = set()
    plain = model(x)
    model.generator.dropout = {0, 1, 2}
    assert torch.allclose(model(x, kept), plain)
    assert not torch.allclose(model(x), plain)


def test_a_condition_may_have_other_channels_or_be_a_label_map() -> None:
    edges = build(condition_channels=1)
    assert edges.batch_shapes == {"image": (3, 16, 16), "condition": (1, 16, 16)}
    assert edges.sample(2, **edges.examples(2)).shape == (2, 3, 16, 16)
    maps = build(condition_channels=1, condition_classes=4)
    given = maps.examples(2)["condition"]
    hot = maps.encode(given)
    assert hot.shape == (2, 4, 16, 16)
    assert torch.equal(hot.argmax(1, keepdim=True), given.long())
    assert torch.equal(hot.sum(1), torch.ones(2, 16, 16))
    assert maps.sample(2, condition=given).shape == (2, 3, 16, 16)
    with pytest.raises(OptionError, match="option 'condition' has the value 9, but its classes are 0 to 3"):
        maps.sample(1, condition=torch.full((1, 1, 16, 16), 9, dtype=torch.uint8))
    with pytest.raises(DataError, match="a condition has the value 9, but classes are 0 to 3"):
        step(maps, batch={"image": torch.zeros(2, 3, 16, 16), "condition": torch.full((2, 1, 16, 16), 9)})


@pytest.mark.parametrize("name", ["pix2pix", "vid2vid", "everybody_dance_now"])
def test_random_batches_have_maps_of_the_classes(name: str) -> None:
    """With which `zoo check` trains."""
    model = zoo.build(name, preset="tiny", condition_channels=1, condition_classes=3)
    assert kit.random_batch(model, 2)["condition"].unique().tolist() == [0, 1, 2]
    assert all(loss.isfinite() for loss in make_trainer(model).step(kit.random_batch(model, 2), 0).values())


def test_bad_conditions_are_named() -> None:
    model = build()
    with pytest.raises(OptionError, match="pix2pix draws from a picture; it needs condition=PICTURE"):
        model.sample(1)
    for shape in ((1, 1, 16, 16), (1, 3, 16, 8), (3, 16, 16)):
        with pytest.raises(OptionError, match=r"option 'condition' takes uint8 \(N, 3, 16, 16\), not"):
            model.sample(shape[0], condition=torch.zeros(shape, dtype=torch.uint8))
    picture = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    wanted = r"^option 'condition' takes pictures, a uint8 tensor \(N, C, H, W\), not [^\n]{1,100}$"
    for other in (5, "a.png", object(), picture.numpy(), [picture], torch.tensor(3), [None], iter(picture)):
        with pytest.raises(OptionError, match=wanted):
            model.sample(condition=other)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"patch": 286}, "patch 286 is too large for 16x16 pixels; take 1, 16"),
        ({"image_shape": (3, 20, 20)}, "a U-Net halves both sides at least 3 times, which 20x20 does not allow"),
        ({"condition_classes": 4}, "condition_classes needs one channel and 2 to 256 classes, not 3 and 4"),
        ({"image_shape": (2, 16, 16)}, "image_shape must be"),
        ({"generator": "resnet", "image_shape": (3, 18, 18)}, "2 halvings do not divide 18x18"),
        ({"generator": "resnet", "image_shape": (3, 4, 8), "patch": 1}, "4x8 is too small for 2 halvings, which must"),
        ({"dropout_layers": (0, -1)}, "dropout_layers are counted from 0"),
        ({"generator": "resnet", "blocks": 0}, "a ResNet needs at least one block, not 0"),
    ],
)
def test_networks_that_make_no_sense_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build(**config)


# Training


def test_the_ablation_trains_what_its_names_say() -> None:
    metrics = {}
    for name, (network, recipe) in ABLATION.items():
        model = build(**network)
        metrics[name] = step(model, **recipe)
        if model.discriminator is not None:
            assert model.discriminator.layers[0].in_channels == (6 if name.endswith("cgan") else 3)
    assert set(metrics["l1"]) == {"l1"}
    assert all(set(metrics[name]) == {"l1", "generator", "discriminator", "real_score"} for name in list(ABLATION)[1:])
    for name, (network, recipe) in ABLATION.items():
        weighted = []
        for weight in (1.0, 1000.0):
            model = build(**network)
            before = copy.deepcopy(model.generator)
            step(model, **recipe, l1_weight=weight)
            parts = zip(model.generator.parameters(), before.parameters(), strict=True)
            weighted.append(torch.cat([(new - old).flatten() for new, old in parts]))
            assert weighted[-1].abs().max() > 0
        low, high = weighted
        matters = bool((low - high).abs().mean() > 0.05 * low.abs().mean())
        assert matters == (name in ("l1-gan", "l1-cgan")), name  # Adam steps alike for any multiple of one loss


def test_losses_and_discriminator_must_fit() -> None:
    for config, losses, mend in (
        ({}, "gan", "set conditional=false"),
        ({"conditional": False}, "l1+cgan", "set conditional=true"),
        ({"discriminator": False}, "cgan", "set discriminator=true, or losses=l1"),
    ):
        with pytest.raises(OptionError, match=mend):
            make_trainer(build(**config), losses=losses)


@pytest.mark.parametrize("network", [{}, {"generator": "resnet", "blocks": 1}, {"patch": 1}])
def test_each_player_moves_by_its_own_gradient_alone(network: dict[str, Any]) -> None:
    """One pass of the discriminator serves both; its weights get no gradient of the generator's loss."""
    model, reference = build(**network, dropout_layers=()), build(**network, dropout_layers=())
    batch = kit.random_batch(model, 2)
    trainer = make_trainer(model.train())
    seen = {}
    for name, player in trainer.players.items():
        honest = player.optimizer.step

        def keep(name: str = name, honest: Any = honest) -> None:
            seen[name] = [p.grad.clone() for p in getattr(model, name).parameters()]
            honest()

        player.optimizer.step = keep
    trainer.step(batch, 0)
    condition, image = (batch[key].float() / 127.5 - 1 for key in ("condition", "image"))
    reference.train()
    fake = reference(condition)
    made = reference.discriminator(torch.cat([condition, fake], 1))
    loss = F.softplus(-made).mean() + 100 * (fake - image).abs().mean()
    wanted = torch.autograd.grad(loss, list(reference.generator.parameters()))
    for ours, theirs in zip(seen["generator"], wanted, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
        assert theirs.abs().max() > 0
    made = reference.discriminator(torch.cat([condition, fake.detach()], 1))
    real = reference.discriminator(torch.cat([condition, image], 1))
    loss = (F.softplus(-real).mean() + F.softplus(made).mean()) / 2
    for ours, theirs in zip(
        seen["discriminator"], torch.autograd.grad(loss, list(reference.discriminator.parameters())), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)
        assert theirs.abs().max() > 0


def test_accumulated_parts_add_up_where_samples_are_normalised_alone() -> None:
    whole, parts = (build(norm="instance", dropout_layers=()).train() for _ in range(2))
    batch = kit.random_batch(whole, 4)
    make_trainer(whole, 4).step(batch, 0)
    trainer = make_trainer(parts, 4, accumulate=2)
    for half in (slice(0, 2), slice(2, 4)):
        with trainer.accelerator.accumulate(*trainer.modules().values()):
            trainer.step({name: value[half] for name, value in batch.items()}, 0)
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        assert (ours - theirs).abs().mean() < 1e-5


def test_jitter_moves_both_pictures_alike() -> None:
    torch.manual_seed(0)
    picture = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    ids = torch.randint(0, 5, (4, 1, 16, 16), dtype=torch.uint8)
    first, second, labels = jitter([picture, picture, ids], 4, mirror=True, nearest=[False, False, True])
    assert torch.equal(first, second)
    assert first.shape == picture.shape
    assert not torch.equal(first, picture.float())
    assert labels.dtype == torch.uint8
    assert torch.equal(jitter([picture], 0, mirror=False, nearest=[False])[0], picture)
    picture = picture.repeat(4, 1, 1, 1)
    flipped = jitter([picture], 0, mirror=True, nearest=[False])[0]
    kinds = [(torch.equal(a, b), torch.equal(a, b.flip(2))) for a, b in zip(flipped, picture, strict=True)]
    assert {(True, False), (False, True)} == set(kinds)


def test_jittered_label_maps_stay_label_maps() -> None:
    model = build(condition_channels=1, condition_classes=4)
    condition, image = make_trainer(model, jitter=4, mirror=True)._pairs(kit.random_batch(model, 2))
    assert torch.equal(condition.sum(1), torch.ones(2, 16, 16))
    assert (image.mul(127.5) % 1).abs().max() > 0  # which pictures need not


def test_the_learning_rate_falls_at_the_end() -> None:
    assert [falling(seen, 100, 0.5) for seen in (0, 49, 50, 75, 100)] == [1, 1, 1, 0.5, 0]
    assert falling(100, 100, 1.0) == 1
    with pytest.raises(OptionError, match="constant must be from 0 to 1, not 2"):
        make_trainer(build(), constant=2.0)


# Weights of other programs


def nested(depth: int, width: int, *, biases: bool) -> dict[str, torch.Tensor]:
    """The state dict of a U-Net as nested blocks, with random values."""
    torch.manual_seed(0)
    widths = [width * min(2**i, 8) for i in range(depth)]
    state: dict[str, torch.Tensor] = {}
    prefix = "model.model."
    for i, own in enumerate(widths):
        outer, inner = (3 if i == 0 else widths[i - 1]), i == depth - 1
        down, up = (0, 3) if i == 0 else (1, 3 if inner else 5)
        state[f"{prefix}{down}.weight"] = torch.randn(own, outer, 4, 4) * 0.1
        state[f"{prefix}{up}.weight"] = torch.randn(own * (1 if inner else 2), outer, 4, 4) * 0.1
        if i == 0 or biases:
            state[f"{prefix}{up}.bias"] = torch.randn(outer)
        if biases:
            state[f"{prefix}{down}.bias"] = torch.randn(own)
        for place, channels in ((None if i == 0 or inner else 2, own), (None if i == 0 else up + 1, outer)):
            if place is not None and not biases:
                state[f"{prefix}{place}.weight"], state[f"{prefix}{place}.bias"] = torch.randn(2, channels)
                state[f"{prefix}{place}.running_mean"] = torch.randn(channels)
                state[f"{prefix}{place}.num_batches_tracked"] = torch.tensor(7)
        prefix += "1.model." if i == 0 else "3.model."
    return state


def run(state: dict[str, torch.Tensor], x: torch.Tensor, prefix: str = "model.model.") -> torch.Tensor:
    """What those blocks calculate, without dropout and by the statistics of the picture."""

    def layer(place: int, name: str) -> torch.Tensor | None:
        return state.get(f"{prefix}{place}.{name}")

    def norm(place: int, y: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(y, None, None, layer(place, "weight"), layer(place, "bias"), training=True)

    if prefix == "model.model.":
        inside = run(state, F.conv2d(x, layer(0, "weight"), layer(0, "bias"), 2, 1), prefix + "1.model.")
        return F.conv_transpose2d(inside.relu(), layer(3, "weight"), layer(3, "bias"), 2, 1).tanh()
    activated = F.leaky_relu(x, 0.2)
    inside = F.conv2d(activated, layer(1, "weight"), layer(1, "bias"), 2, 1)
    up = 5 if f"{prefix}5.weight" in state else 3
    if up == 5:
        inside = run(state, norm(2, inside), prefix + "3.model.")
    outside = norm(up + 1, F.conv_transpose2d(inside.relu(), layer(up, "weight"), layer(up, "bias"), 2, 1))
    return torch.cat([activated, outside], 1)


@pytest.mark.parametrize(("depth", "biases"), [(5, False), (7, True)])
def test_a_unet_of_nested_blocks_calculates_the_same(depth: int, biases: bool, tmp_path: Path) -> None:
    state = nested(depth, 2, biases=biases)
    torch.save(state, tmp_path / "latest_net_G.pth")
    config, ours = pix2pix_import.read(tmp_path / "latest_net_G.pth")
    assert config["norm"] == ("instance" if biases else "batch")
    assert config["dropout_layers"] == tuple(range(1, depth - 4))
    model = zoo.build("pix2pix", **config).eval()
    model.load_state_dict(ours)
    x = torch.randn(1, 3, 2**depth, 2**depth)
    kept = {
        name: torch.full((1, *shape), 0.5) for name, shape in model.generator.mask_shapes(2**depth, 2**depth).items()
    }
    wanted = run(state, x)
    assert wanted.std() > 0.1
    assert torch.allclose(model(x, kept), wanted, atol=1e-5)


def test_files_that_hold_no_unet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    lacking = nested(5, 2, biases=True)
    del lacking["model.model.3.weight"]
    for content, message in (
        ({"model.1.weight": torch.zeros(2)}, "holds no U-Net"),
        (lacking, "holds no U-Net of pix2pix: a block of it has no '3.weight'"),
        ([1, 2], "holds no state dict"),
        (Path("x"), "is no file of weights alone"),
    ):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=message):
            pix2pix_import.read(path)
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(WeightsError, match="is no file of weights alone"):
        pix2pix_import.read(path)


def test_a_label_map_with_a_palette_is_read_as_numbers(tmp_path: Path) -> None:
    from PIL import Image

    from zoo.cli.options import read_pictures

    model = build(condition_channels=1, condition_classes=4)
    ids = model.examples(1)["condition"]
    picture = Image.fromarray(ids[0, 0].numpy(), "L").convert("P")
    picture.putdata(ids.flatten().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "map.png")
    assert torch.equal(read_pictures(model, "condition", [tmp_path / "map.png"]), ids)


def test_examples_are_of_the_kind_that_the_model_draws_from() -> None:
    """Maps of two classes are lines, as edges are; those of more classes are areas, in all of them."""
    lines, areas = (zoo.build("pix2pix", **TINY, condition_channels=1, condition_classes=k) for k in (2, 5))
    strokes, labels = (model.examples(20)["condition"] for model in (lines, areas))
    assert strokes.unique().tolist() == [0, 1]
    assert strokes.float().mean() < 0.4
    assert labels.unique().tolist() == [0, 1, 2, 3, 4]
    assert lines.sample(2, condition=strokes[:2]).shape == (2, *lines.image_shape)


def test_white_lines_on_black_are_a_map_of_two_classes(tmp_path: Path) -> None:
    """As people draw them; of more classes 255 is none."""
    lines = torch.zeros(1, 16, 16, dtype=torch.uint8)
    lines[:, 4] = 1
    media.write_image(255 * lines, tmp_path / "lines.png")
    read = media.read_images([tmp_path / "lines.png"], 1, ids=True, classes=2)
    assert torch.equal(read[0], lines)
    with pytest.raises(DataError, match="has the value 255, but its classes are 0 to 2"):
        media.read_images([tmp_path / "lines.png"], 1, ids=True, classes=3)
