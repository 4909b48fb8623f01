"""VQ-VAE-2: codebooks that are k-means, priors that see all of the past and none of the future, stages that resume."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import write_pictures
from objectives import assert_gradients, step_gradients
from PIL import Image

import zoo
from zoo import building
from zoo.cli import main
from zoo.errors import OptionError, PluginError, TrainingError, WeightsError
from zoo.hub.imports import import_weights
from zoo.precision import tf32
from zoo.settings import Settings
from zoo.train import loop
from zoo.train.accelerator import make_accelerator
from zoo.train.state import load_state, take_state
from zoo.trainer import warm_cosine

zoo.models()  # puts plugins/ on the path
from zoo_vqvae import vqvae2  # noqa: E402
from zoo_vqvae.prior import Prior  # noqa: E402
from zoo_vqvae.quantise import Quantiser, perplexity  # noqa: E402
from zoo_vqvae.store import CodeStore  # noqa: E402
from zoo_vqvae.vqvae import Autoencoder, code_shapes  # noqa: E402

SMALL = {"width": 8, "hidden": 6, "n_layers": 1, "n_attention": 1, "heads": 2, "kernel_size": 3, "n_output": 1}
MAPS = {"imagenet256": [(32, 32), (64, 64)], "ffhq1024": [(32, 32), (64, 64), (128, 128)]}
PARAMETERS = {  # of the autoencoder, and of the priors from the top down
    "imagenet256": (1_716_803, [1_060_175_360, 613_580_288]),
    "ffhq1024": (3_196_995, [975_777_280, 614_646_272, 361_600_512]),
}


def make_prior(shape: tuple[int, int] = (4, 4), levels: int = 5, **config: Any) -> Any:
    torch.manual_seed(0)
    prior = Prior(image_shape=(1, *shape), levels=levels, **{**SMALL, **config}).double().eval()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.mul_(2)  # so that what depends on something depends on it well above rounding
    return prior


def built(**config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build("vqvae2", preset="tiny", **config)


def make_trainer(model: Any, examples: int = 32, out: Path | None = None, **recipe: Any) -> Any:
    settings = Settings(model="vqvae2", data="-", out=str(out), batch_size=4, examples=examples, device="cpu")
    full = building.schema(model.spec, "recipe").check(recipe)
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), full)


def pictures(model: Any, n: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *model.image_shape), dtype=torch.uint8, generator=generator)


def run_steps(trainer: Any, model: Any, steps: range) -> list[dict[str, torch.Tensor]]:
    found = []
    for step in steps:
        torch.manual_seed(step)
        model.train()
        batch = {"image": pictures(model, seed=step), "label": torch.arange(4) % 3}
        found.append(trainer.step(batch, 4 * step))
    return found


# The autoencoder


def test_it_has_the_parameters_of_the_public_implementation() -> None:
    sizes = {"width": 128, "residual_width": 32, "n_residual": 2, "codes": 512, "code_size": 64}
    network = Autoencoder(image_shape=(3, 256, 256), n_levels=2, stride=4, **sizes)
    assert sum(p.numel() for p in network.parameters()) == 1_388_867


@pytest.mark.parametrize("preset", MAPS)
def test_the_papers_sizes_build(preset: str) -> None:
    with torch.device("meta"):
        model = zoo.build("vqvae2", preset=preset)
    assert model.code_shapes == MAPS[preset]
    found = [sum(p.numel() for p in part.parameters()) for part in (model.autoencoder, *model.priors)]
    assert (found[0], found[1:]) == PARAMETERS[preset]


@pytest.mark.parametrize(("levels", "stride"), [(1, 2), (2, 2), (2, 4), (3, 2), (1, 8)])
def test_decoding_the_codes_is_the_reconstruction(levels: int, stride: int) -> None:
    per_level = {f"prior_{name}": (8,) * levels for name in ("width", "hidden")}
    per_level |= {f"prior_{name}": (1,) * levels for name in ("layers", "attention", "output", "condition")}
    model = built(n_levels=levels, stride=stride, **per_level)
    images = pictures(model)
    codes = model.encode(images)
    assert [tuple(level.shape[1:]) for level in codes] == code_shapes((1, 16, 16), levels, stride)
    whole = model.autoencoder(model._floats(images))
    assert torch.equal(model.reconstruct(images), ((whole.images * 127.5) + 127.5).round().clamp(0, 255).byte())


# The quantiser


def test_without_memory_an_update_is_a_step_of_k_means() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(4, 3)
    z = torch.randn(8, 3, 5, 5)
    _, codes = quantiser(z)
    vectors, flat = z.permute(0, 2, 3, 1).reshape(-1, 3), codes.flatten()
    means = torch.stack([vectors[flat == k].mean(0) for k in range(4)])
    quantiser.update(z, codes, decay=0)
    torch.testing.assert_close(quantiser.codebook, means, atol=1e-5, rtol=1e-5)


def test_the_gradient_passes_straight_through() -> None:
    torch.manual_seed(0)
    z, weight = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4)
    (Quantiser(4, 3)(z)[0] * weight).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, weight)


@pytest.mark.parametrize("codes", [2, 512, 4096])
def test_a_vector_of_the_codebook_is_its_own_code(codes: int) -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(codes, 16)
    wanted = torch.arange(codes).view(1, 1, -1)
    quantised, found = quantiser(quantiser.lookup(wanted))
    assert torch.equal(found, wanted)
    torch.testing.assert_close(quantised, quantiser.lookup(wanted))


def test_two_processes_move_the_codebook_as_one_does() -> None:
    """Each process adds the other's counts and sums."""
    torch.manual_seed(0)
    one, two = Quantiser(6, 3), Quantiser(6, 3)
    two.load_state_dict(one.state_dict())
    z = torch.randn(4, 3, 5, 5)
    codes = one(z)[1]
    one.update(z, codes)
    sent: list[torch.Tensor] = []
    probe = Quantiser(6, 3)
    probe.update(z[2:], codes[2:], total=lambda tensor: (sent.append(tensor.clone()), tensor)[1])
    others = iter(sent)
    two.update(z[:2], codes[:2], total=lambda tensor: tensor + next(others))
    torch.testing.assert_close(two.codebook, one.codebook)


