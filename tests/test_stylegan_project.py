"""Projection finds the w of a picture; paths between latents have the length that they have."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import zoo
from zoo import metrics
from zoo.errors import OptionError

zoo.models()  # puts plugins/ on the path
from zoo.nn.adversarial import from_pixels, to_pixels  # noqa: E402
from zoo.seeds import derive_seed  # noqa: E402
from zoo_stylegan import project as projection  # noqa: E402
from zoo_stylegan.project import Projection, project, pyramid_distance  # noqa: E402


def model(name: str = "stylegan2", seed: int = 0, noise: float = 0.1, **overrides: Any) -> Any:
    torch.manual_seed(seed)
    built = zoo.build(name, "tiny", **overrides).eval()
    with torch.no_grad():
        for key, value in built.state_dict().items():
            if key.endswith("noise_strength"):
                value.fill_(noise)
            elif "to_rgb" in key and key.endswith("weight") and "affine" not in key:
                value.mul_(0.2)  # pictures within the range of bytes
    return built


def drawn(built: Any, n: int, seed: int = 5) -> torch.Tensor:
    z = torch.randn(n, built.latent_size, generator=torch.Generator().manual_seed(seed))
    label = torch.zeros(n, dtype=torch.long) if built.classes else None
    with torch.no_grad():
        return to_pixels(built.pictures(built.generator.mapping(z, label)))


def started(built: Any, pictures: torch.Tensor) -> torch.Tensor:
    """How far the picture of the mean w is."""
    z = torch.randn(5000, built.latent_size)
    with torch.no_grad():
        images = built.pictures(built.generator.mapping(z).mean(0, keepdim=True))
    return pyramid_distance(images.expand(len(pictures), -1, -1, -1), from_pixels(pictures))


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
def test_a_picture_is_found_again(name: str) -> None:
    built = model(name, noise=0.0)  # so that w alone decides
    pictures = drawn(built, 2)
    found = project(built, pictures, steps=100)
    assert (found.distance < started(built, pictures) / 100).all()
    assert torch.equal(found.distance, pyramid_distance(found.images, from_pixels(pictures)))
    with torch.no_grad():
        assert torch.equal(found.images, built.pictures(found.w, found.noise))


def test_each_picture_is_projected_on_its_own_and_the_same_again() -> None:
    built = model()
    pictures = drawn(built, 2)
    both, again = project(built, pictures, steps=30), project(built, pictures, steps=30)
    assert torch.equal(both.w, again.w)
    alone = project(built, pictures[:1], steps=30)
    assert torch.allclose(alone.w, both.w[:1], atol=1e-4)
    assert not torch.equal(project(built, pictures, steps=30, seed=1).w, both.w)


def test_noise_stays_noise() -> None:
    found = project(model(), drawn(model(), 1), steps=30)
    for noise in found.noise:
        assert float(noise.mean()) == pytest.approx(0, abs=1e-5)
        assert float(noise.square().mean()) == pytest.approx(1, abs=1e-4)
        assert abs(float((noise * noise.roll(1, 3)).mean())) < 0.35


def test_w_is_jittered_less_and_less_and_in_the_last_quarter_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Appendix D: 0.05 of the deviation of w, times t^2, t from 1 to 0 over three quarters of the steps."""
    monkeypatch.setattr(projection, "RATE", 0.0)  # w stays where it starts
    built = model()
    seen: list[torch.Tensor] = []
    honest = built.pictures
    monkeypatch.setattr(built, "pictures", lambda w, noise: (seen.append(w.detach()), honest(w, noise))[1])
    project(built, drawn(model(), 2), steps=8)
    start, deviation = projection._statistics(built, None, 2, 0)
    for i in range(2):
        draw = torch.Generator().manual_seed(derive_seed(0, "project", i))
        for size in built.noise_sizes:
            torch.randn(1, size, size, generator=draw)
        for step in range(8):
            factor = 0.05 * max(0.0, 1 - step / 6) ** 2
            moved = factor * deviation[i] * torch.randn(start.shape[1], generator=draw)
            torch.testing.assert_close(seen[step][i], start[i] + moved, atol=1e-5, rtol=1e-4)


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    found = [projection._schedule(share) for share in (0, 0.025, 0.05, 0.75, 0.875, 1)]
    assert found == pytest.approx([0, 0.5, 1, 1, 0.5, 0])


def test_noise_is_compared_with_itself_at_scales_of_the_same_variance() -> None:
    """A plain map of ones is one of twos at half the size: 2 * 1^4, and 2 * 2^4."""
    assert projection._autocorrelation(torch.ones(1, 1, 16, 16)).tolist() == [34]


def test_weights_are_left_alone_and_any_distance_will_do() -> None:
    built, calls, shares = model(), [], []
    before = {name: value.clone() for name, value in built.state_dict().items()}

    def distance(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return (images - others).abs().mean((1, 2, 3))

    found = project(built, drawn(built, 2), steps=4, distance=distance, progress=shares.append)
    assert isinstance(found, Projection)
    assert calls == [2] * 5
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())
    assert all(parameter.grad is None for parameter in built.parameters())


def test_with_classes_w_starts_at_the_mean_of_the_class() -> None:
    built = model(classes=3)
    pictures = drawn(built, 2)
    first = project(built, pictures, label=torch.tensor([0, 2]), steps=1)
    assert not torch.allclose(first.w[0], first.w[1])
    with pytest.raises(OptionError, match="needs the label of each picture"):
        project(built, pictures)
    for label in (torch.tensor([1]), torch.tensor([0, 1, 2]), torch.tensor(1), torch.tensor([0.0, 1.0])):
        with pytest.raises(OptionError, match=r"takes labels \(2,\) of integers, one for each picture, not "):
            project(built, pictures, label=label)
    with pytest.raises(OptionError, match="from 0 to 2, not 3"):
        project(built, pictures, label=torch.tensor([0, 3]))


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), r"\(1, 3, 16, 16\) of uint8"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), r"takes pictures \(N, 3, 8, 8\) of uint8, not \(1, 1, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8), "of float32"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "not"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), "not"),
    ],
)
def test_other_pictures_are_refused(pictures: torch.Tensor, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        project(model(), pictures)
    with pytest.raises(OptionError, match="steps"):
        project(model(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), steps=0)


# Paths


@pytest.mark.parametrize(("name", "overrides"), [("stylegan2", {}), ("stylegan", {}), ("stylegan2", {"classes": 3})])
def test_a_path_is_a_line_in_w(name: str, overrides: dict[str, Any]) -> None:
    built = model(name, **overrides)
    with torch.no_grad():
        images = {e: built.path_images(3, seed=1, epsilon=e) for e in (1e-3, 2e-3)}
    (start, one), (again, two) = images[1e-3], images[2e-3]
    assert torch.equal(start, again)
    assert start.shape == (3, 3, 8, 8)
    assert float((two - start).norm() / (one - start).norm()) == pytest.approx(2, rel=0.02)
    with torch.no_grad():
        other = built.path_images(3, seed=2)[0]
    assert not torch.equal(start, other)


def test_the_length_of_paths_is_measured_through_the_command(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float().flatten(1) / 127.5

    torch.jit.script(Flat()).save(str(tmp_path / "flat.pt"))
    built = model()
    built.spec = zoo.registry.model_spec("stylegan2")
    arguments: dict[str, Any] = {"metrics": ["pl"], "features": str(tmp_path / "flat.pt"), "data": "mnist"}
    receipts = [metrics.evaluate(built, count=n, seed=3, **arguments)[0] for n in (64, 64)]
    assert receipts[0] == receipts[1]
    assert receipts[0]["value"] > 0
