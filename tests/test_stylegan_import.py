"""Networks of StyleGAN2-ADA and of rosinality's port become ours: same pictures, or one clear line."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
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


def dense(name: str, inputs: int, outputs: int, activation: str = "linear", rate: float = 1) -> Part:
    part = Part("FullyConnectedLayer", activation=activation)
    part.attributes |= {"weight_gain": rate / np.sqrt(inputs), "bias_gain": rate, "_init_args": (inputs, outputs)}
    part.attributes["_init_kwargs"] = easy(activation=activation, lr_multiplier=rate)
    part.tensors = {"weight": filled(f"{name}.weight", outputs, inputs), "bias": filled(f"{name}.bias", outputs)}
    return part


def convolution(name: str, inputs: int, outputs: int, kernel: int, size: int, clamp: float | None) -> Part:
    parts = {"affine": dense(f"{name}.affine", W, inputs)}
    part = Part("SynthesisLayer" if kernel == 3 else "ToRGBLayer", parts, conv_clamp=clamp)
    part.tensors["weight"] = filled(f"{name}.weight", outputs, inputs, kernel, kernel)
    part.tensors["bias"] = filled(f"{name}.bias", outputs)
    if kernel == 3:
        up = 2 if name.endswith("conv0") else 1
        part.attributes |= {"activation": "lrelu", "act_gain": np.sqrt(2), "use_noise": True, "up": up}
        part.tensors["noise_strength"] = filled(f"{name}.noise_strength")
        part.tensors["noise_const"] = filled(f"{name}.noise_const", size, size)
        part.tensors["resample_filter"] = FILTER
    else:
        part.attributes["weight_gain"] = 1 / np.sqrt(inputs)
    return part


def ada(
    classes: int = 0, clamp: float | None = 256.0, architecture: str = "skip", rate: float = 0.01, z: int = Z
) -> Part:
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
    sizes = [z + (W if classes else 0), *[W] * LAYERS]
    layers = {f"fc{i}": dense(f"mapping.fc{i}", sizes[i], W, "lrelu", rate) for i in range(LAYERS)}
    if classes:
        layers["embed"] = dense("mapping.embed", classes, W)
    mapping = Part("MappingNetwork", layers, num_ws=6)
    mapping.tensors["w_avg"] = filled("mapping.w_avg", W)
    return Part("Generator", {"synthesis": Part("SynthesisNetwork", blocks), "mapping": mapping}, z_dim=z)


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
        state[f"style.{i + 1}.weight"] = filled(f"mapping.fc{i}.weight", W, W)
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
    theirs_config, theirs = official.read(stored(tmp_path, ada(clamp=None, z=W)))
    assert config == theirs_config
    assert state.keys() == theirs.keys()
    assert all(torch.equal(state[name], theirs[name]) for name in state)


def test_a_network_of_grey_pictures(tmp_path: Path) -> None:
    state = {
        name: tensor[:, :1]
        if name.startswith("to_rgb") and "modulation" not in name and "kernel" not in name
        else tensor
        for name, tensor in rosinality().items()
    }
    imports.import_weights("stylegan2", saved(tmp_path, g_ema=state), tmp_path / "out")
    assert zoo.load("stylegan2", weights=str(tmp_path / "out")).sample(2).shape == (2, 1, 16, 16)


def test_a_mean_w_that_is_not_there_is_measured(tmp_path: Path) -> None:
    imports.import_weights("stylegan2", saved(tmp_path, g_ema=rosinality()), tmp_path / "out")
    model: Any = zoo.load("stylegan2", weights=str(tmp_path / "out"))
    with torch.no_grad():
        w = model.generator.mapping(torch.randn(20_000, W, generator=torch.Generator().manual_seed(1)))
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
        ({**rosinality(), "style.2.weight": torch.zeros(W, W + 1)}, "'style.2.weight' is"),
        ({**rosinality(), "style.1.weight": torch.zeros(W, 2 * W)}, r"'style.1.weight' is \(10, 20\)"),
        ({**rosinality(), "style.1.weight": torch.zeros(2 * W, W)}, r"'style.1.weight' is \(20, 10\)"),
        (
            {**rosinality(), "convs.0.conv.blur.kernel": FILTER},
            "'convs.0.conv.blur.kernel' is another",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        imports.import_weights("stylegan2", saved(tmp_path, g_ema=state), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("said", ["attributes", "arguments"])
def test_layers_of_the_mapping_keep_their_learning_rate(tmp_path: Path, rate: float, said: str) -> None:
    """w by StyleGAN2-ADA's arithmetic: weights times rate / sqrt(inputs), biases times rate."""
    generator = ada(CLASSES, rate=rate)
    layers = generator.parts["mapping"].parts
    if said == "arguments":
        for layer in layers.values():
            del layer.attributes["weight_gain"], layer.attributes["bias_gain"]
    imports.import_weights("stylegan2", stored(tmp_path, generator), tmp_path / "out")
    model: Any = zoo.load("stylegan2", weights=str(tmp_path / "out"))
    z = torch.randn(4, Z, generator=torch.Generator().manual_seed(0))

    def normed(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    embed = layers["embed"].tensors
    x = torch.cat([normed(z), normed(embed["weight"].t()[[1] * 4] / math.sqrt(CLASSES) + embed["bias"])], 1)
    for i in range(LAYERS):
        tensors = layers[f"fc{i}"].tensors
        x = x @ tensors["weight"].t() * (rate / math.sqrt(x.shape[1])) + tensors["bias"] * rate
        x = torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)
    with torch.no_grad():
        found = model.generator.mapping(z, torch.full((4,), 1))
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5 * float(x.abs().max()))


