"""A toy of each kind of model that is to come, through the kit and the command line: clips, and pictures from pictures.

They hold the interfaces to what a stranger's model needs, whatever the models of the zoo happen to use.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from torch import nn

import zoo
from zoo import hookimpl, registry, testing
from zoo.cli import main
from zoo.errors import DataError, OptionError
from zoo.hub.golden import check_golden, draw_golden
from zoo.plugins import DISTRIBUTION, PluginRecord, PluginSet, candidates
from zoo.settings import Settings
from zoo.spec import ModelSpec, Option, Preset
from zoo.train import loop, planning


class Walk(zoo.Model):
    """Clips whose frames are a random walk of one colour: each frame depends on those before it.

    Args:
        length: T, frames of a clip.
    """

    def __init__(self, *, length: int = 4) -> None:
        super().__init__()
        self.image_shape, self.frames = (3, 8, 8), length
        self.step = nn.Linear(3, 3)

    def walk(self, request: Any) -> Iterator[torch.Tensor]:
        colour = request.normal(3)
        for t in range(request.frames or 10**9):
            colour = self.step(colour) + request.child(f"frame {t}").normal(3)
            frame = (colour.tanh() * 127.5 + 127.5).to(torch.uint8)
            yield frame[:, :, None, None].expand(-1, -1, 8, 8)


class Paint(zoo.Model):
    """A picture in colour from an edge map of one channel and twice the size.

    Args:
        width: features.
    """

    def __init__(self, *, width: int = 4) -> None:
        super().__init__()
        self.image_shape = (3, 8, 8)
        self.layers = nn.Sequential(nn.Conv2d(1, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 3, 1))

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"image": self.image_shape, "condition": (1, 16, 16)}

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        edges = torch.zeros(n, 1, 16, 16, dtype=torch.uint8)
        for i in range(n):
            edges[i, :, (i + seed) % 16] = 255
        return {"condition": edges}


class Coins(zoo.Model):
    """Pictures of nine coins, thrown one by one; neither their size nor their levels can be set.

    Args:
        logit: of heads, before training.
    """

    def __init__(self, *, logit: float = 0.0) -> None:
        super().__init__()
        self.image_shape, self.levels = (1, 3, 3), 2
        self.logits = nn.Parameter(torch.full(self.image_shape, logit))

    def log_prob(self, images: torch.Tensor) -> torch.Tensor:
        signs = 2 * images.to(self.logits) - 1
        return nn.functional.logsigmoid(signs * self.logits).flatten(1).sum(1)


class Fit:
    """Least squares of whatever the model gives.

    Args:
        learning_rate: of SGD.
    """

    def __init__(self, model: Any, settings: Any, accelerator: Any, *, learning_rate: float = 0.1) -> None:
        self.accelerator = accelerator
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.optimizer}

    def loss(self, batch: dict[str, Any]) -> torch.Tensor:
        if "video" in batch:
            colours = batch["video"].float().mean((3, 4)) / 255  # B T C
            return (self.model.step(colours[:, :-1]) - colours[:, 1:]).square().mean()
        if "condition" not in batch:
            return -self.model.log_prob(batch["image"] // 128).mean()
        image, edges = batch["image"].float() / 255, batch["condition"].float() / 255
        return (self.model.layers(edges) - image).square().mean()

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        loss = self.loss(batch)
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"loss": loss.detach()}


BASE = {"summary": "a toy", "paper": "none", "presets": {"tiny": Preset()}}
WALK = ModelSpec(name="walk", kind="random-walk", task="video-generation", data_shape=("T", "C", "H", "W"), **BASE)
EDGES = Option(name="condition", type="image", shape=(1, 16, 16), per_sample=True, help="an edge map")
PAINT = ModelSpec(
    name="paint",
    kind="regression",
    task="image-translation",
    data_shape=("C", "H", "W"),
    sample_options=(EDGES,),
    **BASE,
)
COINS = ModelSpec(name="coins", kind="factorised", task="image-generation", data_shape=("C", "H", "W"), **BASE)


@hookimpl
def zoo_models() -> list[ModelSpec]:
    return [WALK, PAINT, COINS]


@hookimpl
def zoo_build(spec: ModelSpec, config: dict[str, Any]) -> zoo.Model:
    return {"walk": Walk, "paint": Paint, "coins": Coins}[spec.name](**config)


@hookimpl
def zoo_train(spec: ModelSpec) -> Any:
    return Fit


@hookimpl
def zoo_sample(spec: ModelSpec, model: Any, request: Any) -> Any:
    if spec.name == "walk":
        return model.walk(request)
    if spec.name == "coins":
        return (request.uniform(1, 3, 3).to(request.device) < model.logits.sigmoid()).to(torch.uint8)
    if request.options["condition"] is None:
        raise OptionError("paint needs condition=PICTURE")
    noise = request.normal(1, 1, 1)
    painted = model.layers(request.options["condition"].to(request.device).float() / 255) + 0.1 * noise
    return (painted.clamp(0, 1) * 255).to(torch.uint8)


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = types.ModuleType("zoo_toys")
    vars(plugin).update(zoo_models=zoo_models, zoo_build=zoo_build, zoo_train=zoo_train, zoo_sample=zoo_sample)
    monkeypatch.setitem(sys.modules, "zoo_toys", plugin)
    ours = [found for found in candidates() if found.distribution == DISTRIBUTION]
    found = PluginSet(found=[*ours, PluginRecord("toys", "zoo_toys", "zoo-toys", "1.0")])
    monkeypatch.setattr(registry, "_discover", lambda: found)


@pytest.mark.parametrize("check", [name for name in testing.CHECKS if name != "plugin_is_torch_free"])
@pytest.mark.parametrize("model", ["walk", "paint", "coins"])
def test_the_kit_knows_no_kind_of_model(model: str, check: str) -> None:
    [result] = testing.check(model, only=check)
    assert result.status in ("pass", "n/a"), result.detail


def test_a_likelihood_is_added_up_only_over_nine_binary_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    [result] = testing.check("coins", only="normalised")
    assert result.status == "pass"
    monkeypatch.setattr(Coins, "levels", property(lambda self: 3, lambda self, value: None), raising=False)
    [result] = testing.check("coins", only="normalised")
    assert (result.status, result.detail) == ("n/a", "its tiny preset can't be set to 3x3 pixels of 2 levels")


def test_a_clip_of_any_length_begins_with_the_shorter_one() -> None:
    model = zoo.build("walk")
    clips = model.sample(2, seed=1)
    assert clips.shape == (2, 4, 3, 8, 8)
    assert torch.equal(model.sample(2, seed=1, frames=9)[:, :4], clips)
    stream = model.stream(2, seed=1)  # without end
    assert torch.equal(torch.stack([next(stream) for _ in range(4)], 1), clips)
    assert next(stream).shape == (2, 3, 8, 8)
    assert model.sample(0).shape == (0, 4, 3, 8, 8)
    with pytest.raises(OptionError, match="frames takes an integer of at least 1, not 0"):
        model.sample(1, frames=0)


def test_no_more_frames_are_drawn_than_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a plugin that would go on."""
    drawn = []

    def walk(self: Walk, request: Any) -> Iterator[torch.Tensor]:
        for t in range(100):
            drawn.append(t)
            yield torch.full((request.n, 3, 8, 8), t, dtype=torch.uint8)

    monkeypatch.setattr(Walk, "walk", walk)
    assert zoo.build("walk").sample(1, frames=3)[0, :, 0, 0, 0].tolist() == [0, 1, 2]
    assert len(list(zoo.build("walk").stream(frames=3))) == 3
    assert drawn == [0, 1, 2, 0, 1, 2]


