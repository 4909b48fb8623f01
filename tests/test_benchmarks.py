"""Benchmarks that train: a run that was stopped is not measured, and rows that are compared differ."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

import zoo
from zoo.settings import Settings


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ladder", "pix2pix_losses", "recipes"])
def test_a_run_that_was_stopped_is_not_measured(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = script(name)

    def stopped(settings: Settings, **how: Any) -> dict[str, Any]:
        (tmp_path / "model.safetensors").touch()  # which a run leaves that was stopped, too
        return {"reason": "interrupted"}

    monkeypatch.setattr(benchmark.loop, "train", stopped)
    run = Settings(model="stylegan", data="-", out=str(tmp_path))
    for _ in range(2):
        with pytest.raises(SystemExit, match="the same command goes on"):
            benchmark.measured(run, argparse.Namespace())


def ladder_arguments(**changes: Any) -> argparse.Namespace:
    arguments: argparse.Namespace = script("ladder").parser().parse_args([])
    return argparse.Namespace(**{**vars(arguments), **changes})


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
