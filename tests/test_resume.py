"""A run of a model whose steps draw noise, stopped and resumed, is the run that was never stopped, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import write_pictures
from test_training import assert_same_run

from zoo.errors import TrainingError
from zoo.settings import Settings
from zoo.train import events, loop
from zoo.train.accelerator import make_accelerator
from zoo.train.checkpoints import Checkpoints
from zoo.train.run_folder import RunFolder

GAN: dict[str, Any] = {
    "model": "stylegan2",
    "preset": "tiny",
    "examples": 48,
    "batch_size": 8,
    "log_every": 20,  # no multiple of a batch
    "eval_every": 0,
    "sample_every": 24,
    "checkpoint_every": 16,
    "ema_images": 20,
    "device": "cpu",
}


@pytest.mark.parametrize(
    ("n", "changes"), [(20, {}), (3, {"precision": "bf16", "workers": 1, "recipe": {"augment": "ada"}})]
)
def test_stopped_and_resumed_equals_uninterrupted(n: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """Latents, noise, styles to mix and augmentations are drawn anew after the resume as they were before; also where
    the data are fewer than a batch, and where the process has drawn other random numbers meanwhile."""
    data = write_pictures(tmp_path / "pictures", n, mode="RGB")

    def run(name: str) -> Settings:
        return Settings(**{**GAN, **changes, "data": str(data), "out": str(tmp_path / name)})

    def stop(report: dict[str, Any]) -> None:
        if report["seen"] == 24:
            raise RuntimeError("power cut")

    torch.manual_seed(1)
    loop.train(run("whole"))
    with pytest.raises(RuntimeError, match="power cut"):
        loop.train(run("stopped"), progress=stop)
    assert Checkpoints(tmp_path / "stopped" / "checkpoints").last == 16
    torch.manual_seed(2)
    loop.train(run("stopped"), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_events_are_due_when_an_update_passes_their_examples(tmp_path: Path) -> None:
    """Batches of 8, and every 20 examples a line: after 24, 40 and 64."""
    settings = Settings(**{**GAN, "data": "x", "out": str(tmp_path), "checkpoint_every": 0, "sample_every": 0})
    due = events.Events(settings, make_accelerator(settings)).due
    assert [seen for seen in range(8, 72, 8) if due(seen) == {"log"}] == [24, 40, 64]


def test_a_run_that_was_killed_while_it_wrote_its_first_file_begins_anew_and_sweeps(tmp_path: Path) -> None:
    run = tmp_path / "run"
    strays = [".run.1.part.json", "checkpoints/.000000000008.1.part.pt", "samples/.000000008.1.part.png"]
    for name in strays:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    Settings(**{**GAN, "data": "x", "out": str(run)}).check_folder(resume=False)
    RunFolder(run).begin({}, 0)
    assert not [path for path in run.rglob("*") if ".part" in path.name]
    assert (run / "run.json").exists()


def test_a_resumed_run_drops_what_lies_after_its_checkpoint(tmp_path: Path) -> None:
    """The run writes it again; a line that a kill cut off goes too."""
    folder = RunFolder(tmp_path)
    folder.begin({}, 0)
    (tmp_path / "metrics.jsonl").write_text('{"seen": 8}\n{"seen": 16}\n{"seen": 24}\n{"se')
    for name in ("000000016.png", "000000016-reconstructions.png", "000000024.png", "000000024-reconstructions.gif"):
        (tmp_path / "samples" / name).touch()
    (tmp_path / "samples" / "notes.txt").touch()
    folder.begin({}, 16)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"seen": 8}\n{"seen": 16}\n'
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["000000016-reconstructions.png", "000000016.png", "notes.txt"]


def test_checkpoints_that_can_not_be_read_end_in_one_line(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for seen in (8, 16, 24):
        kept.write({"seen": seen}, seen)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000016.pt", "000000000024.pt"]
    (tmp_path / "000000000024.pt").write_bytes(b"")
    assert kept.newest() == {"seen": 16}
    (tmp_path / "000000000016.pt").write_bytes(b"PK")
    with pytest.raises(TrainingError, match="no checkpoint in .* can be read; start the run anew"):
        kept.newest()
