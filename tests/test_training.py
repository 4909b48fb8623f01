"""The training loop: resume equals uninterrupted, kills at any instant, two processes, and what bad input gets."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from conftest import ROOT, write_pictures
from filelock import FileLock
from safetensors.torch import load_file

import zoo
from zoo import metrics
from zoo.errors import DataError, OptionError, TrainingError
from zoo.files import write_atomically
from zoo.nn.likelihood import LikelihoodTrainer
from zoo.settings import Settings
from zoo.train import events, loop, planning
from zoo.train.accelerator import make_accelerator
from zoo.train.checkpoints import Checkpoints
from zoo.train.evaluation import HeldOut
from zoo.train.state import MovingAverage

SMALL: dict[str, Any] = {
    "model": "pixelcnn",
    "preset": "tiny",
    "examples": 96,
    "batch_size": 8,
    "log_every": 24,
    "eval_every": 48,
    "sample_every": 48,
    "checkpoint_every": 16,
    "recipe": {"learning_rate": 0.02},
    "ema_images": 100,
    "device": "cpu",
}


def settings(pictures: Path, out: Path, **changes: Any) -> Settings:
    return Settings(**{**SMALL, "data": str(pictures), "out": str(out), **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Bit for bit the same average, and the same metrics but for the clock."""
    for name, value in weights(ours).items():
        assert torch.equal(value, weights(theirs)[name]), name
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (ours, theirs)]
    clock = ("minutes", "images_per_second")
    numbers = [[{k: v for k, v in json.loads(line).items() if k not in clock} for line in text] for text in lines]
    assert numbers[0] == numbers[1]


def start(config: Settings, *flags: str) -> subprocess.Popen[str]:
    """The run in a process of its own."""
    code = (
        "import json, sys; from zoo.train import loop as training;"
        "config = training.Settings(**json.loads(sys.argv[1]));"
        "print(json.dumps(training.train(config, resume='--resume' in sys.argv)))"
    )
    arguments = json.dumps({**config.__dict__})
    return subprocess.Popen(
        [sys.executable, "-c", code, arguments, *flags],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    base = tmp_path_factory.mktemp("finished")
    torch.set_num_threads(1)
    loop.train(settings(write_pictures(base / "pictures", 40), base / "run"))
    return base


def test_a_run_folder_holds_what_it_promises(finished: Path) -> None:
    run = finished / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["seen"] for line in lines if "train/bits_per_dim" in line] == [24, 48, 72, 96]
    assert [line["seen"] for line in lines if "validation/bits_per_dim" in line] == [48, 96]
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["000000048.png", "000000096.png"]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000000080.pt", "000000000096.pt"]
    assert list((run / "tensorboard").iterdir())
    assert json.loads((run / "run.json").read_text())["settings"]["examples"] == 96
    config = json.loads((run / "config.json").read_text())
    assert config["training"]["examples"] == 96
    assert {receipt["name"] for receipt in config["metrics"]} == {"nats", "bits_per_dim"}


def test_a_finished_run_is_a_weights_folder(finished: Path) -> None:
    model = zoo.load("pixelcnn", weights=str(finished / "run"), device="cpu")
    assert model.sample(2).shape == (2, 1, 8, 8)
    assert not model.training


