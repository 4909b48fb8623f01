"""Presets are experiments: a network, a recipe and a run, each checked by the schema of what takes it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo import building, registry
from zoo.cli import main
from zoo.errors import OptionError, UnknownNameError
from zoo.hub.config import CONFIG
from zoo.settings import Settings
from zoo.train import loop, planning

SPECS = {spec.name: spec for spec in zoo.models()}
PRESETS = [(spec, preset) for spec in SPECS.values() for preset in spec.presets]


@pytest.mark.parametrize(("spec", "name"), PRESETS, ids=[f"{spec.name}-{name}" for spec, name in PRESETS])
def test_every_preset_fits_its_model_its_trainer_and_the_run(spec: zoo.ModelSpec, name: str) -> None:
    preset = spec.preset(name)
    network, recipe = building.schema(spec).check(preset.model), building.schema(spec, "recipe").check(preset.recipe)
    assert not set(network) & set(recipe)  # so that --set can name either
    assert "learning_rate" in recipe
    Settings(**{"model": spec.name, "data": "-", "out": "-", "preset": name, **preset.settings}).check()


@pytest.mark.parametrize(("spec", "name"), PRESETS, ids=[f"{spec.name}-{name}" for spec, name in PRESETS])
def test_the_data_of_a_preset_have_what_its_model_is_conditioned_on(spec: zoo.ModelSpec, name: str) -> None:
    preset = spec.preset(name)
    data = registry.data_spec(str(preset.settings.get("data")))
    if data is None:
        return
    with torch.device("meta"):
        model = building.build_from_config(spec, preset.model)
    columns = {*(data.columns or ()), *preset.settings.get("columns", {})}
    missing = {"label", "caption"} & {*model.condition_names} - columns
    assert not missing


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_every_setting_says_what_it_means(spec: zoo.ModelSpec) -> None:
    for kind in ("model", "recipe"):
        for row in building.schema(spec, kind).describe():
            assert row["meaning"], f"{spec.name} says nothing of {row['name']}"


def test_settings_reach_network_and_recipe() -> None:
    spec = SPECS["stylegan2"]
    assert building.split(spec, {"resolution": 64, "r1_gamma": 1}) == ({"resolution": 64}, {"r1_gamma": 1.0})
    with pytest.raises(UnknownNameError, match="did you mean 'r1_gamma'"):
        building.split(spec, {"r1_gama": 1})
    with pytest.raises(OptionError, match="setting 'r1_every' of stylegan2 must be int, not 1.5"):
        building.split(spec, {"r1_every": 1.5})


def test_a_recipe_with_a_value_that_makes_no_sense_is_one_line(pictures: Path, tmp_path: Path) -> None:
    settings = Settings(
        model="stylegan2", preset="tiny", data=str(pictures), out=str(tmp_path / "run"), device="cpu",
        overrides={"channels": 1}, recipe={"r1_every": 0},
    )  # fmt: skip
    with pytest.raises(OptionError, match="stylegan2: r1_every and path_length_every must be at least 1"):
        loop.train(settings)
    assert not (tmp_path / "run").exists()


def test_a_preset_alone_says_everything_but_what_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plans: list[Settings] = []
    monkeypatch.setattr(planning, "plan", lambda settings: plans.append(settings) or {})
    assert main(["train", "stylegan2", "--preset", "noto_emoji64", "--batch-size", "8", "--dry-run"]) == 0
    [settings] = plans
    assert (settings.data, settings.examples, settings.batch_size) == ("noto_emoji64", 500_000, 8)
    assert planning.recipe(settings)["r1_gamma"] == 0.5
    assert main(["train", "stylegan2", "--preset", "F", "--dry-run"]) == 2
    assert "needs --data" in capsys.readouterr().err


def test_one_preset_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "stylegan2", "--preset", "E", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["network"]["width_base"], found["recipe"]["r1_gamma"], found["recipe"]["r1_every"]) == (8192, 100, 16)
    assert found["run"] == {"examples": 25_000_000}
    assert main(["info", "stylegan2", "--preset", "G"]) == 2


def test_the_receipt_holds_the_recipe_and_the_config_the_network(pictures: Path, tmp_path: Path) -> None:
    settings = Settings(
        model="pixelcnn", preset="tiny", data=str(pictures), out=str(tmp_path / "run"), examples=16, batch_size=8,
        recipe={"clip_norm": 2.0}, device="cpu", sample_every=0, eval_every=0,
    )  # fmt: skip
    loop.train(settings)
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    assert config["training"]["recipe"]["clip_norm"] == 2.0
    assert "learning_rate" not in config["config"]
    assert dataclasses.asdict(Settings.read(tmp_path / "run"))["recipe"] == {"clip_norm": 2.0}


def test_weights_of_before_the_recipe_left_the_constructor_still_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = zoo.build("stylegan2", "tiny").released().eval()
    folder = zoo.save(model, tmp_path / "old", samples=0)
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    config["config"] |= {"r1_gamma": 0.05, "r1_every": 16, "augment": "ada", "mirror": True, "style_mixing_prob": 0.0}
    (folder / CONFIG).write_text(json.dumps(config))
    loaded = zoo.load("stylegan2", weights=folder)
    assert "r1_gamma" not in loaded.config
    assert torch.equal(loaded.sample(2), model.sample(2))
