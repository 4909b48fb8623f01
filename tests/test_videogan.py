"""VGAN, TGAN and MoCoGAN: the papers' equations and counts, clips that depend on nothing they should not."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from objectives import assert_gradients, step_gradients
from torch import nn
from torch.nn import functional as F

import zoo
from zoo import building
from zoo.errors import OptionError
from zoo.media.video import write_clip
from zoo.precision import tf32
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator
from zoo.train.state import MovingAverage, load_state, take_state

zoo.models()  # puts plugins/ on the path
from zoo_videogan.mocogan import MoCoGAN, Noise  # noqa: E402
from zoo_videogan.tgan import TGAN, clip_singular_values  # noqa: E402
from zoo_videogan.train import pick_frames  # noqa: E402
from zoo_videogan.vgan import VGAN, compose  # noqa: E402

MODELS = ("vgan", "tgan", "mocogan")
LABELLED = {"categories": 3, "labelled": True}


def make_trainer(model: Any, seed: int = 0, **recipe: Any) -> Any:
    settings = Settings(model=model.spec.name, data="-", out="-", preset="tiny", batch_size=4, device="cpu", seed=seed)
    full = building.schema(model.spec, "recipe").check(recipe)
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), full)


def made_up(model: Any, n: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)
        if shape
        else torch.randint(0, 3, (n,), generator=generator)
        for key, shape in model.batch_shapes.items()
    }


def built(name: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build(name, preset="tiny", **config)


# The papers' networks


def test_mocogan_has_the_papers_parameters() -> None:
    """The generator of the official code, with its recurrent network, at 50 content, 6 categories and 10 motion."""
    with torch.device("meta"):
        model = MoCoGAN(categories=6)
    generator = [*model.generator.parameters(), *model.recurrence.parameters()]
    assert sum(p.numel() for p in generator) == 3_298_836


def test_vgan_and_tgan_have_the_papers_parameters() -> None:
    """Of the authors' code, less what changes nothing: offsets before batch norm (of VGAN 1,920 in the generator and
    896 in the discriminator), and of TGAN's critic an offset of the score and a batch norm that is never called."""

    def count(*networks: nn.Module) -> int:
        return sum(p.numel() for network in networks for p in network.parameters())

    with torch.device("meta"):
        vgan, tgan = VGAN(), TGAN()
    assert count(vgan.generator) == 16_245_383 - 1_920
    assert count(vgan.discriminator) == 11_057_858 - 896
    assert count(tgan.temporal) == 825_444
    assert count(tgan.image) == 3_622_691
    assert count(tgan.discriminator) == 11_032_449 - 65


def test_mocogan_is_the_function_of_the_authors_code() -> None:
    """With the same weights and noise their code gives these values; all of its frames agree to the bit."""
    model = MoCoGAN(categories=2, content_size=5, motion_size=4, width=8, discriminator=False).eval()
    for network in (model.recurrence, model.generator):
        for i, p in enumerate(network.parameters()):
            waves = 0.15 * torch.sin(torch.arange(p.numel(), dtype=torch.float64) * (1.3 + 0.1 * i))
            p.data.copy_(waves.float().view_as(p))
    noise, content = torch.sin(torch.arange(64.0)).view(1, 16, 4), torch.linspace(-2, 2, 5)[None]
    motion = model.motion(torch.linspace(-1, 1, 4)[None], noise)
    frames = model.generator(model.latents(content, torch.tensor([1]), motion)[0])
    found = frames[[0, 7, 15], [0, 1, 2], [10, 33, 50], [20, 5, 60]]
    assert torch.allclose(found, torch.tensor([0.041274, -0.046665, 0.019073]), atol=1e-6)
    assert frames.abs().mean().item() == pytest.approx(0.033029, abs=1e-6)