def test_training_learns(finished: Path) -> None:
    """The pictures have a bright stripe on dark noise: far from the 2 bits of a uniform guess over 4 levels."""
    lines = [json.loads(line) for line in (finished / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/bits_per_dim"] for line in lines if "train/bits_per_dim" in line]
    assert losses[-1] < 1.5 < losses[0]


def test_stopped_and_resumed_equals_uninterrupted(finished: Path, tmp_path: Path) -> None:
    """Stopped at 40 of 96 examples, between a checkpoint and a log event, with steps after the checkpoint lost."""
    config = settings(finished / "pictures", tmp_path / "run")

    def stop(report: dict[str, Any]) -> None:
        if report["seen"] == 40:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        loop.train(config, progress=stop)
    assert Checkpoints(tmp_path / "run" / "checkpoints").last == 32
    summary = loop.train(config, resume=True)
    assert summary["reason"] == "finished"
    assert_same_run(finished / "run", tmp_path / "run")


def test_a_run_with_soap_resumes_exactly(finished: Path, tmp_path: Path) -> None:
    whole, run = (
        settings(finished / "pictures", tmp_path / name, recipe={"learning_rate": 0.02, "optimizer": "soap"})
        for name in ("whole", "run")
    )
    summary = loop.train(whole)
    assert summary["metrics"]["train/bits_per_dim"] < 1.5
    loop.train(dataclasses.replace(run, max_minutes=1e-9))
    assert loop.train(run, resume=True)["seen"] == 96
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_streamed_run_resumes_exactly(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.data.tables.STREAM_HOLDOUT", 5)
    monkeypatch.setattr("zoo.data.Stream.BLOCK", 20)
    ours, theirs = (settings(finished / "pictures", tmp_path / name, stream=True) for name in ("ours", "theirs"))
    loop.train(ours)

    def stop(report: dict[str, Any]) -> None:
        if report["seen"] == 56:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        loop.train(theirs, progress=stop)
    loop.train(theirs, resume=True)
    assert_same_run(tmp_path / "ours", tmp_path / "theirs")


@pytest.mark.slow
def test_killed_at_random_instants_and_resumed_equals_uninterrupted(finished: Path, tmp_path: Path) -> None:
    """SIGKILL three times, resume each time: the same final weights and metrics."""
    config = settings(finished / "pictures", tmp_path / "run")
    instants = random.Random(0)
    for attempt in range(3):
        process = start(config, *(["--resume"] if attempt else []))
        run, begun = tmp_path / "run", time.monotonic()
        while not (run / "run.json").exists() and process.poll() is None and time.monotonic() - begun < 60:
            time.sleep(0.02)
        time.sleep(instants.uniform(0.05, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(config, "--resume")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["reason"] == "finished"
    assert_same_run(finished / "run", tmp_path / "run")


def test_a_kill_during_a_checkpoint_write_leaves_a_run_that_resumes(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after half of the bytes: the part is not taken for a checkpoint, the one before is."""
    config = settings(finished / "pictures", tmp_path / "run")
    honest = write_atomically

    def die(path: Path, content: bytes) -> None:
        if path.name == "000000000048.pt":
            path.with_name(f".{path.name}.1.part").write_bytes(content[: len(content) // 2])
            raise SystemExit("killed")
        honest(path, content)

    monkeypatch.setattr("zoo.train.checkpoints.write_atomically", die)
    with pytest.raises(SystemExit):
        loop.train(config)
    monkeypatch.undo()
    loop.train(config, resume=True)
    assert_same_run(finished / "run", tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(finished: Path, tmp_path: Path) -> None:
    loop.train(settings(finished / "pictures", tmp_path / "run", examples=48, planned=96))
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    loop.train(settings(finished / "pictures", tmp_path / "run"), resume=True)
    assert_same_run(finished / "run", tmp_path / "run")


@pytest.mark.slow
def test_two_processes_train_as_one(finished: Path, tmp_path: Path) -> None:
    """Two gloo processes with half a batch each see the same examples and end with the same weights, to rounding."""
    script = tmp_path / "go.py"
    config = settings(finished / "pictures", tmp_path / "run")
    script.write_text(
        "import json, sys; from zoo.train import loop as training\n"
        f"print(training.train(training.Settings(**json.loads({json.dumps(json.dumps(config.__dict__))}))))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, value in weights(finished / "run").items():
        torch.testing.assert_close(value, weights(tmp_path / "run")[name], rtol=1e-3, atol=1e-4)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["processes"] == 2


def test_a_launcher_that_starts_one_process_of_several_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of `accelerate launch --cpu --num_processes 2`."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(OptionError, match="accelerate launch starts one process on CPUs.*torchrun"):
        loop.train(settings(finished / "pictures", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_accumulated_parts_train_as_a_whole_batch(finished: Path, tmp_path: Path) -> None:
    loop.train(settings(finished / "pictures", tmp_path / "run", accumulate=4))
    for name, value in weights(finished / "run").items():
        torch.testing.assert_close(value, weights(tmp_path / "run")[name], rtol=1e-3, atol=1e-4)


def test_bf16_trains(finished: Path, tmp_path: Path) -> None:
    summary = loop.train(settings(finished / "pictures", tmp_path / "run", precision="bf16"))
    assert summary["metrics"]["train/bits_per_dim"] < 1.6
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "run").values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_checkpoint_and_a_loadable_model(
    finished: Path, tmp_path: Path, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    config = settings(finished / "pictures", tmp_path / "run", checkpoint_every=0)

    def interrupt(report: dict[str, Any]) -> None:
        if report["seen"] == 40:
            signal.raise_signal(number)

    summary = loop.train(config, progress=interrupt)
    assert (summary["reason"], summary["seen"]) == ("interrupted", 40)
    assert "stopping with a checkpoint after this update; again to stop now" in capfd.readouterr().err
    assert Checkpoints(tmp_path / "run" / "checkpoints").last == 40
    zoo.load("pixelcnn", weights=str(tmp_path / "run"), device="cpu")
    loop.train(config, resume=True)
    assert_same_run(finished / "run", tmp_path / "run")


def test_the_time_limit_ends_a_run_with_a_checkpoint(finished: Path, tmp_path: Path) -> None:
    config = settings(finished / "pictures", tmp_path / "run", max_minutes=1e-6)
    summary = loop.train(config)
    assert (summary["reason"], summary["seen"]) == ("max_minutes", 8)
    assert Checkpoints(tmp_path / "run" / "checkpoints").last == 8


def test_the_plan_builds_nothing_and_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    plan = planning.plan(settings(pictures, tmp_path / "run", overrides={"width": 16}))
    assert plan["config"]["width"] == 16
    assert plan["parameters"] == sum(p.numel() for p in zoo.build("pixelcnn", "tiny", width=16).parameters())
    assert plan["data"]["train"] == 38
    assert not (tmp_path / "run").exists()
    for number in range(4):  # whichever of them is held out: a run would read it too
        broken = write_pictures(tmp_path / str(number), 4)
        (broken / f"000{number}.png").write_bytes(b"nothing")
        with pytest.raises(DataError, match=f"000{number}.png"):
            planning.plan(settings(broken, tmp_path / "run"))
    huge = planning.plan(settings(pictures, tmp_path / "run", overrides={"width": 10**7}))
    assert huge["parameters"] > 10**14
    with pytest.raises(OptionError, match="pixelcnn of these settings does not fit into the memory"):
        loop.train(settings(pictures, tmp_path / "run", overrides={"width": 10**7}))
    assert not (tmp_path / "run").exists()


def test_run_hooks_are_told(finished: Path, tmp_path: Path) -> None:
    """A plugin that only listens hears of every event, in order."""
    from zoo import registry
    from zoo.plugins import PluginRecord

    heard: list[str] = []

    class Listener:
        @zoo.hookimpl
        def zoo_run_started(self, run: loop.Run) -> None:
            heard.append(f"started {run.seen}")

        @zoo.hookimpl
        def zoo_run_checkpointed(self, run: loop.Run, path: Path) -> None:
            heard.append(path.name)

        @zoo.hookimpl
        def zoo_run_finished(self, summary: dict[str, Any]) -> None:
            heard.append(summary["reason"])

    found = registry.plugins()
    record = PluginRecord("listener", "tests", "tests", "0")
    found.records.append(record)
    found.add(record, Listener())
    try:
        loop.train(settings(finished / "pictures", tmp_path / "run", examples=16, eval_every=0, sample_every=0))
    finally:
        registry.reload()
    assert heard == ["started 0", "000000000016.pt", "finished"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "pixelcn"}, zoo.ZooError, "did you mean 'pixelcnn'"),
        ({"preset": "tinny"}, zoo.ZooError, "did you mean 'tiny'"),
        ({"overrides": {"widht": 3}}, zoo.ZooError, "did you mean 'width'"),
        ({"overrides": {"width": "wide"}}, OptionError, "must be int, not 'wide'"),
        ({"data": "mnits"}, zoo.ZooError, "did you mean 'mnist'"),
        ({"batch_size": 0}, OptionError, "batch_size must be at least 1"),
        ({"batch_size": 7, "accumulate": 2}, OptionError, "can't be split"),
        ({"recipe": {"learning_rate": -1.0}}, OptionError, "must be positive"),
        ({"precision": "fp8"}, OptionError, "takes one of fp32, tf32, bf16, fp16"),
        ({"device": "tpu"}, OptionError, "takes one of auto, cpu, cuda"),
        ({"max_minutes": 0.0}, OptionError, "must be positive"),
        ({"overrides": {"image_shape": (1, 9, 8)}}, DataError, "holds a picture of 8x8, mode L; the model needs 8x9"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(
    pictures: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        loop.train(settings(pictures, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_not_overwritten(finished: Path) -> None:
    with pytest.raises(TrainingError, match="not empty; resume it with --resume"):
        loop.train(settings(finished / "pictures", finished / "run"))


def test_two_processes_do_not_train_in_one_folder(finished: Path) -> None:
    with FileLock(finished / "run" / ".lock"), pytest.raises(TrainingError, match="another process trains in"):
        loop.train(settings(finished / "pictures", finished / "run"), resume=True)
    loop.train(settings(finished / "pictures", finished / "run"), resume=True)


def test_a_lock_left_behind_does_not_occupy_a_folder(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    assert loop.train(settings(pictures, tmp_path / "run"))["reason"] == "finished"


def test_events_come_by_examples_or_by_the_clock(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update takes half a minute of this clock: every third update brings an event of "1.5 min"."""
    config = settings(finished / "pictures", tmp_path / "run", examples=72, eval_every="1.5 min", log_every=0)
    accelerator = make_accelerator(config)
    monkeypatch.setattr(events.time, "monotonic", lambda: 0.0)
    found = events.Events(config, accelerator)
    came = []
    for update in range(1, 10):
        monkeypatch.setattr(events.time, "monotonic", lambda now=30.0 * update: now)
        came.append("".join(sorted(name[0] for name in found.due(8 * update))))
    assert came == ["", "c", "e", "c", "", "ces", "", "c", "e"]


@pytest.mark.parametrize("bad", ["10", "soon", "0min", "-1min", -1, 2.5])
def test_intervals_that_are_none_are_named(finished: Path, tmp_path: Path, bad: Any) -> None:
    with pytest.raises(OptionError, match="sample_every takes a number of examples, or minutes such as 10min"):
        loop.train(settings(finished / "pictures", tmp_path / "run", sample_every=bad))
    assert not (tmp_path / "run").exists()


def test_a_longer_resume_keeps_the_schedule(finished: Path, tmp_path: Path) -> None:
    """The learning rate has annealed; twice as many examples do not let it jump up again, twice resumed or not."""
    shutil.copytree(finished / "run", tmp_path / "run")
    rates = []
    step = LikelihoodTrainer.step

    def watched(self: Any, batch: Any, seen: int) -> Any:
        values = step(self, batch, seen)
        rates.append(self.optimizer.param_groups[0]["lr"] / self.base_rate)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LikelihoodTrainer, "step", watched)
        for examples in (120, 144):
            longer = settings(finished / "pictures", tmp_path / "run", examples=examples)
            with pytest.warns(UserWarning, match="planned for 96 examples"):
                assert loop.train(longer, resume=True)["seen"] == examples
    assert rates == pytest.approx([0.02] * 6)
    assert Settings.read(tmp_path / "run").schedule == 96


@pytest.mark.parametrize("change", ["more", "other"])
def test_changed_data_are_noticed(tmp_path: Path, change: str) -> None:
    data = write_pictures(tmp_path / "pictures", 20)
    loop.train(settings(data, tmp_path / "run", examples=16))
    if change == "more":
        write_pictures(data, 21)
    else:
        shutil.copy(data / "0003.png", data / "0004.png")
    found = {"more": "19 examples, now 20", "other": "other examples or labels"}[change]
    with pytest.raises(TrainingError, match=f"the data of the run in .* have changed: {found}"):
        loop.train(settings(data, tmp_path / "run"), resume=True)


def test_data_of_a_relative_path_are_found_from_elsewhere(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "pictures", tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    loop.train(settings(Path("pictures"), tmp_path / "run", examples=48))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = Settings.read("../run")
    assert Path(found.data).samefile(tmp_path / "pictures")
    loop.train(dataclasses.replace(found, examples=96), resume=True)
    loop.train(dataclasses.replace(found, examples=96, data=str(tmp_path / "pictures")), resume=True)


def test_a_run_from_weights_that_are_gone_goes_on(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "first")
    config = settings(finished / "pictures", tmp_path / "run", examples=48, init=str(tmp_path / "first"))
    loop.train(config)
    shutil.rmtree(tmp_path / "first")
    assert loop.train(dataclasses.replace(config, examples=64), resume=True)["seen"] == 64
    training = json.loads((tmp_path / "run" / "config.json").read_text())["training"]
    first = json.loads((finished / "run" / "config.json").read_text())
    assert training["begun_with"]["sha256"] == first["weights"]["sha256"]


@pytest.mark.parametrize(
    ("can", "chosen"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")]
)
def test_precision_auto_is_what_the_processor_does_well(
    finished: Path, tmp_path: Path, can: dict[str, bool], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    config = settings(finished / "pictures", tmp_path / "run", examples=8, precision="auto")
    assert planning.plan(config)["settings"]["precision"] == chosen
    loop.train(config)
    assert Settings.read(tmp_path / "run").precision == chosen
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # another machine goes on in the precision it began with
    loop.train(dataclasses.replace(config, examples=16), resume=True)
    assert Settings.read(tmp_path / "run").precision == chosen


def test_a_figure_that_begins_late_is_the_mean_of_the_updates_that_have_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a discriminator that sees the first long clips, or of the next stage."""
    honest = LikelihoodTrainer.step

    def step(self: Any, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        late = {"late": torch.tensor(float(seen))} if seen >= 24 else {}
        return {**honest(self, batch, seen), **late, "seen": torch.tensor(float(seen))}

    monkeypatch.setattr(LikelihoodTrainer, "step", step)
    config = settings(pictures, tmp_path / "run", examples=48, log_every=48, eval_every=0, accumulate=2)
    metrics = loop.train(config)["metrics"]
    assert (metrics["train/seen"], metrics["train/late"]) == (20, 32)  # of 0, 8, ..., 40, and of 24, 32, 40


def test_what_a_trainer_measures_is_of_the_average(finished: Path) -> None:
    """Which is what is kept; the weights that are trained stay as they were."""
    config = settings(finished / "pictures", finished / "-")
    model = zoo.build("vqvae2", preset="tiny", image_shape=(1, 8, 8))
    average = MovingAverage(model, torch.device("cpu"), half_life=100, batch_size=8).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for value in average.state_dict().values():
        if value.is_floating_point():
            value.add_(1)
    after = {name: value.clone() for name, value in average.state_dict().items()}
    seen: list[dict[str, torch.Tensor]] = []

    class Trainer:
        def evaluate(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
            assert not model.training
            seen.append({name: value.clone() for name, value in model.state_dict().items()})
            return {"mean": batch["image"].float().mean()}

    examples = zoo.data.load(config.data, "train", (1, 8, 8))
    HeldOut(examples, config, model.train(), torch.device("cpu")).measure(average, Trainer(), 0)  # type: ignore[arg-type]
    for state, wanted in ((seen[-1], after), (model.state_dict(), before), (average.state_dict(), after)):
        assert all(torch.equal(value, wanted[name]) for name, value in state.items())


def test_resume_refuses_another_model(finished: Path) -> None:
    with pytest.raises(TrainingError, match="has seed 0, not 1; start a new one"):
        loop.train(settings(finished / "pictures", finished / "run", seed=1), resume=True)
    with pytest.raises(TrainingError, match=r"has overrides {}, not {'image_shape': \[1, 8, 8\]}; start a new one"):
        loop.train(settings(finished / "pictures", finished / "run", overrides={"image_shape": (1, 8, 8)}), resume=True)


def test_a_constructor_argument_that_is_a_tuple_is_the_same_when_resumed(pictures: Path, tmp_path: Path) -> None:
    config = settings(pictures, tmp_path / "run", overrides={"image_shape": (1, 8, 8)}, examples=8)
    loop.train(config)
    assert loop.train(config, resume=True)["seen"] == 8


def test_a_run_that_failed_before_its_first_checkpoint_does_not_occupy_the_folder(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its mend asks for, another learning rate, would else be refused with --resume and without."""
    config = settings(finished / "pictures", tmp_path / "run", checkpoint_every=0, recipe={"learning_rate": 1e9})
    with pytest.raises(TrainingError, match="there is no good checkpoint. Try a lower --learning-rate"):
        loop.train(config)
    shown = tmp_path / "run" / "samples" / "000000095.png"
    shown.touch()
    (tmp_path / "run" / "metrics.jsonl").touch()
    loop.train(settings(finished / "pictures", tmp_path / "run"))
    assert_same_run(finished / "run", tmp_path / "run")
    assert not shown.exists()
    with pytest.raises(TrainingError, match="not empty; resume it"):
        loop.train(config)


def test_a_run_that_ends_between_two_events_logs_its_last_figures_once(pictures: Path, tmp_path: Path) -> None:
    config = settings(pictures, tmp_path / "run", examples=16)
    summary = loop.train(config)
    for _ in range(2):
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        assert [line["seen"] for line in lines] == [16, 16]
        assert summary["metrics"] == {k: v for line in lines for k, v in line.items() if k not in ("seen", "minutes")}
        loop.train(config, resume=True)


def test_a_run_that_is_to_log_nothing_logs_nothing(pictures: Path, tmp_path: Path) -> None:
    loop.train(settings(pictures, tmp_path / "run", examples=16, log_every=0, eval_every=0))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_an_evaluation_at_the_very_end_is_not_made_twice(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    honest = metrics.likelihood
    monkeypatch.setattr(metrics, "likelihood", lambda *a, **k: calls.append(1) or honest(*a, **k))
    loop.train(settings(pictures, tmp_path / "run", examples=48))
    assert len(calls) == 1


def test_more_levels_than_bytes_have_are_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="have 256 levels at most, not 300"):
        loop.train(settings(pictures, tmp_path / "run", overrides={"levels": 300}))


def test_resume_of_nothing_is_an_error(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no run in"):
        loop.train(settings(pictures, tmp_path / "run"), resume=True)


def test_a_loss_that_is_not_finite_stops_the_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.nn.likelihood import LikelihoodTrainer

    honest = LikelihoodTrainer.step

    def poisoned(self: Any, batch: dict[str, torch.Tensor], seen: int) -> dict[str, torch.Tensor]:
        return {"bits_per_dim": honest(self, batch, seen)["bits_per_dim"] * (float("nan") if seen > 30 else 1)}

    monkeypatch.setattr(LikelihoodTrainer, "step", poisoned)
    with pytest.raises(TrainingError, match="is nan after 48 examples .update 6.; the last good checkpoint is at 32"):
        loop.train(settings(pictures, tmp_path / "run"))


def test_a_full_disk_is_one_clear_error(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.files.os.fsync", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        loop.train(settings(pictures, tmp_path / "run"))
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.gpu
def test_a_gpu_trains(finished: Path, tmp_path: Path) -> None:
    summary = loop.train(settings(finished / "pictures", tmp_path / "run", device="cuda", precision="bf16"))
    assert summary["metrics"]["train/bits_per_dim"] < 1.6


@pytest.mark.parametrize(("bad", "found"), [(None, "no label"), (-1, "label -1")])
def test_a_bad_label_is_named_before_a_model_of_classes_trains(bad: int | None, found: str, tmp_path: Path) -> None:
    rows = {"image": [str(path) for path in sorted(write_pictures(tmp_path / "png", 20).iterdir())]}
    labels = [bad] * 20  # so that none is held out alone
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict({**rows, "label": labels}, features=features).to_parquet(tmp_path / "rows.parquet")
    config = settings(tmp_path / "rows.parquet", tmp_path / "run", model="conditional_pixelcnn")
    for start in (planning.plan, loop.train):
        with pytest.raises(DataError, match=f"row 0 of .* has {found} in column 'label'"):
            start(config)
    assert not (tmp_path / "run").exists()


def test_one_certain_device_is_the_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda:1 is not cuda:0; where there is no GPU, a stand-in tells which device accelerate was given."""
    from zoo.train import accelerator

    asked: list[str | None] = []
    monkeypatch.setattr(accelerator, "pick_device", lambda name: torch.device(name))
    monkeypatch.setattr(accelerator, "Accelerator", lambda **how: asked.append(os.environ.get(accelerator.CHOSEN)))
    for device in ("cuda:1", "cuda", "cpu"):
        accelerator.make_accelerator(Settings(model="pixelcnn", data="-", out="-", device=device))
    assert asked == ["cuda:1", None, None]
    assert accelerator.CHOSEN not in os.environ
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="device 'cuda:1' is for one process"):
        accelerator.make_accelerator(Settings(model="pixelcnn", data="-", out="-", device="cuda:1"))


@pytest.mark.parametrize("model", ["conditional_pixelcnn", "mocogan", "vqvae2"])
def test_labels_beyond_the_classes_are_named_before_training(model: str, tmp_path: Path) -> None:
    from test_examples import frames

    for name in ("cat", "cow", "dog"):
        if model == "mocogan":
            frames(tmp_path / "pets" / name / "a", 9, mode="RGB")
            frames(tmp_path / "pets" / name / "b", 9, mode="RGB")
        else:
            write_pictures(tmp_path / "pets" / name, 5, (16, 16) if model == "vqvae2" else (8, 8))
    classes = {
        "conditional_pixelcnn": {"condition_size": 2, "condition": "label"},
        "mocogan": {"categories": 2, "labelled": True},
        "vqvae2": {"classes": 2},
    }[model]
    run = {"model": model, "preset": "tiny", "data": str(tmp_path / "pets"), "device": "cpu", "batch_size": 2}
    quiet = {"sample_every": 0, "eval_every": 0, "examples": 2, "log_every": 0}
    settings = Settings(**run, **quiet, out=str(tmp_path / "run"), overrides=classes)
    wanted = "has labels up to 2, but this .* knows the classes 0 to 1; set its number of classes to 3"
    for start in (planning.plan, loop.train):
        with pytest.raises(DataError, match=wanted):
            start(settings)
    fitting = {key: 3 if value == 2 else value for key, value in classes.items()}
    loop.train(dataclasses.replace(settings, overrides=fitting))
    trained = zoo.load(model, weights=tmp_path / "run")
    assert trained.class_names == ("cat", "cow", "dog")  # of the data
    assert torch.equal(trained.sample(1, label="dog"), trained.sample(1, label=2))
