"""Benchmarks that train: a run that was stopped is not measured, and rows that are compared differ."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

import zoo
from zoo.settings import Settings

sys.path.insert(0, str(ROOT / "benchmarks"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ladder", "pix2pix_losses", "recipes", "video_ladder"])
def test_a_run_that_was_stopped_is_not_measured(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = script(name)

    def stopped(settings: Settings, **how: Any) -> dict[str, Any]:
        (tmp_path / "model.safetensors").touch()  # which a run leaves that was stopped, too
        return {"reason": "interrupted"}

    monkeypatch.setattr(benchmark.runs.loop, "train", stopped)
    run = Settings(model="stylegan", data="-", out=str(tmp_path))
    for _ in range(2):
        with pytest.raises(SystemExit, match="the same command goes on"):
            benchmark.measured(run, argparse.Namespace())


def test_a_run_of_other_settings_or_another_length_is_not_measured(tmp_path: Path) -> None:
    runs = script("ladder").runs
    made = Settings(model="stylegan", data="-", out=str(tmp_path), examples=100)
    (tmp_path / "run.json").write_text(json.dumps({"settings": dataclasses.asdict(made)}))
    assert runs.check(made)
    for change, said in (({"examples": 200}, "planned for 100 examples, not 200"), ({"batch_size": 8}, "batch_size")):
        with pytest.raises(SystemExit, match=said):
            runs.check(dataclasses.replace(made, **change))


def ladder_arguments(**changes: Any) -> argparse.Namespace:
    arguments: argparse.Namespace = script("ladder").parser().parse_args([])
    return argparse.Namespace(**{**vars(arguments), **changes})


@pytest.mark.parametrize("model", ["stylegan", "stylegan2"])
def test_rows_of_the_ladder_differ_in_nothing_but_what_the_paper_changes(model: str) -> None:
    benchmark = script("ladder")
    arguments = ladder_arguments(mapping_layers=2, learning_rate=0.003, r1_gamma=0.5)
    presets = zoo.registry.model_spec(model).presets
    for row in "ABCDEF":
        settings = benchmark.settings_of(model, row, arguments)
        built = zoo.build(model, row, **settings.overrides)
        config = {**built.config, "mapping_layers": presets[row].model.get("mapping_layers", 8)}
        changed = set(dict(config.items() - zoo.build(model, row, resolution=32).config.items()))
        assert changed <= {"width_base", "width_max", "latent_size", "w_size", "stable_images", "fade_images"}
        assert built.config["mapping_layers"] in (0, 2)
        assert settings.recipe["learning_rate"] == 0.003
        assert ("r1_gamma" in settings.recipe) == (presets[row].recipe.get("loss") != "wgan-gp")
        arguments.wgan_gp = True  # as on CelebA-HQ
        assert (benchmark.settings_of(model, row, arguments).recipe.get("loss") == "wgan-gp") == (model == "stylegan")
        arguments.wgan_gp = False


def test_row_f_of_the_ladder_is_wider_than_row_e() -> None:
    benchmark = script("ladder")
    counts = []
    for row in "EF":
        settings = benchmark.settings_of("stylegan2", row, ladder_arguments())
        model = zoo.build("stylegan2", row, **settings.overrides)
        counts.append(sum(p.numel() for p in model.parameters()))
    assert counts[0] < counts[1]
    with pytest.raises(SystemExit, match="row F would be no wider than row E"):
        benchmark.check(ladder_arguments(width_base=4096, width_max=128))
