"""Metrics of samples: distances with known values, their names, feature networks and their downloads, and the verb."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import hub_server
import pytest
import torch
import yaml
from conftest import ROOT, write_pictures
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import zoo
from zoo import hub, metrics
from zoo.cli import main
from zoo.errors import DataError, HubError, OptionError, UnknownNameError
from zoo.hub import card
from zoo.metrics import distances, features, processes, samples
from zoo.metrics.choice import choose
from zoo.precision import tf32

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
CPU = torch.device("cpu")


class Quarters(nn.Module):
    """Means of the four quarters of each channel: (N, 12), float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x.float(), [2, 2]).flatten(1) / 255


class Picture(nn.Module):
    """No features but the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().flatten(1) / 0.0


class Fussy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().flatten(1) @ torch.ones(7, 1)


class Brightness(nn.Module):
    """The mean of each channel of each frame of clips (N, 3, T, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean([3, 4]).flatten(1)


class OfClips(Brightness):
    """The same, and says that it sees clips."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_clips = True


class OfFrames(nn.Module):
    """The mean of each channel of pictures (N, 3, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean([2, 3])


class Choosy(nn.Module):
    """Called as VGG-16 is; tells what it was asked for, and whether in bytes."""

    def forward(
        self, x: torch.Tensor, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False
    ) -> torch.Tensor:
        asked = torch.tensor([resize_images, return_features, return_lpips, x.dtype == torch.uint8])
        return asked.float().expand(len(x), 4)


def script(network: nn.Module, path: Path) -> str:
    torch.jit.script(network).save(str(path))
    return str(path)


@pytest.fixture
def quarters(tmp_path: Path) -> str:
    """A TorchScript file of features."""
    return script(Quarters(), tmp_path / "quarters.pt")


@pytest.fixture
def folder(tmp_path: Path, tiny: zoo.Model) -> Path:
    return zoo.save(tiny, tmp_path / "weights", samples=0)


def gaussian(n: int, mean: torch.Tensor, factor: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """(n, F) with exactly this mean, and exactly the covariance factor factor^T."""
    x = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    whitened = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1))).T
    return whitened @ factor.T + mean


def test_reconstructions_take_the_place_of_samples(tmp_path: Path, tiny: zoo.Model, quarters: str) -> None:
    data = write_pictures(tmp_path / "data", 12, (16, 16))
    how: dict[str, Any] = {"data": str(data), "metrics": ["fd"], "features": quarters, "control": "reconstructed"}
    with pytest.raises(OptionError, match="pixelcnn has no encoder, so it reconstructs nothing"):
        metrics.evaluate(tiny, **how)
    torch.manual_seed(0)
    model = zoo.build("vqvae2", preset="tiny")
    receipt = metrics.evaluate(model, **how)[0]
    assert (receipt["samples"], receipt["count"], receipt["real"]) == ("real, reconstructed", 11, 11)  # one is held out
    images = zoo.data.load(str(data), "train", model.batch_shapes).batch(range(11))["image"]
    seen = [Quarters()(x.expand(-1, 3, -1, -1)).double() for x in (images, model.reconstruct(images))]
    assert receipt["value"] == pytest.approx(distances.frechet(*seen), rel=1e-4)


def test_samples_are_drawn_in_the_precision_asked_for(
    tmp_path: Path, tiny: zoo.Model, quarters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    sample = zoo.Model.sample

    def noted(self: zoo.Model, *args: Any, **how: Any) -> torch.Tensor:
        drawn.append(how["precision"])
        return sample(self, *args, **how)

    monkeypatch.setattr(zoo.Model, "sample", noted)
    data = str(write_pictures(tmp_path / "data", 12, (8, 8)))
    how: dict[str, Any] = {"data": data, "metrics": ["fd"], "features": quarters, "count": 8}
    plain, half = (metrics.evaluate(tiny, **how, **own)[0] for own in ({}, {"precision": "bf16"}))
    assert drawn == ["fp32", "bf16"]
    assert "precision" not in plain
    assert half["precision"] == "bf16"
    for wrong, message in (
        ({"precision": "fp8"}, "precision takes one of fp32, tf32, bf16, fp16, not 'fp8'"),
        ({"precision": "bf16", "control": "real"}, "control=real draws nothing, so it takes no precision"),
        ({"precision": "bf16", "metrics": ["nats"]}, "nats are computed in fp32; precision is for metrics of samples"),
        ({"precision": "bf16", "metrics": ["pl"]}, "pl needs paths between samples, and pixelcnn has none"),
    ):
        with pytest.raises(OptionError, match=message):
            metrics.evaluate(tiny, **{**how, **wrong})


# Distances


def test_the_frechet_distance_of_gaussians_is_that_of_its_closed_form() -> None:
    """Of two that commute, |m_1 - m_2|^2 + sum (s_1 - s_2)^2; of others by the eigenvalues of a symmetric matrix."""
    mean, zero = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    first, second = (torch.tensor(s, dtype=torch.float64) for s in ([1.0, 2.0, 3.0], [2.0, 2.0, 0.5]))
    real, fake = gaussian(500, zero, first.diag()), gaussian(300, mean, second.diag(), seed=1)
    expected = float(mean.square().sum() + (first - second).square().sum())
    assert distances.frechet(real, fake) == pytest.approx(expected, rel=1e-9)

    factor = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    a, b = first.diag() ** 2, factor @ factor.T
    root = torch.linalg.eigvalsh(first.diag() @ b @ first.diag()).sqrt().sum()
    expected = float(mean.square().sum() + a.trace() + b.trace() - 2 * root)
    assert distances.frechet(real, gaussian(200, mean, factor, seed=3)) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_a_set_to_itself_is_0_and_far_from_the_origin_it_stays_exact() -> None:
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-9)
    far = x.double() + 1e6
    assert distances.frechet(far, far + 1) == pytest.approx(5, rel=1e-6)


