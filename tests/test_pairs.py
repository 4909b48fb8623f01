"""What `zoo train` says of data to translate: the first pair, and mistakes, in one line and before training."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image

import zoo
from zoo import data
from zoo.cli.app import main
from zoo.errors import DataError

Capture = pytest.CaptureFixture[str]
FRAMES = 4
MAPS = ["condition_channels=1", "condition_classes=3"]


def pictures(folder: Path, names: list[str], value: int = 0, mode: str = "RGB", size: int = 16) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new(mode, (size, size), value if mode == "L" else (value,) * 3).save(folder / name, lossless=True)


def clips(place: Path, *, value: int = 1, mode: str = "L", size: int = 16, length: int = FRAMES) -> None:
    """Three clips of frames with label maps; the last map of the last clip has the given value."""
    names = [f"{t}.png" for t in range(length)]
    for i in range(3):
        pictures(place / "train" / "video" / f"clip {i}", names)
        pictures(place / "train" / "condition" / f"clip {i}", names, 1, mode, size)
    pictures(place / "train" / "condition" / "clip 2", names[-1:], value, mode, size)


def train(place: Path, model: str, *more: str) -> int:
    flags = [flag for text in more for flag in ((text,) if text.startswith("--") else ("--set", text))]
    out = str(place / "run")
    return main(["train", model, "--preset", "tiny", "--data", str(place), "--examples", "2", "--out", out, *flags])


def refused(place: Path, capsys: Capture, model: str, *more: str) -> str:
    """What a run that does not begin says, on one line; a dry run says the same."""
    said = []
    for flags in (more, (*more, "--dry-run")):
        assert train(place, model, *flags) == 2
        said.append(capsys.readouterr().err.strip().splitlines()[-1])
    assert said[0] == said[1]
    assert not (place / "run" / "metrics.jsonl").exists()
    return said[0].removeprefix("error: ")


@pytest.mark.parametrize("ending", ["png", "webp", "gif"])
def test_a_dry_run_shows_the_first_pair(tmp_path: Path, capsys: Capture, ending: str) -> None:
    """Pictures that could move, but do not, are pictures."""
    for part in ("condition", "image"):
        pictures(tmp_path / "train" / part, [f"{i}.{ending}" for i in range(12)])
    assert train(tmp_path, "pix2pix", "--dry-run", "--json") == 0
    first = json.loads(capsys.readouterr().out)["data"]["first"]
    assert {key: Path(path).relative_to(tmp_path).as_posix() for key, path in first.items()} == {
        "image": f"train/image/0.{ending}",
        "condition": f"train/condition/0.{ending}",
    }
    for part in ("condition", "video"):
        for i in range(2):
            pictures(tmp_path / "clips" / "train" / part / str(i), [f"{t}.{ending}" for t in range(FRAMES)])
    assert train(tmp_path / "clips", "vid2vid", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)["data"]
    assert plan["train"] == 1  # the other one is held out
    assert plan["first"]["video"].endswith(f"/0.{ending} and 3 more")


def test_moving_files_stay_clips(tmp_path: Path) -> None:
    for part in ("condition", "video"):
        folder = tmp_path / "train" / part
        folder.mkdir(parents=True)
        for i in range(3):
            frames = [Image.new("RGB", (16, 16), (40 * t, i, 0)) for t in range(FRAMES)]
            frames[0].save(folder / f"{i}.gif", save_all=True, append_images=frames[1:])
    shape = (FRAMES, 3, 16, 16)
    assert len(data.load(str(tmp_path), "train", {"video": shape, "condition": shape})) == 2  # one is held out


def test_halves_of_pictures_are_shown_as_such(tmp_path: Path, capsys: Capture) -> None:
    pictures(tmp_path / "train", ["a.png", "b.png"], size=16)
    Image.new("RGB", (32, 16)).save(tmp_path / "train" / "a.png")
    Image.new("RGB", (32, 16)).save(tmp_path / "train" / "b.png")
    assert train(tmp_path, "pix2pix", "--pairs=right-left", "--dry-run", "--json") == 0
    first = json.loads(capsys.readouterr().out)["data"]["first"]
    assert first["condition"].endswith(".png, the right half")
    assert first["image"].endswith(".png, the left half")


def test_label_maps_beyond_the_classes_are_named(tmp_path: Path, capsys: Capture) -> None:
    clips(tmp_path, value=7)
    said = refused(tmp_path, capsys, "vid2vid", *MAPS)
    assert "has the value 7, but the label maps of this vid2vid have the classes 0 to 2" in said
    assert "set its number of classes to 8" in said


def test_conditions_of_another_size_or_mode_are_named(tmp_path: Path, capsys: Capture) -> None:
    clips(tmp_path / "small", size=8)
    said = refused(tmp_path / "small", capsys, "vid2vid", *MAPS)
    assert "small/train/condition/clip" in said
    assert "holds a picture of 8x8, mode L; the model needs 16x16, mode L" in said
    clips(tmp_path / "colours", mode="RGB")
    said = refused(tmp_path / "colours", capsys, "vid2vid", *MAPS)
    assert "holds a picture of 16x16, mode RGB; the model needs 16x16, mode L" in said


def test_clips_shorter_than_a_window_are_named(tmp_path: Path, capsys: Capture) -> None:
    clips(tmp_path, length=3)
    with pytest.warns(UserWarning, match="2 of 2 clips have fewer than the 4 frames of a window"):
        said = refused(tmp_path, capsys, "vid2vid", *MAPS)
    assert "has no clip that can be used: none has the 4 frames of a window" in said


def test_pairs_that_do_not_match_are_named(tmp_path: Path, capsys: Capture) -> None:
    pictures(tmp_path / "train" / "condition", ["a.png", "b.png", "c.png"])
    pictures(tmp_path / "train" / "image", ["a.png", "d.png"])
    said = refused(tmp_path, capsys, "pix2pix")
    assert said.endswith("train/image' lacks b, c, which the other folder of pairs has")


def keypoints(place: Path, *joints: Any) -> None:
    """A table of clips of two black frames with stick figures and keypoints, three times each."""
    place.mkdir()
    black = io.BytesIO()
    Image.new("RGB", (16, 16)).save(black, "png")
    clip = [{"path": None, "bytes": black.getvalue()}] * 2
    n = 3 * len(joints)
    rows: dict[str, list[Any]] = {"video": [clip] * n, "condition": [clip] * n, "label": [0] * n}
    rows["joints"] = [x for x in joints for _ in range(3)]
    write(place, rows)


def write(place: Path, rows: dict[str, list[Any]]) -> None:
    table = datasets.Dataset.from_dict(rows)
    for name in ("video", "condition"):
        table = table.cast_column(name, datasets.List(datasets.Image()))
    table.to_parquet(place / "train.parquet")


def test_keypoints_that_can_not_be_used_are_named(tmp_path: Path, capsys: Capture) -> None:
    good = torch.zeros(2, 3, 2)
    missing, partly = torch.full((2, 3, 2), torch.nan), good.clone()
    partly[0] = torch.nan
    for name, joints, message in (
        ("missing", missing, "has a row of 2 frames without a single number; leave that clip out"),
        ("other", torch.zeros(2, 5, 2), "holds (2, 5, 2) numbers in a row, but the model takes (T, 3, 2)"),
        ("longer", torch.zeros(3, 3, 2), "differ in length: 'video' 2, 'condition' 2, 'joints' 3 frames"),
    ):
        keypoints(tmp_path / name, good.tolist(), joints.tolist())
        assert message in refused(tmp_path / name, capsys, "everybody_dance_now")
    keypoints(tmp_path / "partly", good.tolist(), partly.tolist())
    assert train(tmp_path / "partly", "everybody_dance_now", "--dry-run") == 0


def test_numbers_that_are_no_table_are_named(tmp_path: Path) -> None:
    keypoints(tmp_path / "ragged", [[[0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])
    shapes = {"video": (2, 3, 16, 16), "joints": (2, 1, 2)}
    with pytest.raises(DataError, match="column 'joints' of .* holds no table of numbers in a row"):
        data.load(str(tmp_path / "ragged"), "train", shapes)


def test_a_flow_of_the_data_is_read_and_checked(tmp_path: Path, capsys: Capture) -> None:
    good = torch.randn(FRAMES, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    broken = good.clone()
    broken[2, 0, 3, 3] = torch.nan
    for name, flow, message in (
        ("broken", broken, "column 'flow' of .* has a number that is not finite in a row"),
        ("small", good[..., :8], r"holds \(4, 2, 16, 8\) numbers in a row, but the model takes \(T, 2, 16, 16\)"),
    ):
        with_flow(tmp_path / name, good, flow)
        assert re.search(message, refused(tmp_path / name, capsys, "vid2vid"))
    with_flow(tmp_path / "good", good, good)
    model = zoo.build("vid2vid", preset="tiny")
    how = {"optional": model.optional_shapes}
    batch = data.load(str(tmp_path / "good"), "train", model.batch_shapes, **how).batch([0])
    assert torch.equal(batch["flow"][0], good)
    assert train(tmp_path / "good", "vid2vid") == 0
    capsys.readouterr()
    assert train(tmp_path / "good", "vid2vid", "--dry-run", "--column=flow=video") == 2
    assert "takes numbers as 'flow', but column 'video' of" in capsys.readouterr().err


def with_flow(place: Path, *flows: torch.Tensor) -> None:
    """A table of clips of black frames with flows, three times each."""
    place.mkdir()
    black = io.BytesIO()
    Image.new("RGB", (16, 16)).save(black, "png")
    clip = [{"path": None, "bytes": black.getvalue()}] * FRAMES
    rows: dict[str, list[Any]] = {name: [clip] * 3 * len(flows) for name in ("video", "condition")}
    rows["flow"] = [flow.tolist() for flow in flows for _ in range(3)]
    write(place, rows)