def test_the_papers_shapes() -> None:
    with torch.device("meta"):
        vgan, tgan, mocogan = VGAN(), TGAN(), MoCoGAN(categories=6)
        z = torch.zeros(2, 100)
        assert vgan.generator(z)[0].shape == (2, 3, 32, 64, 64)
        assert vgan.generator.foreground.trunk[0][0].weight.shape == (100, 512, 2, 4, 4)
        assert tgan.clips(z).shape == (2, 3, 16, 64, 64)
        assert [layer.out_channels for layer in tgan.temporal.layers if isinstance(layer, nn.ConvTranspose1d)] == [
            512, 256, 128, 128, 100,
        ]  # fmt: skip
        clips = torch.zeros(2, 3, 16, 64, 64)
        assert vgan.discriminator(torch.zeros(2, 3, 32, 64, 64)).shape == tgan.discriminator(clips).shape == (2,)
        scores, logits = mocogan.clip_discriminator(clips)
        assert (scores.shape, logits.shape) == ((2, 1), (2, 6))
        assert mocogan.frame_discriminator(clips[:, :, 0]).shape == (2, 1, 4, 4)


def test_vgan_is_composed_exactly() -> None:
    """Equation 4, on the pictures that its options show."""
    model = built("vgan")
    video, mask, background = model.generator(torch.randn(2, 8))
    clips = compose(video, mask, background)
    assert torch.equal(clips, mask * video + (1 - mask) * background)
    assert mask.min() > 0
    assert mask.max() < 1
    parts = {part: model.sample(2, part=part).float() for part in ("foreground", "background", "mask")}
    assert torch.equal(parts["background"][:, :1].expand_as(parts["background"]), parts["background"])  # it stays still
    m = parts["mask"] / 255
    expected = m * parts["foreground"] + (1 - m) * parts["background"]
    assert (model.sample(2).float() - expected).abs().max() < 2


def test_after_clipping_no_singular_value_is_beyond_one() -> None:
    model = built("tgan", resolution=16)
    critic = model.discriminator
    layers = [layer for layer in critic.modules() if isinstance(layer, nn.Conv3d)]
    norms = [layer for layer in critic.modules() if isinstance(layer, nn.BatchNorm3d)]
    for layer in layers:
        nn.init.normal_(layer.weight, 0, 0.3)
    assert norms
    nn.init.constant_(norms[0].weight, 5.0)
    before = [torch.linalg.svd(layer.weight.flatten(1).double()) for layer in layers]
    clip_singular_values(critic)
    assert max(values.max().item() for _, values, _ in before) > 2
    for layer, (u, values, v) in zip(layers, before, strict=True):
        clipped = u @ torch.diag(values.clamp(max=1)) @ v[: len(values)]
        assert torch.allclose(layer.weight.flatten(1).double(), clipped, atol=1e-4)
    for norm in norms:
        deviation = (norm.running_var + norm.eps).sqrt()
        assert (norm.weight <= deviation + 1e-6).all()
        nn.init.constant_(norm.weight, -1.0)
        clip_singular_values(norm)
        assert torch.allclose(norm.weight, 0.01 * deviation)