def test_streaming_changes_nothing_between_frames() -> None:
    model = zoo.build("walk").train()
    stream = model.stream()
    next(stream)
    assert model.training
    assert torch.is_grad_enabled()


def test_pictures_have_no_frames() -> None:
    model = zoo.build("paint")
    for call in (lambda: model.sample(1, frames=2), lambda: list(model.stream())):
        with pytest.raises(OptionError, match="paint draws pictures, which have no frames"):
            call()


def test_parts_have_noise_of_their_own() -> None:
    request = zoo.request.SampleRequest(seed=0, indices=[3], device=torch.device("cpu"), options={})
    left, right = request.child("left"), request.child("right")
    first = left.normal(5)
    assert torch.equal(request.child("left").normal(5), first)
    assert not torch.equal(right.normal(5), first)
    assert not torch.equal(request.normal(5), first)


def test_an_input_may_have_another_shape_than_the_output() -> None:
    model = zoo.build("paint")
    edges = model.examples(2)["condition"]
    assert model.sample(2, condition=edges).shape == (2, 3, 8, 8)
    assert model.sample(2, condition=edges[:1]).shape == (2, 3, 8, 8)
    wrong = [edges[:, :, :8], edges.float(), edges[0]]
    for value in wrong:
        with pytest.raises(OptionError, match=r"option 'condition' takes uint8 \(N, 1, 16, 16\), not"):
            model.sample(len(value), condition=value)


