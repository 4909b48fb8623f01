"""Networks of StyleGAN2-ADA and of rosinality's port become ours: same pictures, or one clear line."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_pickles import SENTINEL, easy, persistent, pickled

import zoo
from zoo.cli import main
from zoo.errors import OptionError, WeightsError
from zoo.hub import imports

zoo.models()  # puts plugins/ on the path
from zoo_stylegan import official  # noqa: E402

WIDTHS = {4: 12, 8: 12, 16: 8}
Z, W, CLASSES, LAYERS = 6, 10, 3, 2
TAPS = torch.tensor([1.0, 3, 3, 1]) / 8
FILTER = torch.outer(TAPS, TAPS)


def filled(name: str, *shape: int) -> torch.Tensor:
    """Values that any program can make again from a tensor's name in StyleGAN2-ADA."""
    scale = 100.0 if name.startswith("mapping.fc") else 1.0  # as large as those of layers that learn so slowly
    return scale * torch.sin(torch.arange(math.prod(shape)) * 0.7 + sum(map(ord, name)) % 97).view(shape)


# StyleGAN2-ADA


class Part:
    """A module as it is pickled there."""

    def __init__(self, class_name: str, parts: dict[str, Part] | None = None, **attributes: Any) -> None:
        self.class_name, self.parts, self.attributes = class_name, parts or {}, attributes
        self.tensors: dict[str, torch.Tensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        fixed = {name: value for name, value in self.tensors.items() if name.endswith(("filter", "const", "w_avg"))}
        learned = {name: torch.nn.Parameter(v) for name, v in self.tensors.items() if name not in fixed}
        state = {"_parameters": learned, "_buffers": fixed, "_modules": self.parts, **self.attributes}
        return persistent(self.class_name, state)


def dense(name: str, inputs: int, outputs: int) -> Part:
    part = Part("FullyConnectedLayer", activation="lrelu")
    part.tensors = {"weight": filled(f"{name}.weight", outputs, inputs), "bias": filled(f"{name}.bias", outputs)}
    return part


def convolution(name: str, inputs: int, outputs: int, kernel: int, size: int, clamp: float | None) -> Part:
    parts = {"affine": dense(f"{name}.affine", W, inputs)}
    part = Part("SynthesisLayer" if kernel == 3 else "ToRGBLayer", parts, activation="lrelu", conv_clamp=clamp)
    part.tensors["weight"] = filled(f"{name}.weight", outputs, inputs, kernel, kernel)
    part.tensors["bias"] = filled(f"{name}.bias", outputs)
    if kernel == 3:
        part.tensors["noise_strength"] = filled(f"{name}.noise_strength")
        part.tensors["noise_const"] = filled(f"{name}.noise_const", size, size)
        part.tensors["resample_filter"] = FILTER
    return part


def ada(classes: int = 0, clamp: float | None = 256.0, architecture: str = "skip") -> Part:
    """A generator of 16x16 pixels."""
    blocks = {}
    for size, width in WIDTHS.items():
        name = f"synthesis.b{size}"
        parts = {"conv1": convolution(f"{name}.conv1", width, width, 3, size, clamp)}
        if size > 4:
            parts = {"conv0": convolution(f"{name}.conv0", WIDTHS[size // 2], width, 3, size, clamp), **parts}
        parts["torgb"] = convolution(f"{name}.torgb", width, 3, 1, size, clamp)
        blocks[f"b{size}"] = Part("SynthesisBlock", parts, architecture=architecture)
        blocks[f"b{size}"].tensors["resample_filter"] = FILTER
        if size == 4:
            blocks["b4"].tensors["const"] = filled("synthesis.b4.const", width, 4, 4)
    sizes = [Z + (W if classes else 0), *[W] * LAYERS]
    layers = {f"fc{i}": dense(f"mapping.fc{i}", sizes[i], W) for i in range(LAYERS)}
    if classes:
        layers["embed"] = dense("mapping.embed", classes, W)
    mapping = Part("MappingNetwork", layers, num_ws=6)
    mapping.tensors["w_avg"] = filled("mapping.w_avg", W)
    return Part("Generator", {"synthesis": Part("SynthesisNetwork", blocks), "mapping": mapping}, z_dim=Z)


def stored(folder: Path, generator: Part) -> Path:
    network = Part("Discriminator")
    content = {"G": generator, "D": network, "G_ema": generator, "training_set_kwargs": easy(resolution=16)}
    (folder / "network.pkl").write_bytes(pickled(content))
    return folder / "network.pkl"


def picture(folder: Path, label: int | None = None) -> torch.Tensor:
    """(3, 16, 16) of the imported model, for a fixed latent and its stored noise."""
    model: Any = zoo.load("stylegan2", weights=str(folder))
    z = filled("z", 1, Z)
    with torch.no_grad():
        w = model.styles(z, None if label is None else torch.tensor([label]))
        return model.generator.synthesis(w, model.generator.synthesis.constant_noise)[0]


# Of the public stylegan2-ada-pytorch with the same tensors, computed outside this suite; ours agreed with it to 2e-6 of
# the largest value. (channel, row, column) and the mean.
PLACES = ((0, 0, 0), (1, 3, 7), (2, 8, 8), (0, 15, 15), (1, 12, 2))
GOLDEN = {
    "plain": [1.47822, -1.14784, -3.73371, 0.76704, -2.37286, -1.406939],
    "classes": [1.54422, -1.45357, -5.98529, 1.67528, -2.68264, -1.814507],
}


@pytest.mark.parametrize(("name", "classes", "label"), [("plain", 0, None), ("classes", CLASSES, 2)])
def test_a_network_of_ada_draws_what_it_drew_there(tmp_path: Path, name: str, classes: int, label: int | None) -> None:
    imports.import_weights("stylegan2", stored(tmp_path, ada(classes)), tmp_path / "out")
    image = picture(tmp_path / "out", label)
    found = [*(float(image[place]) for place in PLACES), float(image.mean())]
    assert found == pytest.approx(GOLDEN[name], rel=1e-4, abs=1e-4 * float(image.abs().max()))


def test_its_sizes_and_clamp_are_found(tmp_path: Path) -> None:
    config, state = official.read(stored(tmp_path, ada(CLASSES)))
    expected = {"resolution": 16, "channels": 3, "classes": 3, "latent_size": 6, "w_size": 10, "mapping_layers": 2}
    assert config | expected | {"width_base": 64, "width_max": 12, "clamp": 256.0, "discriminator": False} == config
    assert torch.equal(state["generator.mapping.mean_w"], filled("mapping.w_avg", W))
    assert official.read(stored(tmp_path, ada(clamp=None)))[0]["clamp"] == 0.0


def test_activations_are_clamped_in_float32_too() -> None:
    torch.manual_seed(0)
    model: Any = zoo.build("stylegan2", "tiny", clamp=0.01).eval()
    with torch.no_grad():
        w = model.styles(torch.randn(2, model.latent_size))
        images = model.generator.synthesis(w, model.generator.synthesis.constant_noise)
    assert 0 < float(images.abs().max()) <= 0.01 * (1 + 2 + 4)  # upsampling may at most double what it adds up


# rosinality


def rosinality(classes: int = 0) -> dict[str, torch.Tensor]:
    """The same generator by the names of that port; it has no classes."""
    state: dict[str, torch.Tensor] = {}

    def layer(theirs: str, ours: str, inputs: int, outputs: int, kernel: int) -> None:
        state[f"{theirs}.conv.weight"] = filled(f"{ours}.weight", 1, outputs, inputs, kernel, kernel)
        state[f"{theirs}.conv.modulation.weight"] = filled(f"{ours}.affine.weight", inputs, W)
        state[f"{theirs}.conv.modulation.bias"] = filled(f"{ours}.affine.bias", inputs)
        bias = filled(f"{ours}.bias", outputs)
        if kernel == 1:
            state[f"{theirs}.bias"] = bias.view(1, -1, 1, 1)
        else:
            state[f"{theirs}.activate.bias"] = bias
            state[f"{theirs}.noise.weight"] = filled(f"{ours}.noise_strength").view(1)

    for i in range(LAYERS):
        state[f"style.{i + 1}.weight"] = filled(f"mapping.fc{i}.weight", W, Z if i == 0 else W)
        state[f"style.{i + 1}.bias"] = filled(f"mapping.fc{i}.bias", W)
    state["input.input"] = filled("synthesis.b4.const", 1, WIDTHS[4], 4, 4)
    layer("conv1", "synthesis.b4.conv1", WIDTHS[4], WIDTHS[4], 3)
    layer("to_rgb1", "synthesis.b4.torgb", WIDTHS[4], 3, 1)
    state["noises.noise_0"] = filled("synthesis.b4.conv1.noise_const", 1, 1, 4, 4)
    for i, size in enumerate((8, 16)):
        layer(f"convs.{2 * i}", f"synthesis.b{size}.conv0", WIDTHS[size // 2], WIDTHS[size], 3)
        layer(f"convs.{2 * i + 1}", f"synthesis.b{size}.conv1", WIDTHS[size], WIDTHS[size], 3)
        layer(f"to_rgbs.{i}", f"synthesis.b{size}.torgb", WIDTHS[size], 3, 1)
        state[f"convs.{2 * i}.conv.blur.kernel"] = state[f"to_rgbs.{i}.upsample.kernel"] = FILTER * 4
        for j in (0, 1):
            name = f"synthesis.b{size}.conv{j}.noise_const"
            state[f"noises.noise_{2 * i + j + 1}"] = filled(name, 1, 1, size, size)
    return state


def saved(folder: Path, **content: Any) -> Path:
    torch.save({"args": argparse.Namespace(size=16), **content}, folder / "network.pt")
    return folder / "network.pt"


def test_the_port_of_a_network_is_the_network(tmp_path: Path) -> None:
    source = saved(tmp_path, g_ema=rosinality(), g={}, latent_avg=filled("mapping.w_avg", 1, W))
    config, state = official.read(source)
    theirs_config, theirs = official.read(stored(tmp_path, ada(clamp=None)))
    assert config == theirs_config
    assert state.keys() == theirs.keys()
    assert all(torch.equal(state[name], theirs[name]) for name in state)


def test_a_mean_w_that_is_not_there_is_measured(tmp_path: Path) -> None:
    imports.import_weights("stylegan2", saved(tmp_path, g_ema=rosinality()), tmp_path / "out")
    model: Any = zoo.load("stylegan2", weights=str(tmp_path / "out"))
    with torch.no_grad():
        w = model.generator.mapping(torch.randn(20_000, Z, generator=torch.Generator().manual_seed(1)))
    error = (w.mean(0) - model.generator.mapping.mean_w) / w.std(0)
    assert float(error.abs().max()) < 0.05
    again = official.read(tmp_path / "network.pt")[1]["generator.mapping.mean_w"]
    assert torch.equal(again, model.generator.mapping.mean_w)


# What is refused


def without(pattern: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in rosinality().items() if not re.match(pattern, name)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({**rosinality(), "final_conv.0.weight": torch.zeros(1)}, "it has 'final_conv.0.weight'"),
        ({**rosinality(), "convs.0.conv.blur.kernel": torch.ones(2, 2)}, "another resampling filter"),
        ({**rosinality(), "input.input": "x"}, "is no tensor"),
        (without("input"), "it has no 'generator.synthesis.constant'"),
        (without("noises.noise_2"), "noise_2"),
        (without("convs.3.conv.weight"), "it has no 'generator.synthesis.blocks.1.conv.weight'"),
        ({**rosinality(), "convs.1.conv.weight": torch.zeros(1, 5, 5, 3, 3)}, "halve nowhere"),
        ({**rosinality(), "style.2.weight": torch.zeros(W, W + 1)}, "mapping"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        imports.import_weights("stylegan2", saved(tmp_path, g_ema=state), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_architectures_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="architecture 'resnet'"):
        official.read(stored(tmp_path, ada(architecture="resnet")))
    other = ada()
    other.parts["synthesis"].parts["b8"].parts["conv0"].attributes["activation"] = "relu"
    with pytest.raises(WeightsError, match="activation 'relu'"):
        official.read(stored(tmp_path, other))
    third = ada()  # as StyleGAN3 names its layers
    third.parts["synthesis"].parts["input"] = dense("synthesis.input", 4, 4)
    with pytest.raises(WeightsError, match=r"not StyleGAN2's: it has 'synthesis.input.weight'"):
        official.read(stored(tmp_path, third))


def test_other_files_and_models(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no generator of StyleGAN2"):
        official.read(saved(tmp_path, g=rosinality()))
    with pytest.raises(OptionError, match="stylegan2 can"):
        imports.import_weights("progan", saved(tmp_path, g_ema=rosinality()), tmp_path / "out")


def test_a_pickle_that_would_run_a_command_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    class Command:
        def __reduce__(self) -> Any:
            import os

            return os.system, (f"touch {SENTINEL}",)

    Path("network.pkl").write_bytes(pickled({"G_ema": ada(), "D": Command()}))
    assert main(["import", "stylegan2", "network.pkl", "-o", "out"]) == 2
    assert "posix.system; that is refused" in capsys.readouterr().err
    assert not Path(SENTINEL).exists()
    assert not Path("out").exists()