def test_processes_begin_codes_anew_at_the_same_vectors() -> None:
    """Those of the first one; each process has its own random numbers."""
    both = Quantiser(6, 3), Quantiser(6, 3)
    both[1].load_state_dict(both[0].state_dict())
    vectors = torch.randn(2, 1, 3, 5, 5)
    sent: list[list[torch.Tensor]] = [[], []]

    def update(rank: int, quantiser: Quantiser, exchange: Any) -> None:
        torch.manual_seed(rank)
        how = {"restart_below": 0.5, "total": exchange, "is_main": rank == 0}
        quantiser.update(vectors[rank], both[0](vectors[rank])[1], **how)

    for rank in (0, 1):
        probe = Quantiser(6, 3)
        probe.load_state_dict(both[0].state_dict())
        update(rank, probe, lambda x, rank=rank: (sent[rank].append(x.clone()), x)[1])
    codebooks = []
    for rank in (0, 1):
        mine = Quantiser(6, 3)
        mine.load_state_dict(both[0].state_dict())
        others = iter(sent[1 - rank])
        update(rank, mine, lambda x, others=others: x + next(others))
        codebooks.append(mine.codebook)
    assert torch.equal(codebooks[0], codebooks[1])
    known = {tuple(v) for v in vectors[0].movedim(1, -1).reshape(-1, 3).tolist()}
    assert {tuple(v) for v in codebooks[0].tolist()} <= known


def test_what_is_not_known_is_the_mean_of_what_was_quantised() -> None:
    quantiser = Quantiser(4, 2)
    z = torch.randn(1, 2, 5, 5)
    quantiser.update(z, quantiser(z)[1], decay=0)
    torch.testing.assert_close(quantiser.mean(), z.mean((0, 2, 3)))


def test_a_code_that_begins_anew_counts_as_little_more_than_a_dead_one() -> None:
    quantiser = Quantiser(4, 2)
    codes = torch.zeros(1, 4, 4, dtype=torch.int64)
    quantiser.updates.add_(1)  # in the beginning, all would begin anew
    quantiser.update(torch.randn(1, 2, 4, 4), codes, decay=0, restart_below=0.1)
    assert quantiser.counts.tolist() == pytest.approx([16, *[2 * 0.1 * 16 / 4] * 3])
    torch.testing.assert_close(quantiser.sums, quantiser.codebook * quantiser.counts[:, None], atol=1e-4, rtol=1e-4)


def test_counts_are_smoothed() -> None:
    """Appendix A.1: a code that nobody takes any more keeps a finite vector, and others hardly move for it."""
    quantiser = Quantiser(4, 2)
    quantiser.counts.zero_()
    quantiser.sums.zero_()
    z, codes = torch.full((1, 2, 2, 2), 3.0), torch.zeros(1, 2, 2, dtype=torch.int64)
    quantiser.update(z, codes, decay=0)
    n = (4 + 1e-5) / (4 + 4e-5) * 4
    assert quantiser.codebook[0].tolist() == pytest.approx([12 / n] * 2, rel=1e-6)
    assert quantiser.codebook[1:].eq(0).all()


def test_dead_codes_begin_anew_at_vectors_of_the_batch() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(8, 2)
    quantiser.codebook[4:] += 1000
    quantiser.sums.copy_(quantiser.codebook)
    z = torch.randn(4, 2, 8, 8)
    codes = quantiser(z)[1]
    quantiser.update(z, codes, decay=0)
    assert float(quantiser.dead()) >= 4
    quantiser.update(z, codes, decay=0, restart_below=0.05)
    vectors = {tuple(v) for v in z.permute(0, 2, 3, 1).reshape(-1, 2).tolist()}
    assert all(tuple(v) in vectors for v in quantiser.codebook[4:].tolist())
    assert float(quantiser.dead()) == 0


def test_new_codes_are_spread_over_what_is_rare_too() -> None:
    """Nine vectors in ten are one and the same, as the background of a picture; the codebook has that one once."""
    torch.manual_seed(0)
    z = torch.zeros(1, 2, 20, 20)
    z[:, :, :2] = torch.randn(1, 2, 2, 20)
    quantiser = Quantiser(16, 2)
    quantiser.update(z, quantiser(z)[1], restart_below=0.05)
    assert int((quantiser.codebook == 0).all(1).sum()) == 1
    quantiser.codebook[1:] = 100
    quantiser.sums.copy_(quantiser.codebook * quantiser.counts[:, None])
    quantiser.codebook[0] = quantiser.sums[0] = 0
    quantiser.update(z, quantiser(z)[1], decay=0, restart_below=0.05)  # all but one are dead
    assert int((quantiser.codebook.abs() < 0.01).all(1).sum()) < 4


def test_perplexity_counts_the_codes_in_use() -> None:
    codes = torch.tensor([0, 3, 5, 7]).repeat(4).view(1, 4, 4)
    assert float(perplexity(codes, 512)) == pytest.approx(4)
    quantiser = Quantiser(8, 2)
    quantiser.update(torch.zeros(1, 2, 4, 4), codes, decay=0)
    assert float(quantiser.perplexity()) == pytest.approx(4)
    assert float(quantiser.dead()) == 4
    quantiser.update(torch.zeros(1, 2, 4, 4), torch.zeros_like(codes))  # the window remembers more than one batch
    assert float(quantiser.perplexity()) == pytest.approx(4, abs=0.1)


# The priors


@torch.no_grad()
def test_every_code_sees_all_of_the_past_and_nothing_else() -> None:
    """630 ordered pairs on a 6x6 map, with one layer: attention's keys are made of the codes themselves."""
    prior = make_prior((6, 6))
    codes = torch.randint(0, 5, (1, 1, 6, 6))
    base = prior(codes).flatten(2)
    seen = torch.zeros(36, 36, dtype=torch.bool)
    for j in range(36):
        changed = codes.flatten().clone()
        changed[j] = (changed[j] + 1) % 5
        seen[:, j] = ((prior(changed.view(1, 1, 6, 6)).flatten(2) - base).abs().amax((0, 1))) > 1e-12
    assert torch.equal(seen, torch.ones(36, 36, dtype=torch.bool).tril(-1))