def test_an_edge_map_is_a_file_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    zoo.save(zoo.build("paint"), tmp_path / "weights")
    Image.new("L", (16, 16), 255).save(tmp_path / "edges.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "small.png")
    command = ["sample", "paint", "--weights", "./weights", "-n", "2", "-o", "out.png"]
    assert main([*command, "--option", "condition=edges.png"]) == 0
    assert (tmp_path / "out.png").is_file()
    assert main([*command, "--option", "condition=small.png"]) == 2


def test_golden_sample_and_card_draw_with_the_examples(tmp_path: Path) -> None:
    model = zoo.build("paint").eval()
    golden = draw_golden(model, None)
    assert golden is not None
    assert golden["examples"] is True
    assert check_golden(model, golden)[0]
    folder = zoo.save(model, tmp_path / "weights")
    assert (folder / "samples.png").is_file()
    same, text = check_golden(zoo.load("paint", weights=folder), draw_golden(model, None) or {})
    assert same, text


@pytest.mark.parametrize(
    ("model", "missing", "key"), [("walk", "clip", "video"), ("paint", "pair of image and condition", "condition")]
)
def test_data_that_lack_what_a_model_trains_on_are_named_before_training(
    model: str, missing: str, key: str, pictures: Path, tmp_path: Path
) -> None:
    settings = Settings(model=model, data=str(pictures), out=str(tmp_path / "run"), device="cpu")
    for start in (planning.plan, loop.train):
        with pytest.raises(DataError):
            start(settings)
    assert not (tmp_path / "run").exists()
    from conftest import write_pictures

    colour = write_pictures(tmp_path / "colour", 4, mode="RGB")
    settings = Settings(model=model, data=str(colour), out=str(tmp_path / "run"), device="cpu")
    for start in (planning.plan, loop.train):
        with pytest.raises(DataError, match=f"there is no {missing} in it; put"):
            start(settings)
    write_pictures(tmp_path / "png", 4, mode="RGB")
    table = datasets.Dataset.from_dict({"image": [str(path) for path in sorted((tmp_path / "png").iterdir())]})
    table.cast_column("image", datasets.Image()).to_parquet(tmp_path / "rows.parquet")
    settings = dataclasses.replace(settings, data=str(tmp_path / "rows.parquet"))
    for start in (planning.plan, loop.train):
        with pytest.raises(DataError, match=f"{model} needs '{key}', but .* gives image"):
            start(settings)
    assert not (tmp_path / "run").exists()


def test_a_run_begins_with_existing_weights(pictures: Path, tmp_path: Path) -> None:
    first = {"model": "pixelcnn", "preset": "tiny", "data": str(pictures), "device": "cpu", "batch_size": 8}
    quiet = {"sample_every": 0, "eval_every": 0, "ema_images": 0}
    loop.train(Settings(**first, **quiet, out=str(tmp_path / "first"), examples=16))
    weights = zoo.load("pixelcnn", weights=tmp_path / "first").state_dict()
    settings = Settings(**first, **quiet, out=str(tmp_path / "second"), examples=8, init=str(tmp_path / "first"))
    begun = planning.build(settings, device="cpu")[1].state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in begun.items())
    assert loop.train(settings)["reason"] == "finished"
    sha256 = zoo.load("pixelcnn", weights=tmp_path / "first").weights_sha256
    training = json.loads((tmp_path / "second" / "config.json").read_text())["training"]
    assert (training["examples"], training["begun_with"]) == (8, {"sha256": sha256, "examples": 16})
    assert f"| begun with | `sha256='{sha256}', examples=16` |" in (tmp_path / "second" / "README.md").read_text()
    third = dataclasses.replace(settings, out=str(tmp_path / "third"), init=str(tmp_path / "second"))
    assert planning.begun_with(third)["examples"] == 24
    other = Settings(**first, out=str(tmp_path / "third"), init=str(tmp_path / "first"), overrides={"width": 16})
    with pytest.raises(zoo.ZooError, match="do not fit this pixelcnn"):
        loop.train(other)