def test_the_kernel_distance_is_the_unbiased_estimate() -> None:
    """Over one subset that is everything: the sums without the diagonals, by loops."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(6, 2, generator=generator), torch.randn(6, 2, generator=generator) + 1

    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x.double() @ y.double() / 2 + 1) ** 3)

    same = sum(k(s[i], s[j]) for s in (real, fake) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(k(x, y) for x in real for y in fake) / 36
    mean, deviation = distances.kernel(real, fake, subsets=1, size=6)
    assert mean == pytest.approx(same - 2 * across, rel=1e-9)
    assert deviation == 0


def test_the_kernel_distance_of_one_distribution_is_about_0_and_follows_from_its_seed() -> None:
    x, y = (torch.randn(400, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    mean, deviation = distances.kernel(x, y, subsets=20, size=200)
    assert abs(mean) < 3 * deviation
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert distances.kernel(x, y, seed=3, subsets=5, size=50) == distances.kernel(x, y, seed=3, subsets=5, size=50)
    assert distances.kernel(x, y, seed=3, subsets=5, size=50) != distances.kernel(x, y, seed=4, subsets=5, size=50)
    assert torch.equal(torch.get_rng_state(), before)


def test_precision_and_recall_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Radii to the third neighbour of 0, 1, 2, 3 and 10 are 3, 2, 2, 3 and 9."""
    support = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])
    points = torch.tensor([[-2.9], [-3.1], [18.9], [19.1], [6.0]])
    assert distances.coverage(points, support) == pytest.approx(3 / 5)
    monkeypatch.setattr(distances, "CHUNK_BYTES", 8 * 5 * 2)  # two rows at once
    assert distances.coverage(points, support) == pytest.approx(3 / 5)
    assert distances.coverage(support, support) == 1
    assert distances.coverage(support + 1000, support) == 0
    with pytest.raises(OptionError, match="more than 3 pictures, not 3"):
        distances.coverage(points, support[:3])


def test_the_manifold_in_the_plane_by_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    support, points = torch.randn(60, 2, generator=generator), 2 * torch.randn(50, 2, generator=generator)
    radii = [sorted(math.dist(a, b) for b in support.tolist())[3] for a in support.tolist()]
    inside = [any(math.dist(p, s) <= r for s, r in zip(support.tolist(), radii, strict=True)) for p in points.tolist()]
    assert distances.coverage(points, support) == pytest.approx(sum(inside) / 50)


REPEATED = given(
    seed=st.integers(0, 2**31),
    features=st.integers(1, 70),
    repeats=st.lists(st.integers(1, 9), min_size=4, max_size=20),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
)


def repeated(seed: int, features: int, repeats: list[int], scale: float, offset: float) -> torch.Tensor:
    """(sum of repeats, F), float32: pictures of which some are there several times."""
    rows = torch.randn(len(repeats), features, generator=torch.Generator().manual_seed(seed)) + offset
    return scale * rows.repeat_interleave(torch.tensor(repeats), dim=0)


@REPEATED
def test_a_set_covers_all_of_itself_and_a_part_of_it_is_covered(**drawn: Any) -> None:
    support = repeated(**drawn)
    assert distances.coverage(support, support) == 1
    assert distances.coverage(support[:2], support) == 1
    assert distances.coverage(support.flip(0).double(), support) == 1


def test_near_pairs_are_exact_and_all_at_once_or_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points beside one that is there 5 times, whose ball is that point alone."""
    support = torch.full((5, 3), 1000.0, dtype=torch.float64)
    points = support[:4].clone()
    points[1, 0] += 1e-9
    points[2, 1] -= 1e-3
    assert distances.coverage(points, support) == 2 / 4
    monkeypatch.setattr(distances, "CHUNK_BYTES", 8)  # one row and one pair at once
    assert distances.coverage(points, support) == 2 / 4


@REPEATED
def test_the_frechet_distance_is_symmetric_never_negative_and_0_of_equal_sets(**drawn: Any) -> None:
    x = repeated(**drawn)
    y = repeated(**{**drawn, "seed": drawn["seed"] + 1})
    size = float(x.double().var(0).sum() + y.double().var(0).sum() + (x.mean(0) - y.mean(0)).double().square().sum())
    assert 0 <= distances.frechet(x, x) <= 1e-9 * size
    assert 0 <= distances.frechet(x, x.flip(0)) <= 1e-9 * size
    there = distances.frechet(x, y)
    assert there == pytest.approx(distances.frechet(y, x), abs=1e-9 * size)
    assert 0 <= there <= (1 + 1e-9) * size


def test_the_frechet_distance_with_fewer_pictures_than_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the set moved by 1 in each feature, and of the set times 3: tr(C + 9 C - 6 C); in chunks too."""
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x -= x.mean(0)
    for rows in (4096, 7):
        monkeypatch.setattr(distances, "ROWS", rows)
        assert distances.frechet(x, x + 1) == pytest.approx(64, rel=1e-12)
        assert distances.frechet(x, 3 * x) == pytest.approx(4 * float(x.var(0).sum()), rel=1e-12)