@torch.no_grad()
def test_the_bottom_depends_on_the_map_above_around_it_and_on_no_future_code() -> None:
    prior = make_prior((4, 4), upper=((2, 2),), n_attention=0, n_condition=1)
    codes, upper = torch.randint(0, 5, (1, 1, 4, 4)), torch.randint(0, 5, (1, 2, 2))
    base = prior(codes, upper_0=upper).flatten(2)
    for i in range(4):
        changed = upper.flatten().clone()
        changed[i] = (changed[i] + 1) % 5
        moved = (prior(codes, upper_0=changed.view(1, 2, 2)).flatten(2) - base).abs().amax((0, 1))
        assert bool((moved > 1e-12).all())  # 3x3 blocks over a 2x2 map reach everywhere, the first code included
    for j in range(16):
        later = codes.flatten().clone()
        later[j:] = (later[j:] + 1) % 5
        assert torch.equal(prior(later.view(1, 1, 4, 4), upper_0=upper).flatten(2)[..., : j + 1], base[..., : j + 1])


@pytest.mark.parametrize(
    ("layers", "attention", "wanted"), [(20, 4, [4, 9, 14, 19]), (5, 2, [1, 4]), (3, 1, [2]), (2, 0, [])]
)
def test_attention_is_spread_evenly_over_the_layers(layers: int, attention: int, wanted: list[int]) -> None:
    prior = make_prior(n_layers=layers, n_attention=attention)
    assert [i for i, layer in enumerate(prior.layers) if layer.attention is not None] == wanted


@torch.no_grad()
def test_a_code_above_is_one_square_of_those_below() -> None:
    prior = make_prior((4, 6), upper=((2, 3),), n_attention=0, n_condition=0)
    upper = torch.tensor([[[0, 1, 2], [3, 4, 0]]])
    found = prior.condition_map(upper_0=upper)
    squares = upper.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(found, prior.upper_embeddings[0](squares).movedim(-1, 1))


@torch.no_grad()
def test_the_first_code_reads_exactly_nothing_by_attention() -> None:
    prior = make_prior((3, 3))
    attention = prior.layers[0].attention
    features, codes = torch.randn(2, 8, 3, 3).double(), torch.randn(2, 8, 3, 3).double()
    read = attention(features, codes)[:, :, 0, 0]
    assert torch.equal(read, attention.output.bias.expand(2, -1))


CONDITIONS = [
    {},
    {"classes": 3},
    {"upper": ((2, 2),), "n_condition": 1},
    {"upper": ((1, 1), (2, 2)), "classes": 3, "n_condition": 2, "n_layers": 3, "n_attention": 2, "kernel_size": 5},
]


def conditions_of(prior: Any, n: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    found = {
        f"upper_{i}": torch.randint(0, prior.levels, (n, *shape), generator=generator)
        for i, shape in enumerate(prior.upper)
    }
    return {**found, "label": torch.arange(n) % 3} if prior.classes else found


@torch.no_grad()
@pytest.mark.parametrize("config", CONDITIONS)
def test_code_by_code_gives_the_logits_of_the_whole(config: dict[str, Any]) -> None:
    prior = make_prior((4, 4), **config)
    given = conditions_of(prior, 3)
    codes = torch.randint(0, 5, (3, 1, 4, 4))
    whole = prior(codes, **given)
    network = prior.cached(3, **given)
    for _ in range(2):  # a second map begins from nothing
        network.reset(**given)
        for row in range(4):
            network.start_row()
            for column in range(4):
                torch.testing.assert_close(network.logits(column, 0), whole[:, :, 0, row, column])
                network.put(column, 0, codes[:, 0, row, column])


@torch.no_grad()
@pytest.mark.parametrize("config", [{}, {"upper": ((1, 3),), "classes": 2, "n_condition": 1}])
def test_probabilities_of_all_maps_sum_to_one(config: dict[str, Any]) -> None:
    prior = make_prior((2, 3), levels=3, **config)
    maps = torch.tensor(list(itertools.product(range(3), repeat=6))).view(-1, 1, 2, 3)
    upper = {"upper_0": torch.tensor([[[2, 0, 1]]]).expand(len(maps), 1, 3), "label": 1} if config else {}
    assert float(prior.log_prob(maps, **upper).exp().sum()) == pytest.approx(1, abs=1e-6)  # nats are float32


def test_the_log_prob_of_codes_is_the_sum_over_levels() -> None:
    model = built(classes=3).eval()
    codes = model.encode(pictures(model))
    found = model.code_log_prob(codes, label=2)
    bottom = model.priors[1].log_prob(codes[1][:, None], upper_0=codes[0], label=2)
    assert found.shape == (4, 2)
    assert torch.equal(found[:, 1], bottom)
    assert not torch.equal(found, model.code_log_prob(codes, label=1))


# Sampling


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_cached_samples_are_the_naive_ones(levels: int) -> None:
    per_level = {f"prior_{name}": (8,) * levels for name in ("width", "hidden")}
    per_level |= {f"prior_{name}": (1,) * levels for name in ("layers", "attention", "output", "condition")}
    model = built(n_levels=levels, classes=3, **per_level).eval()
    slow, fast = (model.sample(3, seed=2, method=method) for method in ("naive", "cached"))
    assert torch.equal(slow, fast)


def test_a_codebook_of_more_than_a_byte_samples() -> None:
    model = built(codes=4096).eval()
    assert model.sample(2).shape == (2, 1, 16, 16)


def test_a_label_given_is_the_label_drawn() -> None:
    model = built(classes=3).eval()
    free = model.sample(6, seed=1)
    each = torch.stack([model.sample(6, seed=1, label=k) for k in range(3)])
    assert all(any(torch.equal(free[i], each[k, i]) for k in range(3)) for i in range(6))
    assert not torch.equal(each[0], each[1])


def test_the_detail_temperature_leaves_the_top_alone() -> None:
    model = built().eval()
    drawn: list[torch.Tensor] = []
    honest = model.autoencoder.decode
    model.autoencoder.decode = lambda codes, known=None: (drawn.append(codes), honest(codes, known))[1]
    model.sample(2)
    model.sample(2, detail_temperature=0)
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[0][1], drawn[1][1])