def test_a_gan_goes_on_from_released_weights_with_a_fresh_discriminator() -> None:
    settings = Settings(model="stylegan2", data="-", out="-", init="emoji", preset="noto_emoji64")
    begun = planning.build(settings, device="cpu")[1]
    assert planning.begun_with(settings)["weights"] == "pixelzoo/stylegan2-emoji"
    released = zoo.load("stylegan2", weights="emoji").state_dict()
    assert begun.discriminator is not None
    assert all(torch.equal(begun.state_dict()[name], value) for name, value in released.items())


@pytest.mark.parametrize(("model", "off"), [("vid2vid", "flow"), ("pix2pix", "conditional")])
def test_what_weights_are_built_without_stays_out_where_a_run_begins_with_them(
    model: str, off: str, tmp_path: Path
) -> None:
    """Released weights lack a discriminator, which comes back; a network without a part has none in a run either."""
    weights = zoo.build(model, preset="tiny", **{off: False})
    zoo.save(weights.released(), tmp_path / "weights")
    given: dict[str, Any] = {"model": model, "data": "-", "out": "-", "init": str(tmp_path / "weights")}
    for more in ({}, {"overrides": {off: False}}):
        begun = planning.build(Settings(**given, preset="tiny", **more), device="cpu")[1]
        assert begun.config == weights.config
    begun = planning.build(Settings(**given, preset="tiny", overrides={"discriminator": False}), device="cpu")[1]
    assert begun.config == weights.released().config


