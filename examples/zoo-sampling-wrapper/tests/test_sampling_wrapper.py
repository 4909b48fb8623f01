"""Every batch is timed, and no picture is touched."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
import zoo

from zoo_sampling_wrapper import plugin


@pytest.fixture
def model(monkeypatch):
    monkeypatch.delenv("ZOO_SAMPLING_TIMES", raising=False)
    torch.manual_seed(0)
    return zoo.build("pixelcnn", preset="tiny")


@pytest.fixture
def times(tmp_path, monkeypatch, model):
    """From here on times are taken; a function that reads them."""
    path = tmp_path / "times.jsonl"
    monkeypatch.setenv("ZOO_SAMPLING_TIMES", str(path))
    return lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_a_line_for_each_batch(model, times):
    model.sample(5, seed=3, start=10, batch_size=2)
    lines = times()
    assert [(line["start"], line["n"]) for line in lines] == [(10, 2), (12, 2), (14, 1)]
    assert {(line["model"], line["device"], line["seed"]) for line in lines} == {("pixelcnn", "cpu", 3)}
    assert all(line["seconds"] > 0 for line in lines)


@pytest.mark.parametrize("timed", [True, False])
def test_the_pictures_are_those_of_the_sampler_itself(timed, times, monkeypatch):
    """Not equal ones: the same object."""
    if not timed:
        monkeypatch.delenv("ZOO_SAMPLING_TIMES")
    request = SimpleNamespace(device=torch.device("cpu"), seed=0, indices=range(2), n=2)
    wrapper = plugin.zoo_sample(SimpleNamespace(name="any"), None, request)
    next(wrapper)
    images = object()
    with pytest.raises(StopIteration) as done:
        wrapper.send(images)
    assert done.value.value is images
    assert len(times()) == timed


def test_a_sampler_that_fails_is_not_timed(model, times, monkeypatch):
    monkeypatch.setattr(type(model), "cached", lambda self, batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.sample(2)
    assert times() == []


def test_a_file_that_can_not_be_written_costs_no_pictures(model, tmp_path, monkeypatch):
    plain = model.sample(2)
    monkeypatch.setenv("ZOO_SAMPLING_TIMES", str(tmp_path))
    with pytest.warns(UserWarning, match="can't write the time of a batch"):
        assert torch.equal(model.sample(2), plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_clock_waits_for_the_device():
    device = torch.device("cuda")
    torch.cuda._sleep(10**8)
    event = torch.cuda.Event()
    event.record()
    plugin.clock(device)
    assert event.query()