def test_singular_values_are_found_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a run computes in, as spectral norms are."""
    allowed, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(
        torch.linalg, "eigh", lambda m: allowed.append(torch.backends.cuda.matmul.allow_tf32) or eigh(m)
    )
    with tf32(True):
        clip_singular_values(built("tgan").discriminator)
    assert allowed
    assert not any(allowed)


def test_tgan_clips_every_fifth_update() -> None:
    model = built("tgan")
    trainer = make_trainer(model, learning_rate=0.5)
    largest = []
    for update in range(6):
        trainer.step(made_up(model), 4 * update)
        weights = [layer.weight for layer in model.discriminator.modules() if isinstance(layer, nn.Conv3d)]
        largest.append(max(float(torch.linalg.matrix_norm(w.detach().flatten(1), 2)) for w in weights))
    assert [value < 1.001 for value in largest] == [True, False, False, False, False, True]


# Samples


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_depends_on_nothing_but_its_own_noise(name: str) -> None:
    model = built(name)
    make_trainer(model).step(made_up(model), 0)  # statistics of batch norm that are not the initial ones
    together = model.sample(5, seed=2)
    for i in range(5):
        assert (model.sample(1, seed=2, start=i)[0].int() - together[i].int()).abs().max() <= 1


def test_a_longer_clip_begins_with_the_shorter_one() -> None:
    model = built("mocogan", categories=3)
    clip = model.sample(2, seed=1)
    assert torch.equal(model.sample(2, seed=1, frames=24)[:, : model.frames], clip)
    stream = model.stream(2, seed=1)
    assert torch.equal(torch.stack([next(stream) for _ in range(model.frames)], 1), clip)


def test_a_frame_depends_on_no_later_noise() -> None:
    model = built("mocogan").eval()
    noise = torch.randn(1, 6, model.motion_size, requires_grad=True)
    content, state = torch.randn(1, model.content_size), torch.randn(1, model.motion_size)
    frames = model.generator(model.latents(content, None, model.motion(state, noise))[0])
    for t in range(6):
        (gradient,) = torch.autograd.grad(frames[t].square().sum(), noise, retain_graph=True)
        reached = gradient[0].abs().sum(1) > 0
        assert reached.tolist() == [step <= t for step in range(6)]


@pytest.mark.parametrize("name", ["vgan", "tgan"])
def test_clips_of_one_length_say_so(name: str) -> None:
    model = built(name)
    assert torch.equal(model.sample(2, frames=3), model.sample(2)[:, :3])
    with pytest.raises(OptionError, match=f"{name} draws clips of 4 frames, not of 5"):
        model.sample(1, frames=5)
    assert len(list(model.stream(1))) == 4


def test_contents_with_exchanged_motions() -> None:
    """Along a row of the table the content stays, along a column the motion: nothing else does."""
    model = built("mocogan", categories=3)
    drawn: list[torch.Tensor] = []
    model.generator.register_forward_pre_hook(lambda module, inputs: drawn.append(inputs[0]))
    table = model.sample(6, seed=3, motions=2)  # 2 rows, 3 columns
    latents = torch.stack(drawn, 1).view(2, 3, model.frames, -1)  # rows columns T Z
    content, moving = latents[..., : model.content_size], latents[..., model.content_size :]
    assert (content == content[:, :1, :1]).all()
    assert (moving == moving[:1]).all()
    assert not torch.equal(content[0], content[1])
    assert not torch.equal(moving[:, 0], moving[:, 1])
    assert torch.equal(model.sample(1, seed=3)[0], table[0])
    assert torch.equal(model.sample(1, seed=3, start=4, motions=2)[0], table[4])


def test_categories_are_asked_for_or_drawn() -> None:
    model = built("mocogan", **LABELLED)
    assert torch.equal(model.sample(2, label=[1, 1]), model.sample(2, label=1))
    assert not torch.equal(model.sample(1, label=0), model.sample(1, label=1))
    assert len({model.sample(1, seed=s).numpy().tobytes() for s in range(4)}) == 4
    drawn = model.draw_z(300, frames=1)[:, 0, model.content_size : -model.motion_size].sum(0)  # how often each
    assert (drawn - 100).abs().max() < 35  # over four deviations
    with pytest.raises(OptionError, match="takes an integer from 0 to 2, not 3"):
        model.sample(1, label=3)
    with pytest.raises(OptionError, match="knows no categories"):
        built("mocogan").sample(1, label=0)


# Training


@pytest.mark.parametrize("size", [{}, {"resolution": 16}])
@pytest.mark.parametrize(
    ("name", "config"),
    [("vgan", {}), ("tgan", {}), ("mocogan", {}), ("mocogan", {"categories": 3}), ("mocogan", LABELLED)],
)
def test_gradients_reach_every_parameter(name: str, config: dict[str, Any], size: dict[str, int]) -> None:
    frames = {"frames": 10} if size and name == "mocogan" else {}
    model = built(name, **config, **size, **frames)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    decay = {"weight_decay": 0.0} if name == "mocogan" else {}  # which would move weights without any gradient
    trainer = make_trainer(model, learning_rate=0.01, **decay)
    for update in range(2):
        trainer.step(made_up(model), 4 * update)
    assert [key for key, p in model.named_parameters() if torch.equal(p, before[key])] == []


def test_each_network_of_vgan_learns_from_its_own_loss() -> None:
    """Equation 2 with eq. 4 and the penalty on the mask; the generator's by the discriminator that has just learned."""
    model, other = built("vgan"), built("vgan")
    batch = made_up(model)
    networks = {"generator": model.generator, "discriminator": model.discriminator}
    torch.manual_seed(1)
    found = step_gradients(make_trainer(model, mask_weight=3.0), batch, networks)
    torch.manual_seed(1)
    video, mask, background = other.generator(torch.randn(4, 8))
    real, fake = batch["video"].transpose(1, 2) / 127.5 - 1, mask * video + (1 - mask) * background
    losses = {"generator": -F.logsigmoid(model.discriminator(fake)).mean() + 3 * mask.mean()}
    scores = other.discriminator(real), other.discriminator(fake.detach())
    losses["discriminator"] = -F.logsigmoid(scores[0]).mean() - F.logsigmoid(-scores[1]).mean()
    assert_gradients(found, losses, {"generator": other.generator, "discriminator": other.discriminator})