def test_conditions_stand_before_what_was_drawn_from_them_and_true_pictures_behind(tmp_path: Path) -> None:
    from PIL import Image

    zoo.save(zoo.build("paint"), tmp_path / "weights")
    for folder, mode, side in (("edges", "L", 16), ("true", "RGB", 8)):
        (tmp_path / folder).mkdir()
        for i in range(2):
            Image.new(mode, (side, side), (100 * i + 50) if mode == "L" else (0, 90 * i, 250)).save(
                tmp_path / folder / f"{i}.png"
            )
    out = tmp_path / "out.png"
    command = ["sample", "paint", "--weights", str(tmp_path / "weights"), "-o", str(out)]
    command += ["--option", f"condition={tmp_path / 'edges'}"]
    assert main([*command, "--show-given", "--target", str(tmp_path / "true")]) == 0
    with Image.open(out) as picture:
        assert picture.size == (3 * 10 + 2, 2 * 10 + 2)  # one sample for each condition, in a row of its own
        for i in range(2):
            assert picture.getpixel((5, 10 * i + 5)) == (100 * i + 50,) * 3
            assert picture.getpixel((25, 10 * i + 5)) == (0, 90 * i, 250)
    assert main([*command, "--show-given"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (2 * 10 + 2, 2 * 10 + 2)
    assert main([*command, "--target", str(tmp_path / "true")]) == 2  # without --show-given
    Image.new("RGB", (8, 8)).save(tmp_path / "true" / "2.png")
    assert main([*command, "--show-given", "--target", str(tmp_path / "true")]) == 2  # three for two conditions


def test_clips_go_into_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving side by side, one file each, a still sheet whose rows are clips, or numbers; at the model's own rate."""
    from PIL import Image

    from zoo.media.video import clip_fps, read_clip

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Walk, "fps", 20.0)
    zoo.save(zoo.build("walk"), tmp_path / "weights")
    clips = zoo.load("walk", weights=tmp_path / "weights").sample(3, seed=2, frames=5)
    command = ["sample", "walk", "--weights", "./weights", "-n", "3", "--seed", "2", "--frames", "5", "-o"]
    for name in ("grid.gif", "each/{}.webp", "sheet.png", "rows/", "rows/{}.png"):
        assert main([*command, name]) == 0
    grid = read_clip(tmp_path / "grid.gif", 3)
    assert grid.shape[0] == 5
    assert clip_fps(tmp_path / "grid.gif") == 20
    assert torch.equal(read_clip(tmp_path / "each" / "00001.webp", 3), clips[1])
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == [
        *(f"{i:05d}.{ending}" for i in range(3) for ending in ("gif", "png")),
        "manifest.jsonl",
    ]
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (2 + 5 * 10, 2 + 3 * 10)
    with Image.open("rows/00002.png") as row:
        pixels = zoo.media.from_pil(row, 3)
        assert torch.equal(pixels[:, 4, [4 + 10 * t for t in range(5)]].T, clips[2, :, :, 0, 0])
    assert main([*command, "a.xyz"]) == 2
    assert main(["sample", "paint", "--frames", "2"]) == 2


def test_a_card_of_clips_moves(tmp_path: Path) -> None:
    from zoo.media.video import read_clip

    folder = zoo.save(zoo.build("walk"), tmp_path / "weights", samples=9)
    assert read_clip(folder / "samples.gif", 3).shape[0] == 4
    text = (folder / "README.md").read_text()
    assert "![samples](samples.gif)" in text
    assert "![samples](samples.png)" in text


def test_metrics_of_clips(tmp_path: Path) -> None:
    """A network of clips tells clips in disorder from others; the mean colour of frames does not."""
    from test_distances import OfClips, OfFrames, script
    from test_examples import frames

    from zoo import metrics

    for i in range(40):
        frames(tmp_path / "clips" / f"{i}", 6, mode="RGB")
    model = zoo.build("walk")
    network = script(OfClips(), tmp_path / "clips.pt")
    arguments = {"data": str(tmp_path / "clips"), "features": network, "metrics": ["fd"]}
    [receipt] = metrics.evaluate(model, count=20, **arguments)
    assert receipt["of"] == "clips"
    assert (receipt["frames"], receipt["stride"], receipt["count"], receipt["real"]) == (4, 1, 20, 38)
    assert receipt["window"].startswith("one a clip")
    by_control = {c: metrics.evaluate(model, control=c, **arguments)[0]["value"] for c in ("real", "shuffled")}
    assert by_control["shuffled"] > 2 * by_control["real"]
    single = script(OfFrames(), tmp_path / "frames.pt")
    [receipt] = metrics.evaluate(model, count=20, **{**arguments, "features": single})
    assert receipt["of"] == "single frames"
    by_frames = {
        c: metrics.evaluate(model, control=c, **{**arguments, "features": single})[0]["value"]
        for c in ("real", "shuffled")
    }
    assert by_frames["shuffled"] == pytest.approx(by_frames["real"])  # the same frames


def test_content_that_stays_has_no_distance(tmp_path: Path) -> None:
    """acd is the mean distance of two frames of a clip: of frames t = 0 to 3 in grey, 5/3 levels in each colour."""
    from test_examples import frames

    from zoo import metrics

    for i in range(6):
        frames(tmp_path / f"{i}", 4, 10 * i, mode="RGB")
    [receipt] = metrics.evaluate(zoo.build("walk"), data=str(tmp_path), metrics=["acd"], count=4)
    assert receipt["of_real"] == pytest.approx(5 / 3 * 3**0.5 / 255, rel=1e-4)
    assert receipt["features"] == "mean colour"
    with pytest.raises(OptionError, match="acd are of clips, and paint draws pictures"):
        metrics.evaluate(zoo.build("paint"), data=str(tmp_path), metrics=["acd"])
    with pytest.raises(OptionError, match="fvd needs --features FILE, the i3d_torchscript.pt"):
        metrics.evaluate(zoo.build("walk"), data=str(tmp_path), metrics=["fvd"], count=4)


def test_samples_are_drawn_from_the_conditions_of_the_data(tmp_path: Path) -> None:
    from PIL import Image
    from test_distances import Quarters, script

    from zoo import metrics

    for i in range(30):
        for key, mode, size in (("condition", "L", 16), ("image", "RGB", 8)):
            (tmp_path / "set" / "train" / key).mkdir(parents=True, exist_ok=True)
            Image.new(mode, (size, size), 8 * i if mode == "L" else (8 * i,) * 3).save(
                tmp_path / "set" / "train" / key / f"{i}.png"
            )
    model = zoo.build("paint")
    seen: list[torch.Tensor] = []
    model.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    metrics.evaluate(
        model, data=str(tmp_path / "set"), metrics=["fd"], count=40, features=script(Quarters(), tmp_path / "q.pt")
    )
    drawn_from = torch.cat(seen)[:, 0, 0, 0] * 255
    assert len(drawn_from) == 40
    assert torch.equal(drawn_from[:11], drawn_from[29:40])  # one after the other, again from the beginning
