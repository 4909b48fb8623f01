"""Objectives of the GANs: penalties of known value, lazy equals every step, growing, augmentation, resume."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, write_pictures
from test_stylegan import SMALL_STYLE, build
from torch import nn
from torch.nn import functional as F

import zoo
from zoo import building, registry
from zoo.errors import DataError, OptionError, TrainingError
from zoo.settings import Settings
from zoo.train import loop
from zoo.train.accelerator import make_accelerator
from zoo_stylegan.layers import doubled
from zoo_stylegan.train import GANTrainer


def trainer(model: Any, settings: dict[str, Any] | None = None, **recipe: Any) -> GANTrainer:
    given = {"model": model.spec.name, "data": "-", "out": "-", "batch_size": 8, "device": "cpu", **(settings or {})}
    run = Settings(**given)
    return building.make_trainer(model.spec, model, run, make_accelerator(run), recipe)  # type: ignore[return-value]


def batch(size: int = 16, n: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, size, size), generator=generator).to(torch.uint8)
    return {"image": pixels, "label": torch.arange(n) % 3}


class Linear(nn.Module):
    """A discriminator whose score is a sum of weighted pixels."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: torch.Tensor, *_: Any) -> torch.Tensor:
        return (images * self.weight).sum((1, 2, 3))


def test_penalties_of_a_linear_discriminator() -> None:
    weight = torch.randn(3, 16, 16) * 0.1
    model = build("stylegan2", **SMALL_STYLE)
    model.discriminator = Linear(weight)
    gan = trainer(model)
    real = torch.randn(8, 3, 16, 16, requires_grad=True)
    norm = weight.square().sum()
    assert torch.allclose(gan._r1(real, gan._judge(real, None, 0.0)[0], 0.0), norm)
    fake = torch.randn(8, 3, 16, 16)
    assert torch.allclose(gan._gradient_penalty(real.detach(), fake, None, 0.0), (norm.sqrt() - 1).square())


@pytest.mark.parametrize(
    ("recipe", "gamma"),
    [({}, 10.0), ({"loss": "wgan-gp"}, 0.0), ({"loss": "wgan-gp", "r1_gamma": 3.0}, 3.0), ({"r1_gamma": 0.0}, 0.0)],
)
def test_wgan_gp_takes_the_place_of_r1(recipe: dict[str, Any], gamma: float) -> None:
    """As in the authors' switch for CelebA-HQ; any row may be trained so."""
    assert trainer(build("stylegan", "F", **SMALL_STYLE), **recipe).r1_gamma == gamma


def test_r1_at_every_step_is_a_part_of_the_loss() -> None:
    model = build("stylegan", **SMALL_STYLE, start_resolution=16)
    model.judge = lambda images, *_: ((images * weight).sum((1, 2, 3)), None)
    weight = (torch.randn(3, 16, 16) * 0.1).requires_grad_()
    losses: dict[float, float] = {}
    for gamma in (0.0, 6.0):
        gan = trainer(model, r1_gamma=gamma)
        gan._update = lambda _, loss, gamma=gamma: losses.update({gamma: loss.item()})  # type: ignore[method-assign,misc]
        torch.manual_seed(0)
        gan._discriminator_step(torch.randn(8, 3, 16, 16), None, 0.0)
    assert losses[6.0] - losses[0.0] == pytest.approx(3 * weight.square().sum().item(), rel=1e-4)


