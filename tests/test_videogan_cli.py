"""The GANs of clips on the command line: clips in files go in and come out, and bad input ends in one line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.cli import main
from zoo.media import video
from zoo.train import loop

Run = Callable[..., str]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Six clips of 12 frames in two classes, the last with longer still stretches."""
    for i in range(6):
        frames = [torch.full((3, 8, 8), 20 * (t // (1 + i)), dtype=torch.uint8) for t in range(12)]
        path = tmp_path / "clips" / ("jump", "wave")[i % 2] / f"{i}.gif"
        path.parent.mkdir(parents=True, exist_ok=True)
        video.write_clip(frames, path, [100] * 12)
    return tmp_path / "clips"


@pytest.fixture
def mocogan(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = zoo.build("mocogan", preset="tiny", categories=2, labelled=True)
    return zoo.save(model, tmp_path / "weights")


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command that ends in one line with exit code 2, before any update; the line."""

    def run(*command: Any) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(loop.Run, "_step", lambda self: pytest.fail("training started"))
            assert main([str(part) for part in command]) == 2
        text = capsys.readouterr().err.strip().splitlines()[-1]
        assert text.startswith("error: ")
        return text.removeprefix("error: ")

    return run


@pytest.mark.parametrize("name", ["vgan", "tgan", "mocogan", "dvdgan"])
def test_from_files_to_files(tmp_path: Path, clips: Path, name: str) -> None:
    """`zoo train` on a folder of clips longer than the model's, then `zoo sample` in three formats and as a sheet."""
    run = tmp_path / "run"
    train = ["train", name, "--preset", "tiny", "--data", clips, "--out", run, "--examples", 8, "--batch-size", 4]
    assert main([str(part) for part in train]) == 0
    frames = zoo.load(name, weights=str(run)).frames
    for ending in ("gif", "webp", "png"):
        path = tmp_path / f"a.{ending}"
        assert main(["sample", name, "--weights", str(run), "-n", "2", "-o", str(path)]) == 0
        assert len(video.read_clip(path, 3)) == (1 if ending == "png" else frames)


def test_a_label_out_of_range(mocogan: Path, error: Run, tmp_path: Path) -> None:
    sample = ("sample", "mocogan", "--weights", mocogan, "-o", tmp_path / "a.gif")
    assert "takes an integer from 0 to 1, not 2" in error(*sample, "--option", "label=2")
    assert "label" in error(*sample, "--option", "label=nonsense")


@pytest.mark.parametrize("name", ["vgan", "tgan"])
def test_more_frames_than_a_model_of_one_length_has(tmp_path: Path, error: Run, name: str) -> None:
    weights = zoo.save(zoo.build(name, preset="tiny"), tmp_path / "weights")
    found = error("sample", name, "--weights", weights, "-o", tmp_path / "a.gif", "--frames", 99)
    assert f"{name} draws clips of 4 frames, not of 99" in found
    assert not (tmp_path / "a.gif").exists()


def test_mp4_without_its_extra(mocogan: Path, error: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "av" else find(name, *rest))
    found = error("sample", "mocogan", "--weights", mocogan, "-o", tmp_path / "a.mp4")
    assert '.mp4 needs pip install "pixelzoo[video]"' in found


def test_clips_that_training_cannot_use(tmp_path: Path, clips: Path, error: Run) -> None:
    train = ("train", "vgan", "--preset", "tiny", "--out", tmp_path / "run", "--data", clips)
    with pytest.warns(UserWarning, match="fewer than the 16 frames"):
        found = error(*train, "--set", "frames=16")
    assert "has no clip that can be used: none has the 16 frames of a window" in found
    for t, size in enumerate((8, 8, 9, 8)):
        picture = torch.zeros(3, size, size, dtype=torch.uint8)
        (clips / "jump" / "odd").mkdir(exist_ok=True)
        zoo.media.write_image(picture, clips / "jump" / "odd" / f"{t}.png")
    assert "9x9" in error(*train)


def test_labels_that_a_model_does_not_have(tmp_path: Path, clips: Path, error: Run) -> None:
    train = ("train", "mocogan", "--preset", "tiny", "--out", tmp_path / "run", "--data", clips)
    assert "label" in error(*train, "--set", "categories=1", "--set", "labelled=true")