def test_a_picture_is_completed_by_what_is_given_alone() -> None:
    model = built().eval()
    given = pictures(model, 2)
    hidden = given.clone()
    hidden[:, :, 10:] = 255 - hidden[:, :, 10:]
    drawn = model.sample(2, given=given, given_rows=10)
    assert torch.equal(drawn[:, :, :10], given[:, :, :10])
    assert torch.equal(drawn, model.sample(2, given=hidden, given_rows=10))
    assert torch.equal(drawn, model.sample(2, given=given, given_rows=10, method="naive"))
    assert not torch.equal(drawn[:, :, 10:], model.sample(2)[:, :, 10:])
    assert torch.equal(model.sample(2, given=given, given_rows=16), given)
    for wrong, text in (({"given_rows": 4}, "give both options"), ({"given": given, "given_rows": 17}, "have 16 rows")):
        with pytest.raises(OptionError, match=text):
            model.sample(2, **wrong)


@pytest.mark.parametrize(("given_rows", "whole"), [(1, [0, 0]), (7, [1, 3]), (8, [2, 4]), (16, [4, 8])])
def test_codes_that_are_given_in_part_are_drawn(
    given_rows: int, whole: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no code knows what is to be drawn: below the given rows stands the last of them."""
    model, requests = built().eval(), drawn_by(monkeypatch)
    seen: list[torch.Tensor] = []
    honest = model.autoencoder.encode
    monkeypatch.setattr(model.autoencoder, "encode", lambda images: (seen.append(images), honest(images))[1])
    given = pictures(model, 1)
    model.sample(1, given=given, given_rows=given_rows)
    assert [request.options["given_rows"] for request in requests] == whole
    known = given[:, :, [min(row, given_rows - 1) for row in range(16)]]
    assert torch.equal(seen[0], known / 127.5 - 1)


def drawn_by(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests by which maps of codes are drawn from now on."""
    honest = vqvae2.draw
    requests: list[Any] = []
    monkeypatch.setattr(vqvae2, "draw", lambda prior, request: (requests.append(request), honest(prior, request))[1])
    return requests


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_every_level_and_candidate_has_a_temperature_and_noise_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.jit.script(Bright()).save(str(tmp_path / "bright.pt"))
    model, requests = built(classes=3).eval(), drawn_by(monkeypatch)
    shares: list[float] = []
    how = {"candidates": 3, "classifier": str(tmp_path / "bright.pt"), "temperature": 0.5, "progress": shares.append}
    model.sample(2, **how)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    model.sample(1, temperature=0.5, detail_temperature=0.2)
    parts = [(*before, level) for before in ((), ("candidate 1",), ("candidate 2",)) for level in ("top", "bottom")]
    assert [request.path for request in requests] == [*parts, ("top",), ("bottom",)]
    assert [request.options["temperature"] for request in requests] == [0.5] * 7 + [0.2]


def test_a_drawing_shows_the_top_level_and_then_the_details(tmp_path: Path) -> None:
    """16 codes of the top level, a frame each, then 64 of the bottom one, two a frame, and the picture itself."""
    model = built()
    run_steps(make_trainer(model, stage="joint"), model, range(2))
    model.eval()
    frames = model.stages(3, seed=4, batch_size=2)
    assert frames.shape == (3, 16 + 32 + 1, 1, 16, 16)
    assert torch.equal(frames[:, -1], model.sample(3, seed=4))
    assert torch.equal(frames[0, 0], frames[1, 0])  # nothing is drawn yet
    assert model.stages(0).ndim == frames.ndim
    coarse = model.stages(3, seed=4, detail_temperature=0)
    assert torch.equal(coarse[:, :17], frames[:, :17])  # no detail before the top level is whole
    assert not torch.equal(coarse[:, -1], frames[:, -1])
    for t in (32, 40):  # half of the details, then three quarters: far above the next one, all is as it will be
        done = (t - 16) // 4 * 2 - 6
        assert torch.equal(frames[:, t, :, :done], frames[:, -1, :, :done])
        assert not torch.equal(frames[:, t], frames[:, -1])
    given = pictures(model, 3)
    assert torch.equal(model.stages(3, given=given, given_rows=6)[:, 0, :, :6], given[:, :, :6])
    with pytest.raises(OptionError, match="pixelcnn does not draw in stages"):
        zoo.build("pixelcnn", preset="tiny").stages(1)
    promised = zoo.build("pixelcnn", preset="tiny")
    promised.spec = dataclasses.replace(promised.spec, stages=True)
    with pytest.raises(PluginError, match="the spec of 'pixelcnn' says stages, but its model has no draw_stages"):
        promised.stages(1)


def test_zoo_sample_animates_it(tmp_path: Path) -> None:
    model = built()
    run_steps(make_trainer(model, stage="joint"), model, range(2))
    zoo.save(model, tmp_path / "weights")
    path = tmp_path / "drawn.gif"
    assert main(["sample", "vqvae2", "--weights", str(tmp_path / "weights"), "-n2", "--animate", "-o", str(path)]) == 0
    with Image.open(path) as clip:
        assert clip.n_frames > 10
        assert clip.size == (38, 20)


class Bright(torch.nn.Module):
    """Class 1 is the brighter, the surer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.float().mean([1, 2, 3]) / 16
        return torch.stack([torch.zeros_like(bright), bright, -bright], 1)


class Doubtful(torch.nn.Module):
    """The brighter, the larger the logit of class 1, and the less likely it is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.float().mean([1, 2, 3]) / 16
        return torch.stack([2 * bright, bright, torch.zeros_like(bright)], 1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_candidates_are_judged_by_the_probability_of_their_class(tmp_path: Path) -> None:
    torch.jit.script(Doubtful()).save(str(tmp_path / "doubtful.pt"))
    model = built(classes=3).eval()
    plain = model.sample(6, label=1)
    best = model.sample(6, label=1, candidates=4, classifier=str(tmp_path / "doubtful.pt"))
    assert float(best.float().mean()) < float(plain.float().mean())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_sample_is_the_candidate_that_the_classifier_is_surest_of(tmp_path: Path) -> None:
    torch.jit.script(Bright()).save(str(tmp_path / "bright.pt"))
    model = built(classes=3).eval()
    how: dict[str, Any] = {"seed": 5, "classifier": str(tmp_path / "bright.pt")}
    plain = model.sample(6, seed=5, label=1)
    few, many = (model.sample(6, label=1, candidates=n, **how) for n in (3, 6))
    scores = [Bright()(x.expand(-1, 3, -1, -1)).log_softmax(1)[:, 1] for x in (plain, few, many)]
    assert bool((scores[0] <= scores[1]).all())
    assert bool((scores[1] <= scores[2]).all())
    assert 0 < sum(torch.equal(a, b) for a, b in zip(plain, few, strict=True)) < 6  # the first candidate is the sample
    assert torch.equal(few, model.sample(6, label=1, candidates=3, batch_size=4, **how))
    dark = model.sample(6, label=2, candidates=6, **how)
    assert float(dark.float().mean()) < float(many.float().mean())
    two = built(classes=2).eval()
    for network, wrong, text in (
        (model, {"candidates": 2}, "give both options: candidates=N, 2 or more, and classifier=FILE"),
        (model, {"classifier": how["classifier"]}, "give both options"),
        (model, {"candidates": 2, "classifier": "no.pt"}, "takes a TorchScript file, and there is none at 'no.pt'"),
        (built(), {"candidates": 2, "classifier": how["classifier"]}, "this model has no classes"),
        (two, {"candidates": 2, "classifier": how["classifier"]}, "knows 3 classes, but this model has 2"),
    ):
        with pytest.raises(OptionError, match=text):
            network.sample(1, **wrong)


# Training


def nearest(z: torch.Tensor, codebook: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The code vectors nearest to (B, D, h, w), and the codes (B, h, w)."""
    codes = (z.movedim(1, -1)[..., None, :] - codebook).square().sum(-1).argmin(-1)
    return codebook[codes].movedim(-1, 1), codes


def test_a_step_goes_down_the_losses_of_the_papers() -> None:
    """Eq. 2 of VQ-VAE-2 with means over elements, and nats for each code of the priors, written out a second time."""
    model = built(classes=3, dropout=0.0)
    trainer = make_trainer(model, stage="joint", commitment=0.7)
    networks = {"autoencoder": model.autoencoder, "top": model.priors[0], "bottom": model.priors[1]}
    again = copy.deepcopy(networks)
    batch = {"image": pictures(model), "label": torch.arange(4) % 3}
    x, part = batch["image"] / 127.5 - 1, again["autoencoder"]
    losses: dict[str, torch.Tensor] = {}
    below = part.encoders[1](x)
    z = [part.to_codes[0](part.encoders[0](below))]
    e, top = nearest(z[0], part.quantisers[0].codebook)
    straight = z[0] + (e - z[0]).detach()
    z.append(part.to_codes[1](torch.cat([part.conditioners[0](straight), below], 1)))
    e_below, bottom = nearest(z[1], part.quantisers[1].codebook)
    straight_below = z[1] + (e_below - z[1]).detach()
    made = part.decoder(torch.cat([part.ups[0](straight), straight_below], 1))
    commitment = (z[0] - e).square().mean() + (z[1] - e_below).square().mean()
    losses["autoencoder"] = (made - x).square().mean() + 0.7 * commitment
    of_top = again["top"](top[:, None], label=batch["label"])[:, :, 0]
    of_bottom = again["bottom"](bottom[:, None], upper_0=top, label=batch["label"])[:, :, 0]
    losses["top"] = torch.nn.functional.cross_entropy(of_top, top)
    losses["bottom"] = torch.nn.functional.cross_entropy(of_bottom, bottom)
    assert_gradients(step_gradients(trainer, batch, networks), losses, again)


def test_the_prior_drops_features_in_training_alone() -> None:
    prior = make_prior(dropout=0.5).train()
    codes = torch.randint(0, 5, (1, 1, 4, 4))
    assert not torch.equal(prior(codes), prior(codes))
    prior.eval()
    assert torch.equal(prior(codes), prior(codes))


def test_each_part_has_a_rate_of_its_own_over_its_own_examples(tmp_path: Path) -> None:
    model = built()
    trainer = make_trainer(model, 80, tmp_path, stage="all", learning_rate=3e-3, prior_learning_rate=1e-3)

    def rates(seen: int) -> list[float]:
        trainer.step({"image": pictures(model)}, seen)
        return [player.optimizer.param_groups[0]["lr"] for player in trainer.players.values()]

    assert rates(16)[0] == pytest.approx(3e-3 * warm_cosine(16, 32))  # 0.4 of the examples are its share
    last, *priors = rates(44)
    assert last == pytest.approx(3e-3 * warm_cosine(16, 32))
    assert priors == pytest.approx([1e-3 * warm_cosine(12, 48)] * 2)


def test_mirrored_pictures_are_flipped_from_left_to_right() -> None:
    model = built()
    trainer, images = make_trainer(model, stage="joint", mirror=True), pictures(model, 16)
    torch.manual_seed(0)
    shown = trainer._pixels({"image": images})
    same, flipped = ((shown == x).flatten(1).all(1) for x in (images, images.flip(3)))
    assert bool((same | flipped).all())
    assert 0 < int(flipped.sum()) < 16


def test_codebooks_are_moved_with_the_sums_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second of two processes."""
    model = built()
    kind = type(make_trainer(model).accelerator)
    monkeypatch.setattr(kind, "num_processes", 2)
    monkeypatch.setattr(kind, "is_main_process", False)
    honest: list[dict[str, Any]] = []
    monkeypatch.setattr(kind, "reduce", lambda self, x, reduction="sum": 2 * x if reduction == "sum" else x)
    monkeypatch.setattr(Quantiser, "update", lambda self, z, codes, **how: honest.append(how) or torch.zeros(()))
    make_trainer(model, stage="autoencoder", decay=0.6, restart_below=0.2).step({"image": pictures(model)}, 0)
    assert [(how["decay"], how["restart_below"], how["is_main"]) for how in honest] == [(0.6, 0.2, False)] * 2
    assert all(torch.equal(how["total"](torch.ones(3)), torch.full((3,), 2.0)) for how in honest)


def test_the_stages_train_one_part_each(tmp_path: Path) -> None:
    model = built()
    trainer = make_trainer(model, out=tmp_path, stage="all", autoencoder_share=0.5)
    parts = (model.autoencoder, model.priors)

    def weights() -> list[torch.Tensor]:
        return [torch.cat([value.flatten().float() for value in part.state_dict().values()]) for part in parts]

    before = weights()
    first = run_steps(trainer, model, range(4))
    between = weights()
    second = run_steps(trainer, model, range(4, 8))
    after = weights()
    assert not torch.equal(before[0], between[0])
    assert torch.equal(before[1], between[1])
    assert torch.equal(between[0], after[0])  # codebooks included
    assert not torch.equal(between[1], after[1])
    assert set(first[0]) >= {"mse", "top_perplexity", "bottom_dead", "bottom_restarted"}
    assert set(second[0]) == {"top_nats", "bottom_nats"}


def test_resuming_within_any_stage_gives_the_same_run(tmp_path: Path) -> None:
    """The folder of codes is that of the whole run, as after a kill: it is ahead of the checkpoint."""
    recipe = {"stage": "all", "autoencoder_share": 0.5, "restart_below": 0.5, "mirror": True}
    whole = built(classes=3)
    run_steps(make_trainer(whole, out=tmp_path, **recipe), whole, range(8))
    for stop in (2, 4, 6):
        model = built(classes=3)
        trainer = make_trainer(model, out=tmp_path, **recipe)
        run_steps(trainer, model, range(stop))
        state = take_state(trainer, trainer.accelerator)
        torch.manual_seed(9)
        fresh = zoo.build("vqvae2", preset="tiny", classes=3)
        resumed = make_trainer(fresh, out=tmp_path, **recipe)
        load_state(resumed, resumed.accelerator, state)
        run_steps(resumed, fresh, range(stop, 8))
        for name, value in fresh.state_dict().items():
            assert torch.equal(value, whole.state_dict()[name]), (stop, name)


def trained(**config: Any) -> Any:
    """A model whose autoencoder counts as trained."""
    model = built(**config)
    run_steps(make_trainer(model, stage="autoencoder"), model, range(1))
    return model.eval()


@pytest.mark.parametrize("codes", [8, 70_000])  # of two bytes, and of four
def test_codes_are_made_once_and_kept(tmp_path: Path, codes: int) -> None:
    model = trained(codes=codes)
    images = pictures(model, 6)
    model.autoencoder.quantisers[0].codebook[:-1] = 1000  # so that the last code is taken, the largest number
    store = CodeStore(tmp_path, model.autoencoder)
    assert int(store.codes(images[:4])[0].max()) == codes - 1
    assert all(torch.equal(a, b) for a, b in zip(store.codes(images[:4]), model.encode(images[:4]), strict=True))
    assert (store.encoded, len(store)) == (4, 4)
    store.codes(images[[3, 0, 5, 5]])
    assert (store.encoded, len(store)) == (5, 5)
    (path,) = tmp_path.rglob("*.codes")
    path.write_bytes(path.read_bytes()[:-1])  # killed within the last record
    again = CodeStore(tmp_path, model.autoencoder)
    assert len(again) == 4
    found = again.codes(images)
    assert all(torch.equal(a, b) for a, b in zip(found, model.encode(images), strict=True))
    assert again.encoded == 2


def test_processes_keep_codes_beside_each_other(tmp_path: Path) -> None:
    model = trained()
    images = pictures(model, 6)
    first, second = (CodeStore(tmp_path, model.autoencoder, process) for process in (0, 1))
    first.codes(images[:3])
    second.codes(images[3:])
    later = CodeStore(tmp_path, model.autoencoder, 0)
    assert all(torch.equal(a, b) for a, b in zip(later.codes(images), model.encode(images), strict=True))
    assert later.encoded == 0


def test_codes_of_another_autoencoder_are_never_read(tmp_path: Path) -> None:
    model = trained()
    images = pictures(model, 6)
    CodeStore(tmp_path, model.autoencoder).codes(images)
    with torch.no_grad():
        model.autoencoder.to_codes[0].bias.add_(1)
    store = CodeStore(tmp_path, model.autoencoder)
    assert len(store) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_the_priors_learn_from_kept_codes_and_encode_no_picture_twice(tmp_path: Path) -> None:
    model = trained(classes=3)
    trainer = make_trainer(model, out=tmp_path, stage="priors", mirror=True)
    calls: list[int] = []
    honest = model.autoencoder.encode
    model.autoencoder.encode = lambda images: (calls.append(len(images)), honest(images))[1]
    for step in range(20):
        torch.manual_seed(step)
        trainer.step({"image": pictures(model), "label": torch.arange(4) % 3}, 4 * step)
    assert len(trainer.store) == 8  # four pictures and their mirror images
    assert len(calls) <= 4


def test_codes_that_can_not_be_kept_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "codes").write_bytes(b"")
    model = trained()
    with pytest.raises(TrainingError, match="can't keep codes in .*Not a directory"):
        make_trainer(model, out=tmp_path, stage="priors").step({"image": pictures(model)}, 0)


def test_a_run_shows_reconstructions_and_how_codes_are_used(tmp_path: Path) -> None:
    """Its numbers are those of one that was never stopped, though codes lie on the disk already."""
    write_pictures(tmp_path / "pictures", 20, (16, 16))
    settings = Settings(
        model="vqvae2",
        preset="tiny",
        data=str(tmp_path / "pictures"),
        out=str(tmp_path / "run"),
        recipe={"stage": "all", "autoencoder_share": 0.5},
        **dict.fromkeys(("log_every", "eval_every", "sample_every", "checkpoint_every"), 16),
        examples=64,
        batch_size=8,
        device="cpu",
    )
    loop.train(settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"train/top_perplexity", "train/top_window_perplexity", "train/bottom_dead"} <= set(lines[0])
    assert {"train/top_nats", "train/bottom_nats"} <= set(lines[-2])
    sheets = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert [f"{n:09d}-reconstructions.png" for n in (16, 32, 48, 64)] == [s for s in sheets if "-" in s]
    assert [f"{n:09d}.png" for n in (48, 64)] == [s for s in sheets if "-" not in s]  # before, no prior was trained
    released = zoo.load("vqvae2", weights=tmp_path / "run", device="cpu")
    assert len(CodeStore(tmp_path / "run" / "codes", released.autoencoder)) > 0  # whose codes the priors have learned


def test_weights_of_an_autoencoder_alone_draw_nothing(tmp_path: Path) -> None:
    model = trained()
    zoo.save(model, tmp_path / "weights")
    loaded = zoo.load("vqvae2", weights=tmp_path / "weights", device="cpu")
    images = pictures(loaded)
    assert torch.equal(loaded.reconstruct(images), model.reconstruct(images))
    with pytest.raises(OptionError, match="priors that are not trained yet: zoo train vqvae2 --from .* stage=priors"):
        loaded.sample(1)
    assert built().sample(1).shape == (1, 1, 16, 16)  # what is all random draws noise


def test_the_autoencoder_learns() -> None:
    """Eight pictures by heart: the error falls to a third, and codes are in use."""
    model = built(codes=16)
    trainer = make_trainer(model, examples=10_000, stage="autoencoder", learning_rate=3e-3, restart_below=0.05)
    places = torch.arange(16)
    batch = {
        "image": (((places[:, None] * (1 + torch.arange(8)[:, None, None]) // 4 + places) % 8) * 36)[:, None].byte()
    }
    found = []
    for step in range(150):
        torch.manual_seed(step)
        found.append(trainer.step(batch, 8 * step))
    assert float(found[-1]["mse"]) < float(found[0]["mse"]) / 3
    assert float(found[-1]["bottom_perplexity"]) > 4
    measured = trainer.evaluate(batch)
    assert set(measured) == {f"{a}_{b}" for a in ("top", "bottom") for b in ("perplexity", "nats")} | {"mse"}


# Mistakes


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"image_shape": (1, 18, 16)}, "height and width must be multiples of 4, not 18 and 16"),
        ({"codes": 1}, "a codebook needs at least 2 codes, not 1"),
        ({"n_levels": 4}, "n_levels must be 1 to 3"),
        ({"prior_layers": (2,)}, "prior_layers must have 2 numbers, one a level"),
        ({"prior_heads": 3}, "can't have 1 x 3 heads"),
        ({"prior_kernel": 4}, "kernel_size must be odd"),
    ],
)
def test_a_network_that_makes_no_sense_is_one_line(config: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        built(**config)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_that_does_not_exist_or_comes_too_early_is_one_line() -> None:
    with pytest.raises(OptionError, match="setting 'stage' of vqvae2 must be one of 'all', 'autoencoder'"):
        building.split(built().spec, {"stage": "codes"})
    model = built()
    with pytest.raises(OptionError, match="stage 'priors' needs a trained autoencoder"):
        make_trainer(model, stage="priors")
    run_steps(make_trainer(model, stage="autoencoder"), model, range(1))
    assert make_trainer(model, stage="priors").stage == "priors"


@pytest.mark.parametrize("change", ["codes=16", "code_size=8", "prior_width=[8,16]"])
def test_an_autoencoder_whose_codes_do_not_match_the_priors_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    zoo.save(trained(), tmp_path / "weights")
    data = write_pictures(tmp_path / "pictures", 20, (16, 16))
    flags = ["--preset", "tiny", "--data", str(data), "--from", str(tmp_path / "weights"), "--set", change]
    out = tmp_path / "run"
    assert main(["train", "vqvae2", *flags, "--set", "stage=priors", "--out", str(out)]) == 2
    text = capsys.readouterr().err
    assert "do not fit this vqvae2" in text
    assert text.count("\n") == 1
    assert not out.exists()


def test_priors_of_codes_that_have_changed_are_not_drawn_from() -> None:
    """When the autoencoder learns on alone, what priors know of its codes is void until they have learned again."""
    model = built()
    run_steps(make_trainer(model, stage="joint"), model, range(2))
    model.sample(1)
    run_steps(make_trainer(model, stage="autoencoder"), model, range(2, 3))
    with pytest.raises(OptionError, match="priors that are not trained yet"):
        model.sample(1)


def test_pictures_codes_and_labels_of_another_model_are_one_line() -> None:
    model = built(classes=3).eval()
    with pytest.raises(OptionError, match=r"images must be uint8 \(N, 1, 16, 16\)"):
        model.encode(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(OptionError, match=r"codes must be \(N, 4, 4\), \(N, 8, 8\)"):
        model.decode([torch.zeros(1, 4, 4, dtype=torch.int64)])
    with pytest.raises(OptionError, match="codes must be from 0 to 7, not 0 to 8"):
        model.decode(
            [torch.zeros(1, 4, 4, dtype=torch.int64), torch.full((1, 8, 8), 8).index_fill(1, torch.tensor(0), 0)]
        )
    with pytest.raises(OptionError, match="must be of the same N on all levels, not of 2 and 3"):
        model.decode([torch.zeros(n, side, side, dtype=torch.int64) for n, side in ((2, 4), (3, 8))])
    with pytest.raises(OptionError, match="takes an integer from 0 to 2, not 3"):
        model.sample(2, label=3)
    with pytest.raises(OptionError, match="this model has no classes"):
        built().sample(2, label=0)
    with pytest.raises(OptionError, match="this model has no classes"):
        built().code_log_prob(model.encode(pictures(model)), label=0)


@pytest.mark.parametrize(
    "given",
    [
        torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 3, 16, 16, dtype=torch.uint8),
        torch.zeros(2, 16, 16, dtype=torch.uint8),
        torch.zeros(2, 1, 16, 16),
        torch.full((2, 1, 16, 16), 300),
    ],
)
def test_pictures_to_complete_that_do_not_fit_are_one_line(given: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=r"option 'given' must be uint8 \(N, 1, 16, 16\), not torch"):
        built().sample(2, given=given, given_rows=4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_any_type_encode_and_complete(dtype: torch.dtype) -> None:
    model = built().to(dtype).eval()
    images = pictures(model, 2)
    assert torch.equal(model.decode(model.encode(images)), model.reconstruct(images))
    assert torch.equal(model.sample(2, given=images, given_rows=6)[:, :, :6], images[:, :, :6])


def test_codes_are_those_of_fp32_whatever_the_process_allows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By `encode` and by `decode`, and in a run that is in TF32, where they are kept and where they are measured."""
    model = built()
    images = pictures(model)
    allowed: list[Any] = []
    both = (torch.backends.cuda.matmul, torch.backends.cudnn)
    for part in (model.autoencoder.encoders[0], model.autoencoder.decoder):
        part.register_forward_pre_hook(lambda *_: allowed.append([backend.allow_tf32 for backend in both]))
    with tf32(True):
        model.reconstruct(images)
        CodeStore(tmp_path, model.autoencoder).codes(images)
        make_trainer(model).evaluate({"image": images})
        assert allowed == [[False, False]] * 5
        honest = Quantiser._flat  # in the middle of what finds the nearest
        spy = staticmethod(lambda z: (allowed.append(both[0].allow_tf32), honest(z))[1])
        monkeypatch.setattr(Quantiser, "_flat", spy)
        model.autoencoder(model._floats(images))
        assert allowed[5:] == [[True, True], False, False, [True, True]]


# Import


def foreign_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The autoencoder under the names of vq-vae-2-pytorch, whose codebooks are transposed."""
    names = {
        "encoders.0.": "enc_t.blocks.",
        "encoders.1.": "enc_b.blocks.",
        "to_codes.0.": "quantize_conv_t.",
        "to_codes.1.": "quantize_conv_b.",
        "quantisers.0.": "quantize_t.",
        "quantisers.1.": "quantize_b.",
        "conditioners.0.": "dec_t.blocks.",
        "ups.0.": "upsample_t.",
        "decoder.": "dec.blocks.",
        ".layers.": ".conv.",
        "codebook": "embed",
        "sums": "embed_avg",
        "counts": "cluster_size",
    }
    found = {}
    for name, value in state.items():
        foreign = name
        for ours, theirs in names.items():
            foreign = foreign.replace(ours, theirs)
        if not foreign.endswith("updates"):
            found[foreign] = value.T.contiguous() if name.endswith(("codebook", "sums")) else value.clone()
    return found


def test_an_autoencoder_of_the_public_implementation_is_imported(tmp_path: Path) -> None:
    torch.manual_seed(3)
    sizes = {"width": 8, "residual_width": 4, "n_residual": 2, "codes": 16, "code_size": 4}
    network = Autoencoder(image_shape=(3, 256, 256), n_levels=2, stride=4, **sizes)
    torch.save(foreign_names(network.state_dict()), tmp_path / "vqvae.pt")
    import_weights("vqvae2", tmp_path / "vqvae.pt", tmp_path / "weights")
    model = zoo.load("vqvae2", weights=tmp_path / "weights", device="cpu")
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.equal(model.autoencoder(images).images, network(images).images)
    assert make_trainer(model, stage="priors").stage == "priors"


def test_it_is_the_function_of_the_public_implementation(tmp_path: Path) -> None:
    """With waves for weights, under its names in alphabetical order, vq-vae-2-pytorch gives these values."""
    sizes = {"width": 8, "residual_width": 4, "n_residual": 2, "codes": 16, "code_size": 4}
    state = foreign_names(Autoencoder(image_shape=(3, 256, 256), n_levels=2, stride=4, **sizes).state_dict())
    for i, (name, value) in enumerate(sorted(state.items())):
        scale = 1.5 / (value[0].numel() if value.ndim > 1 else 4) ** 0.5 * (0.1 if name.endswith("embed") else 1)
        waves = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * (1.3 + 0.1 * i)) * scale
        state[name] = waves.float().view_as(value)
    torch.save(state, tmp_path / "vqvae.pt")
    import_weights("vqvae2", tmp_path / "vqvae.pt", tmp_path / "weights")
    model = zoo.load("vqvae2", weights=tmp_path / "weights", device="cpu")
    with torch.no_grad():
        coded = model.autoencoder(torch.sin(torch.arange(3 * 32 * 32.0)).view(1, 3, 32, 32))
    found = coded.images[0, [0, 1, 2], [3, 17, 30], [5, 20, 9]]
    assert torch.allclose(found, torch.tensor([0.158956, 0.181041, -1.562981]), atol=1e-5)
    assert coded.images.abs().mean().item() == pytest.approx(0.481604, abs=1e-5)
    assert float(coded.commitment) == pytest.approx(0.978668, rel=1e-4)
    used = [codes.flatten().bincount(minlength=16).tolist() for codes in coded.codes]
    assert used == [[0, 0, 0, 4, 2, 6, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64]]


def test_a_file_that_holds_no_autoencoder_is_one_line(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="holds no autoencoder of vq-vae-2-pytorch"):
        import_weights("vqvae2", tmp_path / "other.pt", tmp_path / "weights")
