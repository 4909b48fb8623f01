"""What a run tells trackio, read back from trackio's own store on this disk."""

from __future__ import annotations

import json
import os
import tempfile

import pytest
from PIL import Image
from zoo.cli import main

os.environ["TRACKIO_DIR"] = tempfile.mkdtemp()  # trackio reads it when it is imported

import trackio
from trackio.sqlite_storage import SQLiteStorage


@pytest.fixture
def train(tmp_path, monkeypatch):
    """`train(model, *flags)` trains a tiny model on 4 pictures or clips; its folder."""
    monkeypatch.delenv("ZOO_TRACKIO_PROJECT", raising=False)

    def train(model, *flags):
        data = tmp_path / model
        for i in range(4):
            name = f"{i}/{{:02}}.png" if model == "mocogan" else f"{i}.png"
            for t in range(8 if model == "mocogan" else 1):
                path = data / name.format(t)
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.new("RGB", (8, 8), (60 * i, 30 * t, 0))
                picture.convert("RGB" if model == "mocogan" else "L").save(path)
        text = f"train {model} --preset tiny --device cpu --batch-size 4 --examples 8 --log-every 4 --sample-every 4"
        base = [*text.split(), "--checkpoint-every", "0", "--eval-every", "0", "--data", str(data)]
        assert main([*base, "--out", str(tmp_path / f"{model}-run"), *flags]) == 0
        return tmp_path / f"{model}-run"

    return train


def logs(project, run):
    return SQLiteStorage.get_logs(project, run)


def test_metrics_and_samples_arrive_with_their_steps(train):
    folder = train("pixelcnn")
    rows = logs("zoo-pixelcnn", folder.name)
    ours = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    theirs = [row for row in rows if "train/bits_per_dim" in row]
    assert [(row["step"], row["train/bits_per_dim"]) for row in theirs] == [
        (line["seen"], line["train/bits_per_dim"]) for line in ours
    ]
    pictures = {row["step"]: row["samples"] for row in rows if "samples" in row}
    assert sorted(pictures) == [4, 8]
    assert all(picture["_type"] == "trackio.image" for picture in pictures.values())
    [run] = trackio.Api().runs("zoo-pixelcnn")
    assert (run.config["batch_size"], run.config["network"]["levels"]) == (4, 4)


def test_clips_move_and_a_resumed_run_goes_on_without_sending_twice(train):
    folder = train("mocogan")
    train("mocogan", "--resume", "--examples", "12")
    rows = logs("zoo-mocogan", folder.name)
    assert [row["step"] for row in rows if "clips" in row] == [4, 8, 12]
    assert {row["clips"]["_type"] for row in rows if "clips" in row} == {"trackio.video"}
    assert len(trackio.Api().runs("zoo-mocogan")) == 1


def test_projects_can_be_shared(train, monkeypatch):
    monkeypatch.setenv("ZOO_TRACKIO_PROJECT", "all")
    folders = [train("pixelcnn"), train("mocogan")]
    assert sorted(run.name for run in trackio.Api().runs("all")) == sorted(folder.name for folder in folders)