@pytest.mark.parametrize(("name", "preset"), [("progan", None), ("stylegan", "F"), ("stylegan2", "D")])
def test_slopes_are_those_of_pictures_at_full_size(name: str, preset: str | None) -> None:
    """So one weight fits every resolution, and the penalties go on without a jump where a resolution fades in."""
    config = {k: v for k, v in SMALL_STYLE.items() if name != "progan" or k not in ("w_size", "mapping_layers")}
    gan = trainer(build(name, preset, **config))
    torch.manual_seed(0)
    real, fake = (torch.randn(8, 3, 8, 8).requires_grad_() for _ in range(2))
    large, large_fake = (doubled(images.detach()).requires_grad_() for images in (real, fake))
    before = gan._r1(real, gan._judge(real, None, 1.0)[0], 1.0)
    after = gan._r1(large, gan._judge(large, None, 1 - 1e-6)[0], 1 - 1e-6)
    assert torch.allclose(before, after, rtol=1e-3)
    torch.manual_seed(1)
    before = gan._gradient_penalty(real, fake, None, 1.0)
    torch.manual_seed(1)
    assert torch.allclose(before, gan._gradient_penalty(large, large_fake, None, 1 - 1e-6), rtol=1e-3)


def test_path_length_of_a_linear_generator() -> None:
    """Pictures A w of P pixels: the gradient of (A w) . y / sqrt(P) is A'y / sqrt(P), here in one slot of S."""
    model = build("stylegan2", **SMALL_STYLE)
    directions = torch.randn(3 * 16 * 16, 10, dtype=torch.float64).float()

    class Synthesis(nn.Module):
        slots = 6

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, w: torch.Tensor, noise: Any, lod: float) -> torch.Tensor:
            return (self.gain * (w[:, 0] @ directions.t())).view(-1, 3, 16, 16)

    model.generator.synthesis = Synthesis()
    gan = trainer(model)
    gan.generator_optimizer.param_groups[0]["lr"] = 0.0
    torch.manual_seed(5)
    gan._path_length_step(4, None, 0.0)
    length = float(gan.state.path_length)
    # E |A'y|^2 = |A|^2 over normal y; the mean over slots divides by S
    assert length == pytest.approx(math.sqrt(float(directions.square().sum()) / 256 / 6), rel=0.3)
    assert float(gan.state.path_mean) == pytest.approx(0.01 * length)
    # of one picture: 2 (length - mean)^2, counted 4 times, the mean taken as a number
    losses: list[torch.Tensor] = []
    gan._update = lambda optimizer, loss: losses.append(loss)  # type: ignore[method-assign]
    gan._path_length_step(1, None, 0.0)
    off = float(gan.state.path_length - gan.state.path_mean)
    assert losses[0].item() == pytest.approx(2 * 4 * off**2, rel=1e-4)
    (slope,) = torch.autograd.grad(losses[0], model.generator.synthesis.gain)
    assert float(slope) == pytest.approx(2 * 4 * 2 * off * float(gan.state.path_length), rel=1e-4)  # the gain is 1


