"""DVD-GAN: what depends on what, statistics of single frames, two discriminators, frames that are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from objectives import assert_gradients, step_gradients
from torch import nn

import zoo
from zoo import building, data, metrics
from zoo.errors import OptionError
from zoo.media.video import write_clip
from zoo.nn.adversarial import Player, measuring
from zoo.request import SampleRequest
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator
from zoo.train.state import MovingAverage, load_state, take_state

zoo.models()  # puts plugins/ on the path
from zoo_videogan.dvd_layers import ConvGRU, FrameBatchNorm  # noqa: E402
from zoo_videogan.dvd_train import pick_frames  # noqa: E402
from zoo_videogan.dvdgan import DVDGAN, normalised_by, truncated  # noqa: E402
from zoo_videogan.spectral import SpectralNorm  # noqa: E402


def built(**config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build("dvdgan", preset="tiny", **config)


def make_trainer(model: Any, **recipe: Any) -> Any:
    settings = Settings(model="dvdgan", data="-", out="-", preset="tiny", batch_size=4, device="cpu")
    full = building.schema(model.spec, "recipe").check(recipe)
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), full)


def made_up(model: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(0, 256, (4, *model.batch_shapes["video"]), dtype=torch.uint8, generator=generator)
    return {"video": video} | ({"label": torch.tensor([0, 1, 2, 1])} if model.classes else {})


def trained(**config: Any) -> Any:
    """A model whose statistics and singular vectors are not the initial ones."""
    model = built(**config)
    trainer = make_trainer(model, learning_rate=0.01)
    for update in range(3):
        trainer.step(made_up(model, update), 4 * update)
    return model


# Samples


def test_a_sample_depends_neither_on_its_mates_nor_on_their_classes() -> None:
    """Published code lays conditions out by time and features by batch: there the first clip changes by up to 0.89."""
    model = trained(classes=3)
    alone = model.sample(1, seed=5, label=2)
    for others in ([0, 0], [1, 2], [2, 2]):
        together = model.sample(3, seed=5, label=[2, *others])
        assert (together[0].int() - alone[0].int()).abs().max() <= 1
    assert (model.sample(1, seed=5, label=0).int() - alone.int()).abs().max() > 1


def test_a_longer_clip_begins_with_the_shorter_one() -> None:
    model = trained(classes=3)
    clip = model.sample(2, seed=1)
    assert torch.equal(model.sample(2, seed=1, frames=12)[:, : model.frames], clip)
    stream = model.stream(2, seed=1)
    assert torch.equal(torch.stack([next(stream) for _ in range(model.frames)], 1), clip)


def test_frames_drawn_one_by_one_are_those_drawn_at_once() -> None:
    model = trained(resolution=16, normalised=True).eval()
    condition = torch.randn(2, model.latent_size)
    whole, _ = model.generator(condition, 4)
    parts, states = [], None
    for first, t in ((0, 1), (1, 2), (3, 1)):
        frames, states = model.generator(condition, t, states, first=first)
        parts.append(frames)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_truncation_draws_nearer_to_the_middle() -> None:
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    cut = truncated(noise, 0.8)
    assert cut.abs().max() <= 0.8
    assert (cut[noise.argsort()].diff() >= 0).all()
    assert torch.allclose(truncated(noise, 5.0), noise, atol=0.1)
    inside = noise[noise.abs() < 0.8]  # the truncated distribution has these quantiles
    shares = torch.linspace(0.05, 0.95, 19)
    assert torch.allclose(cut.quantile(shares), inside.quantile(shares), atol=0.02)


def test_standing_statistics_belong_to_the_truncation_alone() -> None:
    """They change no later sample without truncation, and are the same for every sample, whatever is drawn with it."""
    model = trained(classes=3)
    before = model.sample(3, seed=2)
    narrow = model.sample(3, seed=2, truncation=0.5, label=1)
    assert torch.equal(model.sample(3, seed=2), before)
    assert (model.sample(1, seed=2, start=1, truncation=0.5, label=1)[0].int() - narrow[1].int()).abs().max() <= 1
    assert not torch.equal(model.sample(3, seed=2, truncation=1.0, label=1), narrow)


def test_standing_statistics_are_those_of_truncated_latents() -> None:
    """With them truncated samples come out of each batch normalisation with mean 0 and deviation 1."""
    model = trained(classes=3).eval()
    z = truncated(torch.randn(256, 4, generator=torch.Generator().manual_seed(0)), 0.5)
    off: list[list[float]] = []

    def note(norm: Any, inputs: Any, _: Any) -> None:
        y = (inputs[0] - norm.mean[0, :, None, None]) / (norm.var[0, :, None, None] + 1e-5).sqrt()
        off[-1] += [float(y.mean((0, 1, 3, 4)).abs().max()), float((y.var((0, 1, 3, 4)) - 1).abs().max())]

    with torch.no_grad():
        standing = model._standing(SampleRequest(0, range(1), model.device, {}), 0.5)
        for norm in (module for module in model.modules() if isinstance(module, FrameBatchNorm)):
            norm.register_forward_hook(note)
        for statistics in (None, standing):
            off.append([])
            with normalised_by(model.generator, statistics):
                model.generator(model.generator.condition(z, torch.arange(256) % 3), 1)
    assert max(off[1]) < 0.5
    assert max(off[0]) > 2 * max(off[1])


def test_classes_are_asked_for_or_drawn() -> None:
    model = built(classes=3)
    with pytest.raises(OptionError, match="takes an integer from 0 to 2, not 3"):
        model.sample(1, label=3)
    with pytest.raises(OptionError, match="knows no classes"):
        built().sample(1, label=0)


def test_a_class_weighs_as_much_as_the_latent() -> None:
    """Divided by its largest singular value, the embedding of a class would have the length of one number of z."""
    model = zoo.build("dvdgan", preset="tiny", classes=9, class_size=64, latent_size=64)
    condition = model.generator.condition(torch.randn(9, 64), torch.arange(9))
    latent, embedded = condition.split(64, 1)
    assert 0.7 < embedded.norm(dim=1).mean() / latent.norm(dim=1).mean() < 1.4


def test_the_discriminators_have_a_width_of_their_own() -> None:
    def count(**config: Any) -> tuple[int, int]:
        model = built(**config)
        networks = (model.generator, model.discriminators)
        return tuple(sum(p.numel() for p in network.parameters()) for network in networks)  # type: ignore[return-value]

    same, wide = count(), count(discriminator_width=8)
    assert same[0] == wide[0]
    assert wide[1] > 3 * same[1]
    assert count(discriminator_width=4) == same
    with pytest.raises(OptionError, match="discriminator_width"):
        built(discriminator_width=-1)


# Frames that are given


def test_clips_go_on_with_given_frames() -> None:
    model = trained(given_frames=2, frames=8)
    given = model.examples(2)["given"]
    clips = model.sample(2, seed=1, given=given)
    assert clips.shape == (2, 8, 3, 8, 8)
    assert torch.equal(clips[:, :2], given)
    assert not torch.equal(model.sample(2, seed=1, given=255 - given)[:, 2:], clips[:, 2:])
    assert not torch.equal(model.sample(2, seed=2, given=given)[:, 2:], clips[:, 2:])
    assert torch.equal(model.sample(2, seed=1, given=given, frames=11)[:, :8], clips)
    one = list(given[0].unbind(0))
    drawn = model.stream(1, seed=1, given=iter(one), frames=8)
    assert torch.equal(torch.stack(list(drawn), 1), model.sample(1, seed=1, given=given[:1]))
    with pytest.raises(OptionError, match=r"frames of option 'given' must be uint8 \(3, 8, 8\), not none"):
        next(model.stream(1, given=iter([])))
    with pytest.raises(OptionError, match="these go on with given frames"):
        model.sample(2, given=given, truncation=0.5)
    with pytest.raises(OptionError, match="goes on with 2 frames: give given=CLIP"):
        model.sample(1)
    with pytest.raises(OptionError, match="takes 2 frames, not 1"):
        model.sample(2, given=given[:, :1])
    with pytest.raises(OptionError, match="not from given frames"):
        built().sample(2, given=given)


def test_a_measurement_gives_the_first_frames_of_each_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the class that is that clip's."""
    from test_distances import OfFrames, script

    model = trained(given_frames=2, frames=8, classes=3)
    network = script(OfFrames(), tmp_path / "frames.pt")
    for i in range(4):
        (folder := tmp_path / "clips" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        frames = [torch.full((3, 8, 8), 20 * i + 10 * t, dtype=torch.uint8) for t in range(8)]
        write_clip(frames, folder / f"{i}.gif", [100] * 8)
    batch = data.load(str(tmp_path / "clips"), "train", model.batch_shapes).batch(range(3))
    drawn: list[dict[str, Any]] = []
    sample = model.sample
    monkeypatch.setattr(model, "sample", lambda n, **how: drawn.append(how) or sample(n, **how))
    [receipt] = metrics.evaluate(model, data=str(tmp_path / "clips"), metrics=["fd"], features=network, count=3)
    assert torch.equal(drawn[0]["given"], batch["video"][:, :2])
    assert torch.equal(torch.as_tensor(drawn[0]["label"]), batch["label"])
    assert (receipt["given"], receipt["frames"]) == ("label, given", 8)


def test_given_frames_are_seen_in_the_dark_too() -> None:
    """Pixels are not rectified: below mid-grey a pattern shows as it does above."""
    model = trained(given_frames=2, frames=8)
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    for level in (60, 180):
        flat, pattern = torch.full((1, 2, 3, 8, 8), level, dtype=torch.uint8), (level - 40 + 80 * board).byte()
        clips = [model.sample(1, given=g) for g in (flat, pattern.expand(1, 2, 3, 8, 8).contiguous())]
        assert not torch.equal(clips[0][:, 2:], clips[1][:, 2:])


def test_both_discriminators_see_given_and_drawn_frames() -> None:
    model = built(given_frames=2, frames=8)
    trainer = make_trainer(model)
    given = torch.rand(2, 2, 3, 8, 8)
    clips = trainer.generate(model, 2, None, given)
    assert clips.shape == (2, 8, 3, 8, 8)
    assert torch.equal(clips[:, :2], given)


# Layers


def test_statistics_are_not_those_of_all_frames_together() -> None:
    """Each frame is normalised by itself: one that is brighter than the others does not stay so."""
    norm = FrameBatchNorm(2, 0, 3)
    x = torch.randn(5, 3, 2, 4, 4) + torch.tensor([0.0, 10.0, -7.0]).view(1, 3, 1, 1, 1)
    y = norm(x, torch.zeros(5, 0))
    assert y.mean((0, 3, 4)).abs().max() < 1e-4
    assert (y.var((0, 3, 4), correction=0) - 1).abs().max() < 1e-2
    assert torch.allclose(norm.mean, 0.1 * x.mean((0, 3, 4)), atol=1e-5)
    norm.eval()
    later = norm(x[:, :1], torch.zeros(5, 0), first=7)  # as the last frame that was learned
    assert torch.allclose(later, (x[:, :1] - norm.mean[2].view(2, 1, 1)) / (norm.var[2].view(2, 1, 1) + 1e-5).sqrt())


def test_a_recurrent_unit_follows_its_equations() -> None:
    torch.manual_seed(0)
    unit = ConvGRU(3, 6).eval()
    x, state = torch.randn(2, 4, 3, 5, 5), torch.randn(2, 3, 5, 5)
    states = unit(x, state)
    of_input, of_state = unit.of_input.normalised(), unit.of_state.normalised()
    nn.init.normal_(unit.of_input.bias)
    states = unit(x, state)
    for t in range(4):
        r_x, u_x, c_x = nn.functional.conv2d(x[:, t], of_input, unit.of_input.bias, padding=1).chunk(3, 1)
        r_h, u_h = nn.functional.conv2d(state, of_state, padding=1).chunk(2, 1)
        r, u = (r_x + r_h).sigmoid(), (u_x + u_h).sigmoid()
        c = (c_x + nn.functional.conv2d(r * state, unit.of_reset.normalised(), padding=1)).relu()
        state = u * state + (1 - u) * c
        assert torch.allclose(states[:, t], state, atol=1e-5)
    assert torch.allclose(unit.spread(x[:, 0], 3, None), unit(x[:, :1].expand(-1, 3, -1, -1, -1), None), atol=1e-5)


def test_recurrent_units_remember_for_two_frames_up_to_all_at_first() -> None:
    """Tallec and Ollivier: what is kept of a state after n frames is (1 - 1/m)^n in a unit that remembers for m."""
    unit = ConvGRU(5, 16)
    update = unit.of_input.bias.detach()[5:10].sigmoid()
    assert (1 / (1 - update)).tolist() == pytest.approx([2, 5.5, 9, 12.5, 16], rel=1e-4)


def test_spectral_norms_are_one_after_a_warm_up() -> None:
    model = built(classes=3)
    layers = [module for module in model.modules() if isinstance(module, SpectralNorm)]
    for layer in layers:
        nn.init.normal_(layer.weight)
        for _ in range(400):
            layer.normalised()
    for layer in layers:
        assert abs(float(torch.linalg.matrix_norm(layer.normalised().detach().flatten(1), 2)) - 1) < 1e-3
    layers[0].eval()
    vectors = layers[0].u.clone()
    layers[0].normalised()
    assert torch.equal(layers[0].u, vectors)


def test_averaged_weights_are_divided_by_their_own_largest_singular_value() -> None:
    """Not by that of the newest weights, whose singular vectors the average takes at every update."""
    model = built(classes=3)
    trainer = make_trainer(model, learning_rate=1e-3)
    average = MovingAverage(model, torch.device("cpu"), half_life=200, batch_size=4)
    for update in range(60):
        trainer.step(made_up(model, update % 4), 4 * update)
        average.update(4 * (update + 1))
    moved = [
        float((ours - theirs).detach().norm() / theirs.detach().norm())
        for ours, theirs in zip(average.model.generator.parameters(), model.generator.parameters(), strict=True)
    ]
    assert max(moved) > 0.01
    trainer.settle(average.model)
    for layer in (layer for layer in average.model.modules() if isinstance(layer, SpectralNorm)):
        weight = layer.normalised().flatten(1)
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("config", [{"classes": 3}, {"given_frames": 2, "frames": 8}])
def test_the_average_has_statistics_of_its_own(config: dict[str, Any]) -> None:
    """Measured of its clips, frame by frame, and again without a trace of what was there before."""
    model = trained(**config)
    trainer = make_trainer(model, learning_rate=1e-3)
    trainer.step(made_up(model), 0)
    average = model.released().eval()
    norms = [module for module in average.modules() if isinstance(module, FrameBatchNorm)]
    found = []
    for start in (0.0, 100.0):
        for norm in norms:
            norm.mean.fill_(start)
        torch.manual_seed(0)
        trainer.settle(average)
        found.append(norms[-1].mean.clone())
    assert torch.allclose(*found, atol=0.2)
    assert found[0].abs().max() < 50
    vectors = average.generator.last.u.clone()
    with measuring(average.generator):
        trainer.generate(average, 2, None if not average.classes else torch.zeros(2, dtype=torch.int64), trainer.given)
    assert torch.equal(average.generator.last.u, vectors)  # only statistics are measured
    assert not any(module.training for module in average.modules())


def test_a_clips_spatial_score_is_the_sum_over_its_frames() -> None:
    model = built(classes=3).eval()
    frames, label = torch.rand(2, 3, 3, 8, 8), torch.tensor([0, 2])
    judge = model.discriminators.spatial
    single = torch.stack([judge(frames[:, t : t + 1], label) for t in range(3)], 1)
    assert torch.allclose(judge(frames, label), single.sum(1), atol=1e-4)
    assert not torch.allclose(judge(frames, torch.tensor([1, 2]))[0], single.sum(1)[0], atol=1e-4)


def test_the_temporal_discriminator_sees_motion_at_half_the_size() -> None:
    """Each clip with its own class, in its order of frames, without what four pixels average to nothing."""
    model = built(classes=3).eval()
    clips, label = torch.rand(2, 4, 3, 8, 8), torch.tensor([0, 2])
    spatial, temporal = model.discriminators.spatial, model.discriminators.temporal
    scores = temporal(clips, label)
    for i in range(2):
        assert torch.allclose(temporal(clips[i : i + 1], label[i : i + 1]), scores[i], atol=1e-4)
    assert not torch.allclose(temporal(clips, label.flip(0)), scores, atol=1e-4)
    assert not torch.allclose(temporal(clips[:, [1, 0, 2, 3]], label), scores, atol=1e-4)
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    assert torch.allclose(temporal(clips + checks, label), scores, atol=1e-4)
    assert not torch.allclose(spatial(clips + checks, label), spatial(clips, label), atol=1e-2)
    moved = clips.clone().requires_grad_()
    temporal(moved, label).sum().backward()
    assert (moved.grad.abs().amax((2, 3, 4)) > 0).all()


def test_frames_are_picked_equally_often_and_each_once() -> None:
    torch.manual_seed(0)
    clips = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(3000, 6, 1, 1, 1)
    picked = pick_frames(clips, 2).flatten(1)
    assert (picked[:, 0] < picked[:, 1]).all()
    counts = torch.bincount(picked.flatten().long(), minlength=6)
    assert (counts - 1000).abs().max() < 120  # over four deviations


# Training


@pytest.mark.parametrize("size", [{}, {"resolution": 16}, {"resolution": 16, "normalised": True}])
@pytest.mark.parametrize("config", [{}, {"classes": 3}, {"classes": 3, "given_frames": 2, "frames": 8}])
def test_gradients_reach_every_parameter(config: dict[str, Any], size: dict[str, Any]) -> None:
    model = built(**config, **size)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer = make_trainer(model, learning_rate=0.01, discriminator_rate=0.01)
    for update in range(3):
        trainer.step(made_up(model, update), 4 * update)
    assert [key for key, p in model.named_parameters() if torch.equal(p, before[key])] == []


def test_a_step_in_bf16_sees_the_weights_of_the_one_before() -> None:
    """Autocast keeps casts of weights until its block ends, in which the discriminators take several steps."""
    settings = Settings(model="dvdgan", data="-", out="-", batch_size=2, device="cpu", precision="bf16")
    accelerator, layer = make_accelerator(settings), nn.Linear(3, 1)
    player = Player(torch.optim.SGD(layer.parameters(), lr=1.0), accelerator)
    with accelerator.autocast():
        before = layer(torch.ones(2, 3))
        player.update(before.float().sum())
        after = layer(torch.ones(2, 3))
    assert after.dtype == torch.bfloat16
    assert torch.allclose(after.float(), before.float() - 8, atol=0.1)  # slopes of 2, of three weights and an offset


@pytest.mark.parametrize("config", [{}, {"classes": 3}, {"classes": 3, "given_frames": 2, "frames": 8}])
def test_each_network_learns_from_its_own_loss(config: dict[str, Any]) -> None:
    """Hinges of both discriminators, which know the class; the generator's by discriminators that have just learned."""
    model, other = built(**config), built(**config)
    rate, batch = 1e-3, made_up(model)
    mine, theirs = (
        {
            "generator": nn.ModuleList([x.generator, *([x.encoder] if x.encoder is not None else [])]),
            "discriminators": x.discriminators,
        }
        for x in (model, other)
    )
    torch.manual_seed(1)
    trainer = make_trainer(model, discriminator_rate=rate, discriminator_steps=1, spatial_frames=model.frames)
    found = step_gradients(trainer, batch, mine)
    torch.manual_seed(1)
    real, label = batch["video"] / 127.5 - 1, batch.get("label")

    def made() -> torch.Tensor:
        condition = other.generator.condition(torch.randn(4, 4), label)
        if other.encoder is None:
            return other.generator(condition, 4)[0]
        return torch.cat([real[:, :2], other.generator(condition, 6, other.encoder(real[:, :2]))[0]], 1)

    def judged(clips: torch.Tensor) -> list[torch.Tensor]:
        torch.rand(clips.shape[:2])  # by which frames are picked, here all of them
        classes = None if label is None else label.repeat(len(clips) // 4)
        return [judge(clips, classes) for judge in (other.discriminators.spatial, other.discriminators.temporal)]

    with torch.no_grad():
        fake = made()
    scores = [score.chunk(2) for score in judged(torch.cat([real, fake]))]
    loss = sum((1 - true).relu().mean() + (1 + false).relu().mean() for true, false in scores)
    assert_gradients({"discriminators": found.pop("discriminators")}, {"discriminators": loss}, theirs)
    optimizer = torch.optim.Adam(other.discriminators.parameters(), lr=rate, betas=(0.0, 0.999))
    loss.backward()
    optimizer.step()
    assert_gradients(found, {"generator": -sum(score.mean() for score in judged(made()))}, theirs)


def test_each_discriminator_step_has_real_clips_of_its_own() -> None:
    trainer = make_trainer(built())
    shown: list[torch.Tensor] = []
    judge = trainer.judge
    trainer.judge = lambda clips, label: shown.append(clips.detach()) or judge(clips, label)
    batch = made_up(trainer.model)
    trainer.step(batch, 0)
    real = [clips[:2] for clips in shown[:2]]
    assert torch.equal(torch.cat(real), batch["video"].float() / 127.5 - 1)
    assert len(shown) == 3
    with pytest.raises(OptionError, match="a batch of 4 clips can't be shared out among 3 steps"):
        make_trainer(built(), discriminator_steps=3)
    settings = Settings(model="dvdgan", data="-", out="-", batch_size=8, accumulate=2, device="cpu")
    with pytest.raises(OptionError, match="a batch can't be accumulated"):
        building.make_trainer(built().spec, built(), settings, make_accelerator(settings), {})


def test_resume_equals_uninterrupted() -> None:
    def run(trainer: Any, first: int, last: int) -> None:
        for update in range(first, last):
            torch.manual_seed(update)
            trainer.step(made_up(trainer.model, update), 4 * update)

    whole, stopped, resumed = (make_trainer(built(classes=3)) for _ in range(3))
    run(whole, 0, 4)
    run(stopped, 0, 2)
    load_state(resumed, resumed.accelerator, take_state(stopped, stopped.accelerator))
    run(resumed, 2, 4)
    theirs = resumed.model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in whole.model.state_dict().items())


@pytest.mark.parametrize("frames", [12, 48])
@pytest.mark.parametrize("resolution", [64, 128, 256])
def test_the_papers_sizes_build(resolution: int, frames: int) -> None:
    with torch.device("meta"):
        model = DVDGAN(resolution=resolution, frames=frames, classes=600, discriminator=False)
        condition = model.generator.condition(torch.zeros(1, 120), torch.zeros(1, dtype=torch.int64))
        clips, _ = model.generator(condition, frames)
    assert clips.shape == (1, frames, 3, resolution, resolution)


def test_sizes_that_make_no_sense_are_named() -> None:
    for config, message in (
        ({"frames": 3}, "multiple of 4"),
        ({"frames": 14}, "multiple of 4"),
        ({"given_frames": 12}, "given_frames must be from 0 to frames - 1"),
        ({"resolution": 100}, "power of two"),
    ):
        with pytest.raises(ValueError, match=message):
            DVDGAN(**config)
    with pytest.raises(OptionError, match="built without a discriminator"):
        make_trainer(built().released())


def test_loaded_weights_lie_as_the_fast_kernels_take_them(tmp_path: Path) -> None:
    loaded = zoo.load("dvdgan", weights=zoo.save(built(), tmp_path / "weights", samples=0))
    [block, *_] = loaded.generator.steady
    assert block.convs[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_statistics_keep_their_digits_far_from_zero() -> None:
    norm = FrameBatchNorm(2, 0, 3)
    x = torch.randn(5, 3, 2, 8, 8) + 3000
    norm(x, torch.zeros(5, 0))
    for _ in range(200):  # the running mean comes near
        y = norm(x, torch.zeros(5, 0))
    assert (y.std((0, 3, 4), correction=0) - 1).abs().max() < 0.05


def _half_of_a_batch(rank: int, place: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    x = torch.load(f"{place}/x.pt")[2 * rank : 2 * rank + 2].requires_grad_()
    norm = FrameBatchNorm(2, 0, 3)
    y = norm(x, torch.zeros(2, 0))
    y.square().mul(torch.arange(float(y.numel())).view_as(y) * (rank + 1)).sum().backward()
    torch.save((y.detach(), x.grad, norm.mean, norm.var), f"{place}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one_in_statistics_and_gradients(tmp_path: Path) -> None:
    x = torch.randn(4, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.save(x, tmp_path / "x.pt")
    torch.multiprocessing.spawn(_half_of_a_batch, (str(tmp_path),), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    whole = x.clone().requires_grad_()
    norm = FrameBatchNorm(2, 0, 3)
    y = norm(whole, torch.zeros(4, 0))
    parts = y.chunk(2)
    weight = torch.arange(float(parts[0].numel())).view_as(parts[0])
    (parts[0].square().mul(weight).sum() + parts[1].square().mul(2 * weight).sum()).backward()
    assert torch.allclose(torch.cat([half[0] for half in halves]), y, atol=1e-5)
    assert torch.allclose(torch.cat([half[1] for half in halves]), whole.grad, rtol=1e-3, atol=1e-3)
    for half in halves:
        assert torch.allclose(half[2], norm.mean, atol=1e-6)
        assert torch.allclose(half[3], norm.var, atol=1e-5)


def test_a_kept_weight_is_forgotten_when_it_changes() -> None:
    model = built().eval()
    before = model.sample(1)
    with torch.no_grad():
        model.generator.last.weight.mul_(-1)
        model.generator.last.u.mul_(-1)
    assert not torch.equal(model.sample(1), before)
