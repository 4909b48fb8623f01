"""The published weights: each loads against its pin, draws its golden sample, and has a true card."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

import zoo
from zoo import hub
from zoo.hub import card
from zoo.hub.config import read_config
from zoo.hub.golden import check_golden
from zoo.hub.resolve import resolve
from zoo.metrics import features

ROOT = Path(__file__).resolve().parent.parent
PINS = [(spec, tag) for spec in zoo.models() for tag in spec.weights]


@pytest.mark.parametrize(("spec", "tag"), PINS, ids=[f"{spec.name}-{tag}" for spec, tag in PINS])
class TestEachPin:
    def test_it_is_bundled_and_draws_its_golden_sample(self, spec: zoo.ModelSpec, tag: str) -> None:
        folder, pin = resolve(spec, tag)
        assert folder == ROOT / "model_cards" / spec.weights[tag].folder_name
        model = hub.load(spec.name, weights=tag, device="cpu")
        golden = read_config(folder).golden
        assert golden
        same, text = check_golden(model, golden)
        assert same, text
        assert pin == spec.weights[tag]

    def test_its_card_is_valid_and_shows_the_receipts(self, spec: zoo.ModelSpec, tag: str) -> None:
        folder = ROOT / "model_cards" / spec.weights[tag].folder_name
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert card.validate(text) == []
        config = read_config(folder).raw
        assert config["metrics"]
        for receipt in config["metrics"]:
            assert f"| {receipt['name']} | {receipt['value']} |" in text
        assert "zoo eval" in text
        inputs = card.inputs(spec, config)
        assert ("**model.examples(" in text) == bool(inputs)  # nothing is drawn without
        files = [o.name for o in spec.sample_options if o.name in inputs and o.type in ("image", "video")]
        assert all(f"--option {name}=FILE" in text for name in files)
        assert "samples.png" in card.pictures(text)
        assert all((folder / name).is_file() for name in card.pictures(text))

    def test_its_commands_find_the_networks_that_measured_it(
        self, spec: zoo.ModelSpec, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        receipts = read_config(ROOT / "model_cards" / spec.weights[tag].folder_name).raw["metrics"]
        for name, digest in {(r["features"], r["features_sha256"]) for r in receipts if r.get("features_sha256")}:
            assert features.load(name, torch.device("cpu")).sha256 == digest

    def test_the_table_of_the_readme_has_its_number(self, spec: zoo.ModelSpec, tag: str) -> None:
        folder = spec.weights[tag].folder_name
        [row] = [line for line in (ROOT / "README.md").read_text().splitlines() if f"(model_cards/{folder})" in line]
        numbers = re.findall(r"\d+\.\d+", row)
        values = [receipt["value"] for receipt in read_config(ROOT / "model_cards" / folder).raw["metrics"]]
        assert any(round(value, len(n.split(".")[1])) == float(n) for value in values for n in numbers)


def test_every_folder_is_pinned_and_all_stay_small() -> None:
    folders = {path.name for path in (ROOT / "model_cards").iterdir() if path.is_dir()}
    assert folders == {spec.weights[tag].folder_name for spec, tag in PINS}
    assert sum(path.stat().st_size for path in (ROOT / "model_cards").rglob("*") if path.is_file()) < 60e6


def test_recording_a_figure_keeps_the_name_of_the_weights(tmp_path: Path) -> None:
    """As the card tells to draw and to measure; without it nobody could from the card."""
    bundled, folder = ROOT / "model_cards" / "dance-mocap", tmp_path / "weights"
    folder.mkdir()
    for name in ("config.json", "README.md", "samples.png", "samples.gif"):
        if (bundled / name).is_file():
            shutil.copy(bundled / name, folder)
    hub.record(folder, read_config(folder).raw["metrics"])
    for name in ("README.md", "config.json"):
        assert (folder / name).read_text(encoding="utf-8") == (bundled / name).read_text(encoding="utf-8")