def test_lazy_r1_has_on_average_the_gradient_of_every_step() -> None:
    model = build("stylegan2", **SMALL_STYLE)
    gan = trainer(model, r1_gamma=7.0)
    real = torch.randn(8, 3, 16, 16)
    gradients: list[list[torch.Tensor]] = []

    def keep(optimizer: Any, loss: torch.Tensor) -> None:
        gradients.append(list(torch.autograd.grad(loss, list(model.discriminator.parameters()), allow_unused=True)))

    gan._update = keep  # type: ignore[method-assign]
    gan._r1_step(real, None, 0.0)
    model.discriminator.zero_grad()
    x = real.clone().requires_grad_(True)
    scores = model.judge(x)[0]
    (slopes,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    (7.0 / 2 * slopes.square().sum((1, 2, 3)).mean()).backward()
    compared = 0
    for lazy, parameter in zip(gradients[0], model.discriminator.parameters(), strict=True):
        if lazy is not None and parameter.grad is not None:
            assert torch.allclose(lazy / gan.r1_every, parameter.grad, atol=1e-3 * float(parameter.grad.abs().max()))
            compared += int(parameter.grad.any())
    assert compared >= 8  # a bias has a part in a slope only by the LeakyReLUs behind it


def test_regularisation_is_due_as_often_as_it_counts() -> None:
    gan = trainer(build("stylegan2", **SMALL_STYLE), r1_every=4, path_length_every=2)
    steps: list[str] = []
    gan._generator_step = lambda *_: torch.zeros(())  # type: ignore[method-assign]
    gan._discriminator_step = lambda *_: {}  # type: ignore[method-assign]
    gan._path_length_step = lambda n, *_: steps.append(f"path length of {n}")  # type: ignore[method-assign]
    gan._r1_step = lambda real, *_: steps.append(f"r1 of {len(real)}")  # type: ignore[method-assign]
    for number in range(5):
        gan.step(batch(), 8 * number)
        steps.append("-")
    both = ["path length of 4", "r1 of 8", "-"]
    assert steps == [*both, "-", "path length of 4", "-", "-", *both]


def test_lazy_optimizers_are_slowed_down() -> None:
    gan = trainer(build("stylegan2", **SMALL_STYLE), learning_rate=0.01)
    for optimizer, every in ((gan.generator_optimizer, 4), (gan.discriminator_optimizer, 16)):
        group, c = optimizer.param_groups[0], every / (every + 1)
        assert group["lr"] == pytest.approx(0.01 * c)
        assert group["betas"] == (0.0, pytest.approx(0.99**c))


def test_the_losses_are_those_of_the_papers() -> None:
    for name, loss in (("stylegan2", "logistic"), ("progan", "wgan-gp")):
        settings = {k: v for k, v in SMALL_STYLE.items() if name != "progan" or k not in ("w_size", "mapping_layers")}
        model = build(name, **settings, **({} if name == "stylegan2" else {"start_resolution": 16}))
        gan = trainer(model, **({"r1_gamma": 0.0} if name == "stylegan2" else {}))
        seen: list[float] = []
        gan._update = lambda optimizer, loss, seen=seen: seen.append(loss.item())  # type: ignore[method-assign,misc]
        gan._gradient_penalty = lambda *_: torch.tensor(0.5)  # type: ignore[method-assign]
        torch.manual_seed(3)
        gan._generator_step(8, None, 0.0)
        torch.manual_seed(3)
        fake = model.judge(gan._fake(8, None, 0.0))[0]
        assert seen[-1] == pytest.approx(
            float((F.softplus(-fake) if loss == "logistic" else -fake).mean().detach()), rel=1e-4
        )
        real = torch.randn(8, 3, 16, 16)
        torch.manual_seed(3)
        gan._discriminator_step(real, None, 0.0)
        scores = model.judge(real)[0]
        wasserstein = fake - scores + 1e-3 * scores**2 + 10 * 0.5
        expected = F.softplus(fake) + F.softplus(-scores) if loss == "logistic" else wasserstein
        assert seen[-1] == pytest.approx(expected.mean().item(), rel=1e-3)


def test_a_step_in_bf16_sees_the_weights_of_the_one_before() -> None:
    """Lazy R1 follows the discriminator's step in the same block of autocast, which keeps casts of offsets."""
    model = build("stylegan2", **SMALL_STYLE, growing=True, demodulation=False, start_resolution=16)
    gan, real = trainer(model, {"precision": "bf16"}), torch.randn(8, 3, 16, 16)
    with gan.accelerator.autocast():
        gan._discriminator_step(real.clone(), None, 0.0)
        found = gan._judge(real, None, 0.0)[0]
    with gan.accelerator.autocast():
        assert torch.equal(gan._judge(real, None, 0.0)[0], found)


def test_style_mixing_takes_the_later_slots_from_another_latent() -> None:
    model = build("stylegan2", **SMALL_STYLE)
    z = torch.randn(4, 12)
    w = model.styles(z)
    torch.manual_seed(0)
    mixed = [model.mixed_styles(z, None, 1.0, lod=0.0) for _ in range(30)]
    cuts = {int((m == w).all(2).all(0).sum()) for m in mixed}
    assert cuts == {1, 2, 3, 4, 5}
    assert all(
        torch.equal(m[:, : int((m == w).all(2).all(0).sum())], w[:, : int((m == w).all(2).all(0).sum())]) for m in mixed
    )
    assert torch.equal(model.mixed_styles(z, None, 0.0, lod=0.0), w)


@pytest.mark.parametrize(("lod", "cuts"), [(0.5, {1, 2, 3, 4, 5}), (1.0, {1, 2, 3}), (2.0, {1})])
def test_styles_are_mixed_within_the_layers_that_there_are(lod: float, cuts: set[int]) -> None:
    model, z = build("stylegan", **SMALL_STYLE), torch.randn(4, 12)
    w = model.styles(z)
    mixed = [model.mixed_styles(z, None, 1.0, lod) for _ in range(40)]
    assert {int((m == w).all(2).all(0).sum()) for m in mixed} == cuts


def test_each_latent_has_the_class_of_its_picture() -> None:
    model, label = build("stylegan2", **SMALL_STYLE, classes=3), torch.tensor([2, 0, 1, 1, 0, 2, 2, 1])
    gan, seen = trainer(model), []
    gan.mixing = 1.0
    model.generator.mapping.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    gan._generator_step(8, label, 0.0)
    gan._discriminator_step(torch.randn(8, 3, 16, 16), label, 0.0)
    gan._path_length_step(4, label, 0.0)
    assert [found.tolist() for found in seen] == [label.tolist()] * 4 + [label[:4].tolist()] * 2


def test_an_auxiliary_classifier_learns_from_real_and_generated_pictures() -> None:
    """And the generator from it, each with weight 1 beside WGAN-GP."""
    config = {key: value for key, value in SMALL_STYLE.items() if key not in ("w_size", "mapping_layers")}
    model, label = build("progan", **config, classes=3, start_resolution=16), torch.arange(8) % 3
    gan, seen, real = trainer(model), [], torch.randn(8, 3, 16, 16)
    gan._update = lambda optimizer, loss: seen.append(loss.item())  # type: ignore[method-assign]
    gan._gradient_penalty = lambda *_: torch.tensor(0.0)  # type: ignore[method-assign]

    def entropy(logits: torch.Tensor) -> torch.Tensor:
        return -logits.log_softmax(1)[torch.arange(8), label].mean()

    for step in (lambda: gan._generator_step(8, label, 0.0), lambda: gan._discriminator_step(real, label, 0.0)):
        torch.manual_seed(3)
        step()
    torch.manual_seed(3)
    with torch.no_grad():
        fake, fake_logits = model.judge(gan._fake(8, label, 0.0))
        scores, logits = model.judge(real)
        wasserstein = (fake - scores + 1e-3 * scores.square()).mean()
        expected = [entropy(fake_logits) - fake.mean(), wasserstein + entropy(fake_logits) + entropy(logits)]
    assert seen == pytest.approx([float(loss) for loss in expected], rel=1e-4)


def test_the_mean_w_follows_in_training() -> None:
    model = build("stylegan2", **SMALL_STYLE)
    z = torch.randn(64, 12)
    for _ in range(2000):
        model.mixed_styles(z, None, 0.0, lod=0.0)
    assert torch.allclose(model.generator.mapping.mean_w, model.generator.mapping(z).mean(0), atol=1e-4)


def test_growing_follows_the_schedule_and_begins_anew_with_each_level() -> None:
    model = build("stylegan", **SMALL_STYLE, start_resolution=8, stable_images=16, fade_images=16)
    gan = trainer(model)
    lods, fresh = [], []
    for seen in range(0, 56, 8):
        gan.step(batch(seed=seen), seen)
        lods.append(float(model.lod))
        fresh.append({int(s["step"]) for s in gan.discriminator_optimizer.optimizer.state.values()} == {1})
    assert lods == [1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0]
    assert fresh == [True, False, False, True, True, False, False]  # layers come in at 0.5 and are alone at 0


def test_weights_that_would_grow_again_are_told_of(recwarn: pytest.WarningsRecorder) -> None:
    trainer(build("stylegan", **SMALL_STYLE, start_resolution=16), {"init": "-"})
    trainer(build("stylegan2", **SMALL_STYLE), {"init": "-"})
    assert not recwarn
    with pytest.warns(UserWarning, match="grow at 8 pixels again; --set start_resolution=16 goes on at full size"):
        trainer(build("stylegan", **SMALL_STYLE), {"init": "-"})


@pytest.mark.parametrize(
    ("name", "recipe", "rates"),
    [
        ("progan", {}, [1e-3, 1e-3, 1e-3, 1e-3]),  # constant, as in its paper, appendix A.1
        ("stylegan", {}, [1e-3, 1.5e-3, 2e-3, 3e-3]),
        ("stylegan", {"loss": "wgan-gp"}, [1e-3, 1.5e-3, 2e-3, 2e-3]),
        ("stylegan2", {}, [1e-3, 1.5e-3, 2e-3, 3e-3]),
    ],
)
def test_the_learning_rate_follows_the_resolution_from_stylegan_on(
    name: str, recipe: dict[str, Any], rates: list[float]
) -> None:
    narrow: dict[str, Any] = {"resolution": 512, "latent_size": 4, "width_base": 4, "width_max": 4}
    style: dict[str, Any] = {} if name == "progan" else {"w_size": 4, "mapping_layers": 2}
    growing = {"growing": True} if name == "stylegan2" else {}
    model = build(name, **narrow, **style, **growing, start_resolution=64, stable_images=8, fade_images=0)
    gan = trainer(model, **recipe)
    for number, rate in enumerate(rates):
        gan._grow(8 * number)
        for optimizer in gan.optimizers().values():
            (group,) = optimizer.param_groups
            assert group["lr"] == pytest.approx(rate * group["slow"])


def test_row_a_of_stylegan2_trains_as_row_f_of_stylegan() -> None:
    states = []
    for name, row in (("stylegan", "F"), ("stylegan2", "A")):
        model = build(name, row, **SMALL_STYLE, stable_images=8, fade_images=16)
        gan = trainer(model, **registry.model_spec(name).presets[row].recipe)
        for number in range(3):
            torch.manual_seed(number)
            gan.step(batch(seed=number), 8 * number)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_real_pictures_are_faded_like_generated_ones() -> None:
    gan = trainer(build("stylegan", **SMALL_STYLE), mirror=False)
    real = torch.randn(4, 3, 16, 16)
    assert torch.equal(gan._at_resolution(real, 0.0), real)
    small = F.avg_pool2d(real, 2)
    assert torch.allclose(gan._at_resolution(real, 1.0), small)
    half = gan._at_resolution(real, 0.5)
    assert torch.allclose(half, (real + small.repeat_interleave(2, 2).repeat_interleave(2, 3)) / 2, atol=1e-6)


def test_mirroring_flips_half_of_the_pictures() -> None:
    gan = trainer(build("stylegan2", **SMALL_STYLE), mirror=True)
    real = torch.randn(400, 3, 16, 16)
    torch.manual_seed(0)
    shown = gan._at_resolution(real, 0.0)
    flipped = (shown == real.flip(3)).all(3).all(2).all(1)
    assert torch.equal(shown[~flipped], real[~flipped])
    assert 150 < int(flipped.sum()) < 250


def test_adaptive_augmentation_rises_while_the_discriminator_is_sure() -> None:
    model = build("stylegan2", **SMALL_STYLE)
    gan = trainer(model, augment="ada")
    with torch.no_grad():
        model.discriminator.output.bias.fill_(100.0)  # all real pictures are told to be real
    for seen in range(0, 64, 8):
        metrics = gan.step(batch(seed=seen), seen)
    assert float(metrics["augment_p"]) == pytest.approx(64 / 500_000)
    assert "state" in gan.modules()
    assert [name for name, _ in gan.modules()["state"].named_buffers() if name.endswith("augment.p")]


def test_the_pictures_of_all_processes_decide_on_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each would augment as much as it thinks fit."""
    gan = trainer(build("stylegan2", **SMALL_STYLE), augment="ada")
    monkeypatch.setattr(gan.accelerator, "gather", lambda scores: torch.cat([scores, torch.full((24,), -1.0)]))
    metrics = gan.step(batch(), 0)
    assert gan.state.controller is not None
    assert int(gan.state.controller.count) == 32
    assert metrics["augment_r"] <= (8 - 24) / 32


OBJECTIVES = pytest.mark.parametrize(
    ("name", "changes", "recipe"),
    [
        ("progan", {"classes": 3}, {}),
        ("stylegan", {"classes": 3}, {"loss": "wgan-gp"}),
        ("stylegan2", {"classes": 3}, {"augment": "ada"}),
        ("stylegan2", {"growing": True}, {}),
        ("stylegan2", {"growing": True, "demodulation": False}, {"r1_every": 1}),
        ("stylegan2", {}, {"r1_every": 1}),
        ("stylegan2", {"mapping_layers": 0}, {}),
    ],
)


def small(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments of a small model that trains under one of the objectives."""
    growth = {"start_resolution": 8, "stable_images": 8, "fade_images": 16}
    config = {**SMALL_STYLE, **changes, **(growth if name != "stylegan2" or changes.get("growing") else {})}
    return {k: v for k, v in config.items() if name != "progan" or k not in ("w_size", "mapping_layers")}


@OBJECTIVES
def test_every_objective_trains_in_bf16(name: str, changes: dict[str, Any], recipe: dict[str, Any]) -> None:
    gan = trainer(build(name, **small(name, changes)), {"precision": "bf16"}, **recipe)
    for number in range(5):
        metrics = gan.step(batch(seed=number), 8 * number)
        assert all(math.isfinite(float(value)) for value in metrics.values())


@OBJECTIVES
def test_resume_is_exact_for_every_objective(name: str, changes: dict[str, Any], recipe: dict[str, Any]) -> None:
    from zoo.train.state import load_state, take_state

    config = small(name, changes)

    def steps(gan: GANTrainer, numbers: range) -> Any:
        for number in numbers:
            torch.manual_seed(number)
            gan.step(batch(seed=number), 8 * number)
        return gan

    whole = steps(trainer(build(name, **config), **recipe), range(5))
    first = steps(trainer(build(name, **config), **recipe), range(2))
    second = trainer(build(name, seed=9, **config), **recipe)
    load_state(second, second.accelerator, take_state(first, first.accelerator))
    steps(second, range(2, 5))
    for key, module in whole.modules().items():
        for tensor, value in module.state_dict().items():
            assert torch.equal(value, second.modules()[key].state_dict()[tensor]), tensor


def test_a_gan_learns_the_colour_of_its_pictures(tmp_path: Path) -> None:
    """Pictures of one colour: after 800 of them the samples have it, within a tenth of the range."""
    from PIL import Image

    for i in range(16):
        Image.new("RGB", (8, 8), (220, 40, 30)).save(tmp_path / f"{i}.png")
    settings = Settings(
        model="stylegan2", preset="tiny", data=str(tmp_path), out=str(tmp_path / "run"), examples=800, batch_size=8,
        recipe={"learning_rate": 0.01}, ema_images=100, sample_every=0, checkpoint_every=0, log_every=400, device="cpu",
    )  # fmt: skip
    loop.train(settings)
    drawn = zoo.load("stylegan2", weights=tmp_path / "run").sample(16).float().mean((0, 2, 3))
    assert (drawn - torch.tensor([220.0, 40.0, 30.0])).abs().max() < 26


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 24, mode="RGB")


