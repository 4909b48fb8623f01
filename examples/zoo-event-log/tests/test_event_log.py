"""A run tells its whole story, and that of a run which can't be logged goes on."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from zoo.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(*flags)` trains a tiny PixelCNN on 4 pictures; its folder."""
    monkeypatch.delenv("ZOO_EVENT_LOG", raising=False)
    (tmp_path / "pictures").mkdir()
    for i in range(4):
        Image.new("L", (8, 8), 60 * i).save(tmp_path / "pictures" / f"{i}.png")
    text = "train pixelcnn --preset tiny --device cpu --batch-size 4 --examples 8 --log-every 4 --checkpoint-every 4"
    base = [*text.split(), "--eval-every", "0", "--data", str(tmp_path / "pictures"), "--out", str(tmp_path / "run")]

    def train(*flags):
        assert main([*base, *flags]) == 0
        return tmp_path / "run"

    return train


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_a_line_in_the_order_of_the_run(run):
    folder = run()
    events = read(folder / "events.jsonl")
    steps = ["logged", "checkpointed"] * 2
    assert [event["event"] for event in events] == ["started", *steps, "finished"]
    assert [event["seen"] for event in events] == [0, 4, 4, 8, 8, 8]
    assert {(event["model"], event["run"]) for event in events} == {("pixelcnn", str(folder))}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert [event["metrics"] for event in events if event["event"] == "logged"] == read(folder / "metrics.jsonl")
    assert events[-1]["summary"]["reason"] == "finished"


def test_a_resumed_run_goes_on_in_the_same_file_and_runs_may_share_one(run, tmp_path, monkeypatch):
    shared = tmp_path / "shared.jsonl"
    monkeypatch.setenv("ZOO_EVENT_LOG", str(shared))
    folder = run()
    run("--resume", "--examples", "12")
    begun = [(event["seen"], event["examples"]) for event in read(shared) if event["event"] == "started"]
    assert begun == [(0, 8), (8, 12)]
    assert not (folder / "events.jsonl").exists()


def test_a_log_that_can_not_be_written_is_a_warning(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_EVENT_LOG", str(tmp_path))
    with pytest.warns(UserWarning, match="plugin 'event_log' failed in zoo_run_started"):
        folder = run()
    assert (folder / "model.safetensors").is_file()
