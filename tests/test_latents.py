"""Samples from latents: `draw_z` gives what a seed draws, and `z` and `w` are checked before anything is drawn."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import OptionError, UnknownNameError

WITH_Z = [spec.name for spec in zoo.models() if any(option.name == "z" for option in spec.sample_options)]
WITH_W = ["stylegan", "stylegan2"]
SEED = 1
CLASSES = {"categories": {"mocogan"}, "classes": {"dvdgan", "progan", "stylegan", "stylegan2"}}


def build(name: str, **overrides: Any) -> Any:
    """A tiny model, whose noise, biases and statistics do something."""
    torch.manual_seed(0)
    model = zoo.build(name, preset="tiny", **overrides).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """With classes, where there are any."""
    return {name: build(name, **{key: 3 for key, names in CLASSES.items() if name in names}) for name in WITH_Z}


def test_the_gans_have_latents() -> None:
    assert WITH_Z == ["dvdgan", "mocogan", "progan", "stylegan", "stylegan2", "tgan", "vgan"]


@pytest.mark.parametrize("name", WITH_Z)
def test_the_latents_of_a_seed_draw_its_samples(models: dict[str, Any], name: str) -> None:
    model = models[name]
    expected = model.sample(3, seed=5, start=2)
    z = model.draw_z(3, seed=5, start=2)
    assert z.dtype == torch.float32
    assert torch.allclose(z, model.draw_z(5, seed=5)[2:])
    assert torch.equal(model.sample(3, seed=5, start=2, z=z), expected)
    assert torch.equal(model.sample(seed=5, start=2, z=z, batch_size=2), expected)
    assert torch.equal(model.sample(seed=5, start=2, z=z.double().numpy(), batch_size=1), expected)
    assert not torch.equal(model.sample(3, seed=5, start=2, z=model.draw_z(3, seed=6)), expected)


@pytest.mark.parametrize("name", WITH_Z)
def test_one_latent_stands_for_all_samples(models: dict[str, Any], name: str) -> None:
    model = models[name]
    z = model.draw_z(1, seed=1)
    assert torch.equal(model.sample(2, z=z), model.sample(z=z.expand(2, *z.shape[1:])))


@pytest.mark.parametrize("name", WITH_Z)
@pytest.mark.parametrize("shape", [(), (3,), (3, 1000), (3, 2, 2, 2)])
def test_latents_of_another_shape_are_one_line(models: dict[str, Any], name: str, shape: tuple[int, ...]) -> None:
    model = models[name]
    axes = "(N, T, 13)" if name == "mocogan" else f"(N, {model.latent_size})"
    said = f"option 'z' takes {axes}, float32, as model.draw_z gives z, not torch.float32 {shape}"
    with pytest.raises(OptionError, match=re.escape(said)):
        model.sample(3, z=torch.zeros(shape))


def test_what_is_no_latent_is_one_line(models: dict[str, Any]) -> None:
    model = models["stylegan2"]
    z = model.draw_z(3)
    for wrong, message in (
        ("zero", "not str"),
        (z.long(), "not torch.int64"),
        (z / 0, "not finite"),
        (z.double() * 1e300, "not finite"),  # as float32
        (z[:2], "one for each of the 3 samples, not 2"),
    ):
        with pytest.raises(OptionError, match=message):
            model.sample(3, z=wrong)


@pytest.mark.parametrize("name", sorted(set.union(*CLASSES.values())))
def test_a_sample_whose_class_is_drawn_is_that_of_the_class_given(models: dict[str, Any], name: str) -> None:
    model = models[name]
    drawn = model.sample(8, seed=5)
    given = [model.sample(8, seed=5, label=k) for k in range(3)]
    matches = [{k for k in range(3) if torch.equal(drawn[i], given[k][i])} for i in range(8)]
    assert all(matches)
    assert len(set.union(*matches)) > 1


@pytest.mark.parametrize("name", sorted(set.union(*CLASSES.values())))
def test_a_class_that_is_none_is_named_before_anything_is_drawn(
    models: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when its batch comes."""
    model, batches = models[name], []
    monkeypatch.setattr(model, "draw_batch", batches.append)
    with pytest.raises(OptionError, match="option 'label' takes an integer from 0 to 2, not 3"):
        model.sample(label=[0, 1, 3], batch_size=1)
    assert not batches