def settings(data: Path, out: Path, **changes: Any) -> Settings:
    defaults: dict[str, Any] = {
        "model": "stylegan2",
        "preset": "tiny",
        "examples": 32,
        "batch_size": 8,
        "device": "cpu",
    }
    return Settings(**{**defaults, "data": str(data), "out": str(out), **changes})


def test_the_average_of_a_run_has_the_mean_w_and_no_discriminator(colours: Path, tmp_path: Path) -> None:
    run = loop.Run(settings(colours, tmp_path / "run"), resume=False, progress=None)
    run.go()
    mean = run.model.generator.mapping.mean_w
    assert mean.abs().max() > 0
    assert torch.equal(run.average.generator.mapping.mean_w, mean)
    assert not [name for name, _ in run.average.named_parameters() if name.startswith("discriminator")]
    loaded = zoo.load("stylegan2", weights=tmp_path / "run")
    assert loaded.config["discriminator"] is False
    assert torch.equal(loaded.sample(2), run.average.sample(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, "6 of the 6 pictures of a batch, which is no multiple of 4, the group"),
        ({"accumulate": 2}, "can't be split by --accumulate"),
        ({"overrides": {"discriminator": False}}, "built without a discriminator"),
        ({"recipe": {"r1_gamma": -1.0}}, "r1_gamma and path_length_weight must not be negative"),
        ({"recipe": {"style_mixing_prob": 7.0}}, "style_mixing_prob must be from 0 to 1, not 7.0"),
        (
            {"recipe": {"augment": "ada"}, "overrides": {"growing": True, "start_resolution": 4}},
            "training begins with 4",
        ),
    ],
)
def test_settings_that_a_gan_can_not_train_with(
    colours: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        loop.train(settings(colours, tmp_path / "run", **changes))


def test_classes_need_a_label_column(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no label column"):
        loop.train(settings(colours, tmp_path / "run", overrides={"classes": 3}))


def test_divergence_stops_the_run_and_names_the_last_good_checkpoint(colours: Path, tmp_path: Path) -> None:
    good = settings(colours, tmp_path / "run", examples=16, checkpoint_every=16, sample_every=0)
    loop.train(good)
    whole = sorted((tmp_path / "run" / "checkpoints").iterdir())
    file = torch.load(whole[-1], weights_only=True)
    file["modules"]["model"]["discriminator.output.weight"].fill_(math.nan)  # a step that goes wrong
    torch.save(file, whole[-1])
    bad = dataclasses.replace(good, examples=400)
    with pytest.raises(TrainingError, match=r"is (nan|not finite) after \d+ examples .*; the last good checkpoint is"):
        loop.train(bad, resume=True)
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == whole


def test_every_gan_is_registered_with_its_paper() -> None:
    for name in ("progan", "stylegan", "stylegan2"):
        spec = registry.model_spec(name)
        assert spec.kind == "gan"
        assert "arXiv" in spec.paper


TWO = """
import json, os, sys, torch
from zoo.train.loop import Run
from zoo.settings import Settings
run = Run(Settings(**json.loads(sys.argv[1])), resume=False, progress=None)
run.go()
for name, module in run.trainer.modules().items():
    for key, value in module.state_dict().items():
        values = run.accelerator.gather(value.float().reshape(1, -1))
        assert torch.equal(values[0], values[1]), f"{name}.{key} differs between the processes"
assert len(values) == 2
run.files.release()
sys.stdout.flush()
torch.distributed.barrier()
os._exit(0)  # gloo's threads may abort an interpreter that ends while they run
"""


def test_two_processes_stay_the_same_model(colours: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(TWO)
    config = settings(colours, tmp_path / "run", recipe={"augment": "ada"}, sample_every=0, examples=64)
    arguments = json.dumps(dataclasses.asdict(config))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
        arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