def test_the_path_length_of_a_linear_map_and_the_percentiles_that_count() -> None:
    """Features A w move by |A v| for each step along v, whatever epsilon is."""
    generator = torch.Generator().manual_seed(0)
    a, w, v = (torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    for epsilon in (1e-4, 1e-2):
        lengths = distances.step_lengths(w @ a, (w + epsilon * v) @ a, epsilon)
        assert torch.allclose(lengths, (v @ a).square().sum(1))
    lengths = torch.arange(201, dtype=torch.float64)
    lengths[200] = 1e9
    assert distances.path_length(lengths.flip(0)) == pytest.approx(sum(range(2, 199)) / 197)
    assert distances.path_length(torch.tensor([7.0])) == 7


# Names


@pytest.mark.parametrize(
    ("metric", "network", "mend"),
    [
        ("fid", "mine.pt", "ask for fd"),
        ("kid", "vgg16", "ask for kd"),
        ("ppl", "inception", "ask for pl"),
        ("fd", "inception", "is called fid"),
        ("kd", "inception", "is called kid"),
        ("pl", "vgg16", "is called ppl"),
    ],
)
def test_the_figure_of_another_network_has_another_name(metric: str, network: str, mend: str) -> None:
    with pytest.raises(OptionError, match=mend):
        samples.check_name(metric, network)


def test_names_that_fit_their_network() -> None:
    for metric, network in [*samples.NETWORK.items(), ("precision", "mine.pt"), ("recall", "inception")]:
        samples.check_name(metric, network)
    for other in samples.OTHER.values():
        samples.check_name(other, "mine.pt")
    assert metrics.parse(["fid", "precision_recall", "recall"]) == ["fid", "precision", "recall"]
    with pytest.raises(UnknownNameError, match="did you mean 'precision_recall'"):
        metrics.parse(["precison_recall"])


# Feature networks


def test_grey_pictures_become_three_channels_and_the_bytes_name_the_file(quarters: str) -> None:
    network = features.load(quarters, CPU)
    assert (network.name, network.sha256) == ("quarters.pt", hashlib.sha256(Path(quarters).read_bytes()).hexdigest())
    images = torch.arange(2 * 16, dtype=torch.uint8).view(2, 1, 4, 4)
    found = network.of_pictures(images)
    assert found.shape == (2, 12)
    assert torch.equal(found, network.of_pictures(images.expand(-1, 3, -1, -1)))
    assert found[0, 0] == pytest.approx((0 + 1 + 4 + 5) / 4 / 255)


def test_pictures_on_paths_are_not_rounded_and_large_ones_are_averaged(quarters: str) -> None:
    network = features.load(quarters, CPU)
    images = torch.full((1, 3, 4, 4), 0.1234)
    assert network.of_paths(images) == pytest.approx(torch.full((1, 12), 1.1234 / 2))
    seen = []
    spy = dataclasses.replace(network, _module=lambda x: seen.append(x.shape) or torch.zeros(len(x), 1))
    for side in (32, 256, 511, 512, 1024):
        spy.of_paths(torch.zeros(1, 3, side, side))
    assert [shape[2] for shape in seen] == [32, 256, 511, 256, 256]


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Picture(), r"must give \(N, F\) with N=2, not \(2, 3, 4, 4\)"),
        (Broken(), "no finite numbers"),
        (Fussy(), "fails on pictures of 4x4"),
    ],
)
def test_a_network_that_gives_something_else_is_told_so(network: nn.Module, said: str, tmp_path: Path) -> None:
    loaded = features.load(script(network, tmp_path / "odd.pt"), CPU)
    with pytest.raises(OptionError, match=f"feature network 'odd.pt'.*{said}") as caught:
        loaded.of_pictures(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert "\n" not in str(caught.value)


def test_known_networks_are_called_in_their_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(Choosy(), tmp_path / "copy.pt")
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    images = torch.zeros(1, 1, 8, 8)
    for name, of_paths in (("inception", [1, 1, 0, 0]), ("vgg16", [0, 0, 1, 0])):
        with monkeypatch.context() as patch:
            patch.setitem(features.NETWORKS, name, dataclasses.replace(features.NETWORKS[name], sha256=digest))
            network = features.load(path, CPU)
        assert network.name == name
        assert network.of_pictures(images.byte()).tolist() == [[1, 1, 0, 1]]
        assert network.of_paths(images).tolist() == [of_paths]


def test_a_file_with_the_name_of_a_known_network_is_not_that(tmp_path: Path) -> None:
    for name in features.NETWORKS:
        found = features.load(script(Quarters(), tmp_path / name), CPU).name
        assert found == f"./{name}"
        with pytest.raises(OptionError, match="ask for"):
            samples.check_name("fid", found)


def test_a_file_that_is_no_torchscript(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no network")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "state.pt")
    for name in ("text.pt", "state.pt"):
        with pytest.raises(OptionError, match="is no TorchScript file") as caught:
            features.load(str(tmp_path / name), CPU)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="did you mean 'inception'"):
        features.load("incepton", CPU)


@pytest.fixture
def published(tmp_path: Path, quarters: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Server]:
    """A server that has the file of "inception", which here takes no arguments; an empty cache."""
    content = Path(quarters).read_bytes()
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hub_server.running() as server:
        url = f"{server.url}/me/net/resolve/main/net.pt"
        server.repos["models/me/net"] = repo = hub_server.Repo()
        repo.add("main", "a network", {"net.pt": content})
        known = features.Known(url, hashlib.sha256(content).hexdigest(), {}, {})
        monkeypatch.setitem(features.NETWORKS, "inception", known)
        yield server


def test_a_known_network_is_fetched_once_and_verified_each_time(published: hub_server.Server, quarters: str) -> None:
    network = features.load("inception", CPU)
    assert network.name == "inception"
    assert features.load(quarters, CPU).name == "inception"  # by its bytes
    features.load("inception", CPU)
    assert published.count("GET") == 1
    path = features.cached("inception")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    features.load("inception", CPU)
    assert published.count("GET") == 2
    assert path.read_bytes() == Path(quarters).read_bytes()
    assert {there.name for there in path.parent.iterdir()} <= {path.name, f"{path.name}.lock"}


def test_a_download_that_was_cut_or_killed_leaves_nothing(published: hub_server.Server, quarters: str) -> None:
    path = features.cached("inception")
    published.cut("net.pt")
    with pytest.raises(HubError, match="was cut, or is another file.*; put a copy at .*, or try again later"):
        features.fetch("inception")
    assert [there.name for there in path.parent.iterdir() if there.suffix != ".lock"] == []
    path.with_name("net.pt.0123.partial").write_bytes(b"the beginning")
    assert features.fetch("inception") == Path(quarters).read_bytes()
    assert [there.name for there in path.parent.iterdir() if there.suffix != ".lock"] == ["net.pt"]


def test_a_failed_download_leaves_a_damaged_file_as_it_was(published: hub_server.Server) -> None:
    features.fetch("inception")
    path = features.cached("inception")
    path.write_bytes(b"damaged")
    published.corrupt("net.pt")
    with pytest.raises(HubError, match="not the pinned"):
        features.fetch("inception")
    assert path.read_bytes() == b"damaged"


def test_a_server_that_falls_silent_ends_the_download(
    published: hub_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/net.pt"
        known = dataclasses.replace(features.NETWORKS["inception"], url=url)
        monkeypatch.setitem(features.NETWORKS, "inception", known)
        with pytest.raises(HubError, match="timed out.*; check the network"):
            features.fetch("inception")
    assert socket.getdefaulttimeout() is None


def test_wrong_bytes_are_refused(published: hub_server.Server) -> None:
    published.corrupt("net.pt", 9)
    with pytest.raises(HubError, match="its sha256 is not the pinned .* so it is not used; put a copy at") as caught:
        features.fetch("inception")
    assert "\n" not in str(caught.value)
    assert not [path for path in features.cached("inception").parent.iterdir() if path.suffix != ".lock"]


def test_trouble_with_the_address_ends_in_one_line_with_the_mend(
    published: hub_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"put a copy at '{features.cached('inception')}'"

    def error() -> str:
        with pytest.raises(HubError) as caught:
            features.fetch("inception")
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(place)
        return str(caught.value)

    published.fail_next(404)
    assert "net.pt answers 404" in error()
    published.fail_next(503)
    assert "net.pt answers 503" in error()
    published.fail_next(0)
    assert "can't reach" in error()
    known = dataclasses.replace(features.NETWORKS["inception"], url="http://127.0.0.1:9/net.pt")
    with monkeypatch.context() as patch:
        patch.setitem(features.NETWORKS, "inception", known)
        assert "check the network" in error()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "is not in the cache, and offline mode is on; unset HF_HUB_OFFLINE" in error()
    features.cached("inception").write_bytes(b"damaged")
    assert "is damaged in the cache" in error()
    features.cached("inception").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    features.fetch("inception")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert features.fetch("inception")


def test_a_cache_that_can_not_be_written(published: hub_server.Server, tmp_path: Path) -> None:
    (tmp_path / "assets").write_text("a file")
    with pytest.raises(HubError, match="can't use the cache .*; change HF_HOME"):
        features.fetch("inception")


# The default dtype


class Default(nn.Module):
    """Makes tensors of the default dtype, as published networks may."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarters = nn.functional.adaptive_avg_pool2d(x.float(), [2, 2])[:, 0].flatten(1)
        return torch.cat([self.linear(quarters / 255), (quarters @ torch.full([4, 1], 1 / 3)) * torch.ones(1)], dim=1)


@pytest.fixture(params=[torch.float64, torch.bfloat16])
def default_dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Set by the test itself, and reset after it."""
    yield request.param
    torch.set_default_dtype(torch.float32)


def test_feature_networks_are_the_same_under_any_default_dtype(default_dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = script(Default(), tmp_path / "default.pt")
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    network = features.load(path, CPU)
    expected = network.of_pictures(images), network.of_paths(images / 127.5 - 1)
    paths = images / 127.5 - 1
    torch.set_default_dtype(default_dtype)
    for again in (network, features.load(path, CPU)):
        found = again.of_pictures(images), again.of_paths(paths)
        assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.get_default_dtype() == default_dtype


def test_distances_are_the_same_under_any_default_dtype(default_dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(40, 6, generator=generator), torch.randn(30, 6, generator=generator) + 0.5

    def figures() -> list[object]:
        lengths = distances.step_lengths(real[:30], fake)
        return [
            distances.frechet(real, fake),
            distances.kernel(real, fake, subsets=5, size=20),
            distances.coverage(real, fake),
            distances.coverage(fake, real),
            distances.path_length(lengths),
        ]

    expected = figures()
    torch.set_default_dtype(default_dtype)
    assert figures() == expected


def test_feature_networks_stay_in_float32_under_autocast() -> None:
    """Convolutions, which autocast would bring to bfloat16."""
    torch.manual_seed(0)
    network = features.load(str(ROOT / "benchmarks" / "features" / "cifar10.pt"), CPU)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    expected = network.of_pictures(images), network.of_paths(images / 127.5 - 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.of_pictures(images), expected[0])
        assert torch.equal(network.of_paths(images / 127.5 - 1), expected[1])


def test_feature_networks_run_without_tf32_and_leave_the_switches_as_they_were(quarters: str) -> None:
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    seen = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append([switch.allow_tf32 for switch in switches])
        return torch.zeros(len(x), 1)

    network = dataclasses.replace(features.load(quarters, CPU), _module=spy)
    with tf32(True):
        network.of_pictures(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
        network.of_paths(torch.zeros(1, 3, 4, 4))
        assert [switch.allow_tf32 for switch in switches] == [True, True]
    assert seen == [[False, False]] * 2


def test_figures_are_the_same_under_another_default_device(quarters: str) -> None:
    """ "meta" holds no values, so whatever is made there shows."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(40, 6, generator=generator), torch.randn(30, 6, generator=generator) + 0.5
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=generator)

    def figures() -> list[object]:
        return [
            distances.frechet(real, fake),
            distances.kernel(real, fake, subsets=5, size=20),
            distances.coverage(real, fake),
            features.load(quarters, CPU).of_pictures(images).tolist(),
        ]

    expected = figures()
    with torch.device("meta"):
        assert figures() == expected


def test_path_lengths_are_gathered_on_the_cpu_whatever_the_default_device(
    tiny: zoo.Model, pictures: Path, quarters: str
) -> None:
    first = torch.full((8, 1, 8, 8), -1.0)
    tiny.path_images = lambda n, seed, epsilon: (first, first + epsilon * 100)
    arguments = {"data": str(pictures), "metrics": ["pl"], "features": quarters, "count": 12}
    [expected] = metrics.evaluate(tiny, **arguments)
    with torch.device("meta"):
        [receipt] = metrics.evaluate(tiny, **arguments)
    assert receipt == expected


def test_a_network_of_clips_gets_clips(tmp_path: Path) -> None:
    """(N, C, T, H, W): grey becomes three channels there too."""
    network = features.load(script(OfClips(), tmp_path / "clips.pt"), CPU)
    assert network.takes_clips
    clips = torch.arange(2 * 5 * 16, dtype=torch.uint8).view(2, 5, 1, 4, 4)
    expected = clips.float().mean((3, 4)).transpose(1, 2).expand(-1, 3, -1).flatten(1)
    assert torch.equal(network.of_pictures(clips), expected)
    with pytest.raises(OptionError, match="sees clips, not pictures"):
        network.of_pictures(clips[:, 0])
    frames = features.load(script(OfFrames(), tmp_path / "frames.pt"), CPU).of_pictures(clips)  # each by itself
    assert torch.equal(frames, clips.flatten(0, 1).float().mean((2, 3)).expand(-1, 3))
    fussy = dataclasses.replace(features.load(script(Fussy(), tmp_path / "fussy.pt"), CPU), takes_clips=True)
    with pytest.raises(OptionError, match="fails on clips of 6x4"):
        fussy.of_pictures(torch.zeros(2, 5, 1, 4, 6, dtype=torch.uint8))


# Evaluation


def test_receipts_of_samples(tiny: zoo.Model, pictures: Path, quarters: str) -> None:
    """The distances are those of the features of the samples and of the pictures."""
    shares = []
    arguments = {"data": str(pictures), "count": 24, "features": quarters, "seed": 3}
    names = ["fd", "precision_recall"]
    receipts = metrics.evaluate(tiny, metrics=names, batch_size=7, limit=30, progress=shares.append, **arguments)
    assert [receipt["name"] for receipt in receipts] == ["fd", "precision", "recall"]
    network = features.load(quarters, CPU)
    fake = network.of_pictures(zoo.media.to_bytes(tiny.sample(24, seed=3), 4))
    real = network.of_pictures(zoo.data.load(str(pictures), "train", (1, 8, 8)).batch(choose(38, 30, 3))["image"])
    fd, precision, recall = receipts
    assert fd["value"] == pytest.approx(distances.frechet(real, fake), rel=1e-5)
    assert precision["value"] == pytest.approx(distances.coverage(fake, real))
    assert recall["value"] == pytest.approx(distances.coverage(real, fake))
    assert fd == {
        "name": "fd",
        "value": fd["value"],
        "data": str(pictures),
        "revision": "local",
        "split": "train[30 of 38, seed 3]",
        "count": 24,
        "real": 30,
        "features": "quarters.pt",
        "features_sha256": network.sha256,
        "resizer": "the network's own",
        "seed": 3,
    }
    assert precision["neighbours"] == 3
    assert shares == sorted(shares)
    assert shares[-1] == 1
    [again] = metrics.evaluate(tiny, metrics=["fd"], batch_size=24, limit=30, **arguments)
    assert again["value"] == pytest.approx(fd["value"], rel=1e-5)


def test_both_parts_of_a_split_are_as_many_as_the_whole(tiny: zoo.Model, pictures: Path) -> None:
    load = lambda split, limit=None: samples.Reals.load(str(pictures), split, tiny, limit, 0)  # noqa: E731
    train, both = load("train"), load("train+validation")
    assert (len(train), len(both), both.split) == (38, 40, "train+validation")
    whole = torch.cat(list(both.batches(range(40), 16)))
    assert len(whole) == 40
    for count in (1, 2, 3, 7):
        shares = [processes.Processes(rank, count).share(40) for rank in range(count)]
        assert torch.equal(torch.cat([b for rows in shares for b in both.batches(rows, 5)]), whole)
        shares = [processes.Processes(rank, count).share(39) for rank in range(count)]
        some = load("train+validation", 39)
        assert some.split == "train+validation[39 of 40, seed 0]"
        assert torch.equal(torch.cat([b for rows in shares for b in some.batches(rows, 5)]), whole[choose(40, 39, 0)])


def test_a_batch_of_several_parts_is_in_the_order_asked_for(tiny: zoo.Model, pictures: Path) -> None:
    """Past the last real example the first follows: sample i has the same one whatever the batch."""
    both = samples.Reals.load(str(pictures), "train+validation", tiny, None, 0)
    rows = [38, 39, 0, 1, 38]
    whole = torch.cat(list(both.batches(range(40), 16)))
    assert torch.equal(both.batch(rows)["image"], whole[rows])


def test_halves_have_no_example_in_common(tiny: zoo.Model, pictures: Path) -> None:
    real = samples.Reals.load(str(pictures), "train+validation", tiny, 39, 0)
    first, second = real.halves(0)
    assert (len(first), len(second)) == (19, 19)
    assert not set(first.chosen) & set(second.chosen)
    assert set(first.chosen) | set(second.chosen) <= set(real.chosen)
    assert list(real.halves(1)[0].chosen) != list(first.chosen)


def test_frames_are_shuffled_alike_in_any_batch(tiny: zoo.Model) -> None:
    job = samples.Job(tiny, "-", "train", None, 8, False, 8, 3, None, {}, "shuffled")
    clips = torch.arange(6).view(1, 6, 1, 1, 1).expand(4, -1, -1, -1, -1)
    whole = job._control(clips, 0)
    assert torch.equal(job._control(clips[2:], 2), whole[2:])
    assert all(sorted(clip.flatten().tolist()) == list(range(6)) for clip in whole)
    assert len({tuple(clip.flatten().tolist()) for clip in whole}) > 1


def test_controls_are_of_real_pictures_alone(pictures: Path, quarters: str) -> None:
    """Not of paths, which are the model's, and with no options, since nothing is drawn; nor are likelihoods."""
    model = zoo.build("stylegan2", preset="tiny", channels=1)
    how: dict[str, Any] = {"data": str(pictures), "features": quarters, "count": 8}
    for wrong, message in (
        ({"metrics": ["pl"], "control": "real"}, "pl is of the model alone, so control=real is not for it"),
        ({"metrics": ["fd", "pl"], "control": "real"}, "pl is of the model alone"),
        (
            {"metrics": ["fd"], "control": "real", "options": {"truncation": 0.5}},
            "control=real draws nothing, so it takes no sampling options",
        ),
    ):
        with pytest.raises(OptionError, match=message):
            metrics.evaluate(model, **{**how, **wrong})
    likely = zoo.build("pixelcnn", preset="tiny")
    for wrong in ({"control": "real"}, {"options": {"temperature": 0.5}}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))} is for metrics of samples, and nats are none"):
            metrics.evaluate(likely, data=str(pictures), metrics=["nats"], **wrong)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("batch_size", -1), ("seed", -1), ("limit", 0)])
def test_numbers_that_make_no_sense_are_named_for_likelihoods_too(
    name: str, value: int, tiny: zoo.Model, pictures: Path
) -> None:
    with pytest.raises(OptionError, match=f"{name} takes an integer of at least {max(0, value) + (name != 'seed')}"):
        metrics.evaluate(tiny, data=str(pictures), metrics=["nats"], **{name: value})


def test_likelihoods_are_given_what_the_named_columns_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model = zoo.build("conditional_pixelcnn", preset="tiny").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that the label matters
    (tmp_path / "data").mkdir()
    pixels = torch.randint(0, 256, (20, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    kinds = [i % 3 for i in range(20)]
    table = {"image": [Image.fromarray(x.numpy()) for x in pixels], "label": [0] * 20, "kind": kinds}
    rows = datasets.Dataset.from_dict(table).cast_column("image", datasets.Image())
    rows.to_parquet(tmp_path / "data" / "train.parquet")
    data, how = str(tmp_path / "data"), {"metrics": ["nats"], "split": "train"}
    plain = metrics.evaluate(model, data=data, **how)[0]
    [receipt] = metrics.evaluate(model, data=data, columns={"label": "kind"}, **how)
    assert receipt["columns"] == "label=kind"
    held = zoo.data.load(data, "train", model.batch_shapes, columns={"label": "kind"}).batch(range(receipt["count"]))
    images = zoo.media.images.quantise(held["image"], model.levels)
    assert receipt["value"] == pytest.approx(-float(model.log_prob(images, label=held["label"]).mean()), abs=1e-3)
    assert abs(receipt["value"] - plain["value"]) > 1e-3
    zoo.save(model, tmp_path / "weights", samples=0)
    flags = ["--data", data, "--metric", "nats", "--split", "train", "--column", "label=kind", "--record"]
    assert main(["eval", "conditional_pixelcnn", "--weights", str(tmp_path / "weights"), *flags]) == 0
    command = f"zoo eval conditional_pixelcnn --weights OWNER/NAME --data {data} --split train --column label=kind\n"
    assert command in (tmp_path / "weights" / "README.md").read_text()


def test_shares_are_side_by_side_and_complete() -> None:
    for n in (0, 1, 5, 64):
        for count in (1, 2, 3, 8):
            shares = [processes.Processes(rank, count).share(n) for rank in range(count)]
            assert [i for share in shares for i in share] == list(range(n))


def test_a_list_of_options_has_a_value_for_each_sample(pictures: Path, quarters: str) -> None:
    torch.manual_seed(0)
    model = zoo.build("conditional_pixelcnn", preset="tiny")
    seen = []
    model.sample = lambda n, **given: seen.append((n, given)) or torch.zeros(n, *model.image_shape, dtype=torch.uint8)
    arguments = {"metrics": ["fd"], "features": quarters, "count": 5, "batch_size": 3}
    [receipt] = metrics.evaluate(model, data=str(pictures), options={"label": [0, 0, 1, 1, 2]}, **arguments)
    assert [(n, given["start"], given["label"]) for n, given in seen] == [(3, 0, [0, 0, 1]), (2, 3, [1, 2])]
    assert receipt["options"] == "label=0,1,2"
    with pytest.raises(OptionError, match="one for each of the 5 samples"):
        metrics.evaluate(model, data=str(pictures), options={"label": [0, 1]}, **arguments)


def test_path_lengths_of_a_model_with_paths(tiny: zoo.Model, pictures: Path, quarters: str) -> None:
    """Grey pictures that brighten by c along the path: 12 features in [0, 1] move by c / 2 each."""
    seeds = []

    def path_images(n: int, seed: int, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
        seeds.append(seed)
        first = torch.full((n, 1, 8, 8), -1.0)
        return first, first + epsilon * 100

    tiny.path_images = path_images
    arguments = {"data": str(pictures), "metrics": ["pl"], "features": quarters}
    [receipt] = metrics.evaluate(tiny, count=20, **arguments)
    assert receipt["value"] == pytest.approx(12 * 50**2, rel=1e-3)
    assert (receipt["count"], receipt["split"], receipt["epsilon"]) == (20, "none", 1e-4)
    assert len(set(seeds)) == 3  # blocks of 8
    first = list(seeds)
    metrics.evaluate(tiny, count=17, **arguments)
    assert seeds[3:] == first  # path i is the same however many there are
    with pytest.raises(UnknownNameError, match="data set"):
        metrics.evaluate(tiny, **{**arguments, "data": "cifar1"})
    assert len(seeds) == 6
    with pytest.raises(OptionError, match="no sampling options"):
        metrics.evaluate(tiny, options={"noise": "constant"}, **arguments)


def test_what_can_not_be_measured_is_said_before_anything_is_drawn(
    tiny: zoo.Model, pictures: Path, quarters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.sample = lambda *a, **k: pytest.fail("too late")

    def error(kind: type, names: str, **given: object) -> str:
        arguments = {"data": str(pictures), "features": quarters, **given}
        with pytest.raises(kind) as caught:
            metrics.evaluate(tiny, metrics=names.split(","), **arguments)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "kd needs at least 1000 samples, not 64; ask for more with --count" in error(OptionError, "kd", count=64)
    assert "kd needs at least 1000 pictures, and" in error(OptionError, "kd")
    assert "recall needs at least 4 samples" in error(OptionError, "recall", count=3)
    assert "precision needs at least 4 pictures" in error(OptionError, "precision", limit=3)
    assert "pl needs paths between samples, and pixelcnn has none" in error(OptionError, "pl")
    assert "fd needs --features FILE; with inception it is called fid" in error(OptionError, "fd", features=None)
    assert "fid is a figure of inception" in error(OptionError, "fid")
    assert "count takes an integer of at least 1" in error(OptionError, "fd", count=0)
    assert "unknown split" in error(UnknownNameError, "fd", split="train+tset")
    wrong = write_pictures(tmp_path / "wrong", 8, size=(9, 9))
    assert "picture of 9x9, mode L; the model needs 8x8" in error(DataError, "fd", data=str(wrong))
    monkeypatch.setattr(distances.importlib.util, "find_spec", lambda name: None)
    assert 'pip install "pixelzoo[metrics]"' in error(OptionError, "kd")


# The verb


def test_eval_of_samples_writes_them_on_the_card(
    folder: Path, pictures: Path, quarters: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["eval", "pixelcnn", "--weights", str(folder), "--data", str(pictures), "--metric", "fd,precision_recall"]
    base += ["--features", quarters, "--count", "16", "--device", "cpu"]
    for seed in ("0", "0", "1"):  # the same again, then another in its place
        assert main([*base, "--seed", seed, "--record", "--json"]) == 0
    receipts = json.loads(capsys.readouterr().out.rpartition("\n[\n")[2].join(("[\n", "")))
    config = json.loads((folder / "config.json").read_text())
    assert config["metrics"] == receipts
    assert [receipt["seed"] for receipt in receipts] == [1, 1, 1]
    text = (folder / "README.md").read_text()
    assert f"| fd | {receipts[0]['value']} | {pictures} | train | 16 |" in text
    command = f"zoo eval pixelcnn --weights OWNER/NAME --data {pictures} --split train --count 16 --seed 1"
    assert f"{command} --features quarters.pt --metric fd,precision,recall\n" in text
    assert card.validate(card.with_licence(text, "mit")) == []
    hub.record(folder, [{**receipts[0], "features": "other.pt"}])  # beside it
    assert len(json.loads((folder / "config.json").read_text())["metrics"]) == 4
    assert main(base) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:6] == ["name", "value", "data", "revision", "split", "count"]
    assert f"{receipts[0]['features_sha256'][:12]}  " in table[1]


def test_the_command_on_the_card_measures_the_same_choice(
    folder: Path, pictures: Path, quarters: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["eval", "pixelcnn", "--weights", str(folder), "--data", str(pictures), "--device", "cpu", "--record"]
    assert main([*base, "--metric", "nats", "--split", "train", "--limit", "20", "--seed", "3"]) == 0
    assert main([*base, "--metric", "bits_per_dim", "--split", "train", "--limit", "20"]) == 0
    assert main([*base, "--metric", "fd", "--count", "9", "--limit", "9", "--seed", "4", "--features", quarters]) == 0
    half = [*base, "--metric", "fd", "--count", "9", "--precision", "bf16", "--features", quarters]
    assert main([*half, "--data", str(write_pictures(folder.parent / "wide", 9, (20, 12))), "--resize"]) == 0
    old = {**json.loads((folder / "config.json").read_text())["metrics"][1], "split": "validation[:9]"}
    hub.record(folder, [old])
    text = (folder / "README.md").read_text()
    command = f"zoo eval pixelcnn --weights OWNER/NAME --data {pictures} --split"
    assert f"{command} train --limit 20 --seed 3\n{command} train --limit 20\n" in text
    assert f"{command} train --limit 9 --count 9 --seed 4 --features quarters.pt --metric fd\n" in text
    assert f"{command} 'validation[:9]'\n" in text
    resized = f"--data {folder.parent / 'wide'} --resize --split train --count 9 --seed 0 --precision bf16"
    assert f"{resized} --features quarters.pt --metric fd\n" in text
    assert "| train[20 of 38, seed 3] | 20 |" in text
    assert yaml.safe_load(text.split("---")[1])["model-index"][0]["results"][0]["dataset"]["split"] == (
        "train[20 of 38, seed 3]"
    )
    assert card.validate(card.with_licence(text, "mit")) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--metric fod", "unknown metric 'fod'; did you mean"),
        ("--count 5", "--count is for metrics of samples: fid, kid"),
        ("--seed 5", "--seed is for metrics of samples: fid, kid"),
        ("--metric nats --features x.pt", "--features is for metrics of samples"),
        ("--metric fid --option label=3", "unknown option of pixelcnn 'label'"),
        ("--metric fid --option given=x.png", "zoo eval takes no pictures"),
        ("--metric fd --features nothing.pt --count 9", "unknown feature network 'nothing.pt'"),
        ("--metric fd --features cifar1O.pt --count 9", "did you mean 'cifar10.pt'?"),
        ("--metric fid --count 0", "0 is not in the range x>=1"),
    ],
)
def test_errors_of_eval(
    flags: str, said: str, folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    flags = flags.replace("x.png", str(tmp_path / "x.png"))
    assert main(["eval", "pixelcnn", "--weights", str(folder), "--data", str(pictures), *flags.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_two_processes_measure_what_one_does(folder: Path, pictures: Path, quarters: str, tmp_path: Path) -> None:
    """As `torchrun` starts them; only the first prints and records."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "zoo.cli", "eval", "pixelcnn", "--weights", str(folder), "--data", str(pictures)]
    command += ["--metric", "fd,precision_recall", "--features", quarters, "--count", "25", "--batch-size", "4"]
    command += ["--device", "cpu", "--json", "--record"]
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    started = []
    for rank in "01":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **launch, "RANK": rank, "LOCAL_RANK": rank}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
    try:
        (out, err), (other, trouble) = (process.communicate(timeout=200) for process in started)
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], err + trouble
    assert other == ""
    model = zoo.load("pixelcnn", weights=folder, device="cpu")
    names = ["fd", "precision_recall"]
    alone = metrics.evaluate(model, data=str(pictures), metrics=names, features=quarters, count=25)
    for one, two in zip(alone, json.loads(out), strict=True):
        assert two == {**one, "value": pytest.approx(one["value"], rel=1e-5)}