@pytest.mark.parametrize("name", WITH_W)
def test_the_w_of_a_seed_draws_its_samples(models: dict[str, Any], name: str) -> None:
    """In one for all layers, or one for each; the classes are in it."""
    model, label = models[name], torch.tensor([2, 0, 1])
    expected = model.sample(3, seed=7, label=label.tolist())
    with torch.no_grad():
        w = model.generator.mapping(model.draw_z(3, seed=7), label)
        slots = model.styles(model.draw_z(3, seed=7), label)
    assert torch.equal(model.sample(seed=7, w=w), expected)
    assert torch.equal(model.sample(seed=7, w=slots, batch_size=2), expected)
    assert not torch.equal(model.sample(seed=7, w=w.flip(0)), expected)
    truncated = model.sample(3, seed=7, label=label.tolist(), truncation=0.5)
    assert torch.equal(model.sample(seed=7, w=w, truncation=0.5), truncated)
    with pytest.raises(OptionError, match=rf"\(N, {w.shape[1]}\) or \(N, {model.slots}, {w.shape[1]}\), float32"):
        model.sample(3, w=w[:, 1:])


@pytest.mark.parametrize(
    "options", [{"z": 0, "w": 0}, {"z": 0, "walk": "z"}, {"w": 0, "mixing": 2}, {"w": 0, "label": 1}]
)
def test_what_excludes_each_other(models: dict[str, Any], options: dict[str, Any]) -> None:
    model = models["stylegan2"]
    latents = {"z": model.draw_z(1), "w": torch.zeros(1, 8)}
    with pytest.raises(OptionError, match="exclude each other"):
        model.sample(1, **{name: latents.get(name, value) for name, value in options.items()})


def test_latents_of_frames_give_clips_of_their_length(models: dict[str, Any]) -> None:
    model = models["mocogan"]
    z = model.draw_z(2, seed=3, frames=12)
    assert z.shape == (2, 12, 13)
    whole = model.sample(2, seed=3, frames=12)
    assert torch.equal(z[:, :8], model.draw_z(2, seed=3))
    assert torch.equal(model.sample(z=z, frames=12), whole)
    assert torch.equal(model.sample(z=z), whole)  # not cut to the model's own 8
    assert torch.equal(model.sample(z=z[:, :5]), whole[:, :5])
    assert torch.equal(torch.stack(list(model.stream(z=z)), 1), whole)
    with pytest.raises(OptionError, match="12 frames, not for 13; take frames=12"):
        model.sample(z=z, frames=13)
    with pytest.raises(OptionError, match=r"option 'z' takes \(N, T, 13\), .*, not torch.float32 \(2, 0, 13\)"):
        model.sample(z=z[:, :0])
    for options in ({"label": 1}, {"motions": 1}):
        with pytest.raises(OptionError, match="exclude each other"):
            model.sample(z=z, **options)


def test_as_many_samples_as_values(models: dict[str, Any]) -> None:
    model = models["stylegan2"]
    assert torch.equal(model.sample(label=[2, 0]), model.sample(2, label=[2, 0]))
    assert torch.equal(model.sample(label=1), model.sample(1, label=1))
    assert len(model.sample(label=[1, 2, 0], z=model.draw_z(1))) == 3


@pytest.mark.parametrize("name", WITH_W)
def test_a_walk_through_z_keeps_the_class_that_it_begins_with(models: dict[str, Any], name: str) -> None:
    """With two walks whose first samples, 0 and 2, are of different classes, in batches that cut through them."""
    model, seen = models[name], []
    handle = model.generator.mapping.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    try:
        model.sample(4, seed=SEED, noise="constant")
        classes = seen.pop()
        assert classes[0] != classes[2]
        frames = model.sample(16, seed=SEED, walk="z", keys=2, steps=4, batch_size=5)
    finally:
        handle.remove()
    for walk in (0, 1):
        ends = model.sample(2, seed=SEED, start=2 * walk, label=int(classes[2 * walk]), noise="constant")
        assert torch.equal(frames[[8 * walk, 8 * walk + 4]], ends)
    label = [0] * 8 + [1] * 8
    assert torch.equal(
        model.sample(16, seed=SEED, walk="z", keys=2, steps=4, label=label)[:8],
        model.sample(8, seed=SEED, walk="z", keys=2, steps=4, label=0),
    )


def test_models_without_a_latent_say_so(tiny: zoo.Model) -> None:
    with pytest.raises(OptionError, match="pixelcnn has no latent z"):
        tiny.draw_z(2)
    with pytest.raises(UnknownNameError, match="unknown option of pixelcnn 'z'"):
        tiny.sample(1, z=torch.zeros(1, 4))