def test_gains_of_other_layers_are_taken_too(tmp_path: Path) -> None:
    """Twice the gain is twice the weight."""
    generator, expected = ada(CLASSES), official.read(stored(tmp_path, ada(CLASSES)))[1]
    block, mapping = generator.parts["synthesis"].parts["b8"].parts, generator.parts["mapping"].parts
    for layer in (block["conv1"].parts["affine"], block["torgb"], mapping["embed"]):
        layer.attributes["weight_gain"] *= 2
    state = official.read(stored(tmp_path, generator))[1]
    doubled = {name for name in state if not torch.equal(state[name], expected[name])}
    prefix = "generator.synthesis.blocks.0"
    assert doubled == {f"{prefix}.conv.affine.weight", f"{prefix}.to_rgb.weight", "generator.mapping.embed.weight"}
    for name in doubled:
        torch.testing.assert_close(state[name], 2 * expected[name])


@pytest.mark.parametrize(
    ("place", "attribute", "value"),
    [
        ("mapping.fc1", "activation", "relu"),
        ("mapping.embed", "activation", "lrelu"),
        ("mapping.fc0", "bias_gain", 0),
        ("mapping.fc0", "weight_gain", math.nan),
        ("synthesis.b8", "architecture", "orig"),
        ("synthesis.b8.conv0", "activation", "sigmoid"),
        ("synthesis.b8.conv0", "act_gain", 1.0),
        ("synthesis.b8.conv0", "up", 1),
        ("synthesis.b16.conv1", "up", 2),
        ("synthesis.b4.conv1", "use_noise", False),
        ("synthesis.b16.torgb.affine", "activation", "relu"),
        ("synthesis.b16.torgb", "conv_clamp", 128.0),
        ("synthesis.b4.conv1", "conv_clamp", None),
    ],
)
@pytest.mark.parametrize("said", ["attributes", "arguments"])
def test_arithmetic_that_is_not_ours_is_named(
    tmp_path: Path, place: str, attribute: str, value: Any, said: str
) -> None:
    generator = ada(CLASSES)
    part = generator
    for name in place.split("."):
        part = part.parts[name]
    part.attributes[attribute] = value
    if said == "arguments":
        part.attributes["_init_kwargs"] = easy(**{attribute: part.attributes.pop(attribute)})
    with pytest.raises(WeightsError, match=attribute) as caught:
        imports.import_weights("stylegan2", stored(tmp_path, generator), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert attribute == "conv_clamp" or f"'{place}'" in str(caught.value)


@pytest.mark.parametrize("clamp", [0, -1.0, math.inf, math.nan])
def test_a_clamp_that_is_no_limit_is_named(tmp_path: Path, clamp: float) -> None:
    with pytest.raises(WeightsError, match="conv_clamp"):
        official.read(stored(tmp_path, ada(clamp=clamp)))


@pytest.mark.parametrize("taps", [[1.0, 2, 1], [1.0, 1], [1.0, 4, 4, 1]])
def test_other_resampling_filters_are_named(tmp_path: Path, taps: list[float]) -> None:
    generator, kernel = ada(), torch.tensor(taps) / sum(taps)
    generator.parts["synthesis"].parts["b8"].parts["conv0"].tensors["resample_filter"] = torch.outer(kernel, kernel)
    with pytest.raises(WeightsError, match="'synthesis.b8.conv0.resample_filter' is another resampling filter"):
        official.read(stored(tmp_path, generator))


def test_a_mean_w_of_a_network_with_classes_is_measured(tmp_path: Path) -> None:
    generator = ada(CLASSES)
    del generator.parts["mapping"].tensors["w_avg"]
    imports.import_weights("stylegan2", stored(tmp_path, generator), tmp_path / "out")
    model: Any = zoo.load("stylegan2", weights=str(tmp_path / "out"))
    z = torch.randn(30_000, Z, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w = model.generator.mapping(z, torch.arange(30_000) % CLASSES)
    assert float(((w.mean(0) - model.generator.mapping.mean_w) / w.std(0)).abs().max()) < 0.05


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