def test_each_network_of_tgan_learns_from_its_own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The critic widens the distance of means, from uniform latents; the generator lessens it."""
    monkeypatch.setattr("zoo_videogan.train.clip_singular_values", lambda critic: None)
    model, other = built("tgan"), built("tgan")
    batch = made_up(model)
    mine, theirs = (
        {"generator": nn.ModuleList([x.temporal, x.image]), "discriminator": x.discriminator} for x in (model, other)
    )
    torch.manual_seed(1)
    found = step_gradients(make_trainer(model), batch, mine)
    torch.manual_seed(1)
    z = 2 * torch.rand(4, 8) - 1
    real, fake = batch["video"].transpose(1, 2) / 127.5 - 1, other.image(z, other.temporal(z))
    losses = {"generator": -model.discriminator(fake).mean()}
    losses["discriminator"] = other.discriminator(fake.detach()).mean() - other.discriminator(real).mean()
    assert_gradients(found, losses, theirs)


@pytest.mark.parametrize("config", [{}, {"categories": 3}, LABELLED])
def test_each_network_of_mocogan_learns_from_its_own_loss(config: dict[str, Any]) -> None:
    """Equations 6 and 7: one frame of each clip, whole clips, and categories, which labels teach if there are any."""
    model, other = (built("mocogan", noise=0, **config) for _ in range(2))
    batch = made_up(model)
    mine, theirs = (
        {
            "generator": nn.ModuleList([x.generator, x.recurrence]),
            "frames": x.frame_discriminator,
            "clips": x.clip_discriminator,
        }
        for x in (model, other)
    )
    torch.manual_seed(1)
    found = step_gradients(make_trainer(model, category_weight=2.0), batch, mine)
    torch.manual_seed(1)
    constant = [torch.randn(4, 6)]
    category = batch.get("label")
    if config:
        category = torch.randint(3, (4,)) if category is None else category
        constant.append(torch.eye(3)[category])
    state, noise, latents = torch.randn(4, 4), torch.randn(4, 8, 4), []
    for t in range(8):
        state = other.recurrence(noise[:, t], state)
        latents.append(torch.cat([*constant, state], 1))
    frames = other.generator(torch.cat(latents))  # normalised together
    real, fake = batch["video"].transpose(1, 2) / 127.5 - 1, frames.unflatten(0, (8, 4)).permute(1, 2, 0, 3, 4)
    one = [clip[torch.arange(4), :, torch.randint(8, (4,))] for clip in (real, fake)]
    losses = {name: torch.zeros(()) for name in found}
    for name, true, made in (("frames", one[0], one[1].detach()), ("clips", real, fake.detach())):
        (true, logits), (made, of_made) = (
            network(x) if name == "clips" else (network(x), None)
            for network, x in ((theirs[name], true), (theirs[name], made))
        )
        losses[name] = -F.logsigmoid(true).mean() - F.logsigmoid(-made).mean()
        if category is not None and name == "clips":
            losses[name] = losses[name] + 2 * F.cross_entropy(logits if model.labelled else of_made, category)
    scores, logits = model.clip_discriminator(fake)
    losses["generator"] = -F.logsigmoid(model.frame_discriminator(one[1])).mean() - F.logsigmoid(scores).mean()
    if category is not None:
        losses["generator"] = losses["generator"] + 2 * F.cross_entropy(logits, category)
    assert_gradients(found, losses, theirs)


@pytest.mark.parametrize("name", MODELS)
def test_resume_equals_uninterrupted(name: str) -> None:
    config = LABELLED if name == "mocogan" else {}

    def run(trainer: Any, first: int, last: int) -> None:
        for update in range(first, last):
            torch.manual_seed(update)
            trainer.step(made_up(trainer.model, seed=update), 4 * update)

    whole, stopped, resumed = (make_trainer(built(name, **config)) for _ in range(3))
    run(whole, 0, 4)
    run(stopped, 0, 2)
    load_state(resumed, resumed.accelerator, take_state(stopped, stopped.accelerator))
    run(resumed, 2, 4)
    theirs = resumed.model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in whole.model.state_dict().items())


def test_discriminators_see_noise_in_training_alone() -> None:
    noise, x = Noise(0.3), torch.randn(100, 100)
    assert (noise(x) - x).std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(noise.eval()(x), x)
    model = built("mocogan")
    kinds = [type(layer) for judge in (model.frame_discriminator, model.clip_discriminator) for layer in judge.layers]
    convolutions = [i for i, kind in enumerate(kinds) if issubclass(kind, nn.Conv2d | nn.Conv3d)]
    assert len(convolutions) == 4
    assert all(kinds[i - 1] is Noise for i in convolutions[:-1])  # not before the last of the clips


def test_each_frame_of_a_clip_is_shown_equally_often() -> None:
    torch.manual_seed(0)
    clips = torch.arange(8.0).view(1, 1, 8, 1, 1).expand(4000, 1, 8, 1, 1)
    counts = torch.bincount(pick_frames(clips).flatten().long(), minlength=8)
    assert (counts - 500).abs().max() < 100  # over four deviations


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_teach_the_categories_and_infogan_finds_them(labelled: bool) -> None:
    """Taught, the clip discriminator learns categories from real clips alone; found, from generated ones alone."""
    model = built("mocogan", categories=3, labelled=labelled, noise=0)
    trainer = make_trainer(model)
    head, category = model.clip_discriminator.layers[-1].weight, torch.zeros(4, dtype=torch.int64)
    real, gradients = trainer.real(made_up(model), mirror=False), []
    trainer.players["clips"].update = lambda loss: gradients.append(torch.autograd.grad(loss, head)[0][1:])
    for clips in (real, 0.5 * real.flip(2)):
        trainer._judge_clips(clips, torch.zeros_like(real), category if labelled else None, category)
    assert torch.equal(*gradients) is not labelled


@pytest.mark.parametrize("name", MODELS)
def test_the_average_has_statistics_of_its_own(name: str) -> None:
    """Of its clips, not of those of the newest weights: features come out of batch norm with mean 0 and deviation 1."""
    model = built(name)
    trainer = make_trainer(model, learning_rate=0.02)
    average = MovingAverage(model, torch.device("cpu"), half_life=400, batch_size=4)
    for update in range(12):
        trainer.step(made_up(model, seed=update), 4 * update)
        average.update(4 * (update + 1))

    def off() -> float:
        """The largest distance of a feature's mean from 0, and of its variance from 1, after normalisation."""
        found: list[float] = []

        def note(norm: Any, _: Any, out: torch.Tensor) -> None:
            y = ((out.transpose(0, 1).flatten(1) - norm.bias[:, None]) / norm.weight[:, None]).double()
            found.extend([float(y.mean(1).abs().max()), float((y.var(1) - 1).abs().max())])

        norms = [m for m in average.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        hooks = [norm.register_forward_hook(note) for norm in norms]
        with torch.no_grad():
            trainer.generate(average.model, 512)
        for hook in hooks:
            hook.remove()
        return max(found)

    before = off()
    trainer.settle(average.model)
    assert not any(module.training for module in average.model.modules())
    assert off() < 0.5
    assert before > 2 * off()


TWO = """
import json, sys, torch
from zoo.settings import Settings
from zoo.train.loop import Run
run = Run(Settings(**json.loads(sys.argv[1])), resume=False, progress=None)
run.go()
for name, parameter in run.model.named_parameters():
    both = run.accelerator.gather(parameter.detach().reshape(1, -1))
    assert len(both) == 2 and torch.equal(both[0], both[1]), f"{name} differs between the processes"
run.files.release()
sys.stdout.flush()
torch.distributed.barrier()
import os
os._exit(0)  # gloo's threads may abort an interpreter that ends while they run
"""


@pytest.mark.parametrize("name", ["tgan", "dvdgan"])
def test_two_processes_stay_the_same_model(name: str, tmp_path: Path) -> None:
    """TGAN clips the gains of batch norm by deviations, which two processes must not measure each for itself."""
    (tmp_path / "clips").mkdir()
    for number in range(8):
        pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
        write_clip(list(pixels * (number % 2)), tmp_path / "clips" / f"{number}.gif", [100] * 4)
    script = tmp_path / "run.py"
    script.write_text(TWO)
    own = {"examples": 24, "batch_size": 8, "sample_every": 0, "eval_every": 0, "device": "cpu", "preset": "tiny"}
    recipe = {"learning_rate": 0.01}
    where = {"data": str(tmp_path / "clips"), "out": str(tmp_path / "run")}
    run = Settings(model=name, overrides={"resolution": 16}, recipe=recipe, **where, **own)  # type: ignore[arg-type]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = json.dumps(dataclasses.asdict(run))
    done = subprocess.run([*command, arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_sizes_that_make_no_sense_are_named() -> None:
    for config, message in (
        ({"resolution": 48}, "power of two"),
        ({"frames": 9}, "the clip discriminator needs 16 frames at 64 pixels"),
        ({"labelled": True}, "labelled needs categories"),
        ({"channels": 2}, "channels must be 1 or 3"),
    ):
        with pytest.raises(ValueError, match=message):
            MoCoGAN(**config)
    with pytest.raises(ValueError, match="frames must be a multiple of 16 at 64 pixels, not 24"):
        VGAN(frames=24)
    with pytest.raises(ValueError, match="power of two of at least 16"):
        TGAN(frames=24)


def test_released_models_have_no_discriminators_and_cannot_be_trained() -> None:
    settings = Settings(model="tgan", data="-", out="-", batch_size=1, device="cpu")
    with pytest.raises(OptionError, match="needs two clips at least"):
        building.make_trainer(built("tgan").spec, built("tgan"), settings, make_accelerator(settings), {})
    for name in MODELS:
        released = built(name).released()
        assert not any("discriminator" in key for key in released.state_dict())
        with pytest.raises(OptionError, match="built without a discriminator"):
            make_trainer(released)
