"""The training loop of every model: device, precision, processes, accumulation, EMA, evaluation, samples, checkpoints.

The plugin owns the objective (`zoo_train` gives a `Trainer`); this file owns everything around it. Progress counts
examples, not steps. All randomness of a step follows from (seed, examples seen, process), and the order of the data
from (seed, epoch), so a run resumed from a checkpoint continues with the same numbers as one that was never stopped.

A run folder holds `run.json` (settings and the resolved config), `metrics.jsonl`, `samples/`, `checkpoints/`,
`tensorboard/`, and at the end the weights folder's files, so that `zoo.load(name, weights=<run folder>)` opens it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from zoo import building, hub, media, registry
from zoo.data.ahead import Ahead
from zoo.data.order import Shuffled, Stream
from zoo.data.tables import load, stream
from zoo.errors import OptionError, TrainingError
from zoo.precision import fast_precision, tf32
from zoo.seeds import derive_seed
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator
from zoo.train.checkpoints import Checkpoints
from zoo.train.evaluation import HeldOut, to_device
from zoo.train.events import Events
from zoo.train.planning import (
    begun_with,
    build,
    check_batch,
    check_captions,
    check_same,
    described,
    is_judged,
    name_classes,
    reading,
    rebuild,
    recipe,
)
from zoo.train.receipt import receipt
from zoo.train.run_folder import RunFolder
from zoo.train.signals import interrupts
from zoo.train.state import MovingAverage, channels_last, load_state, take_state
from zoo.trainer import RunView

Progress = Callable[[dict[str, Any]], None]
REASONS = ("finished", "max_minutes", "interrupted")


def train(settings: Settings, *, resume: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Train, and leave a run folder.

    Args:
        settings: of the run; with `resume` they may differ from the stored ones only in `Settings.FREE`.
        resume: go on from the newest checkpoint.
        progress: called after every update with "seen", "examples" and "images_per_second", and at log events
            "metrics".

    Returns:
        "reason" ("finished", "max_minutes" or "interrupted"), "seen", "minutes", "folder" and the last "metrics".

    Raises:
        TrainingError: nothing to resume, other data than at the beginning, a folder in use, a loss that is not finite,
            or a full disk.
    """
    settings.check()
    settings = settings.resuming() if resume else settings
    settings = replace(settings, precision=fast_precision(settings.precision, settings.device))
    if settings.examples > settings.schedule:
        planned = f"the run was planned for {settings.schedule} examples; learning rates stay as they are there"
        warnings.warn(planned, stacklevel=2)
    joined = torch.distributed.is_initialized()
    run = Run(settings, resume=resume, progress=progress)
    try:
        summary = run.go()
    finally:
        run.feed.close()
        run.files.release()
    if torch.distributed.is_initialized() and not joined:
        torch.distributed.destroy_process_group()
    return summary


class Run:
    """One training run; hooks `zoo_run_*` receive a `RunView` of it.

    Attributes:
        folder: the run folder; `files` writes into it.
        settings: as given.
        spec, model, recipe: what is trained, and how; `average` is what is evaluated, sampled and saved.
        seen: examples so far.
        is_main: whether this process writes.
    """

    def __init__(self, settings: Settings, *, resume: bool, progress: Progress | None) -> None:
        self.settings, self.folder, self.progress = settings, Path(settings.out), progress
        self.accelerator = make_accelerator(settings)
        self.is_main = self.accelerator.is_main_process
        world = self.accelerator.num_processes * settings.accumulate
        if settings.batch_size % world:
            raise OptionError(
                f"batch_size {settings.batch_size} can't be split into {self.accelerator.num_processes} processes "
                f"times {settings.accumulate} accumulated parts"
            )
        self.spec, self.model = rebuild(settings) if resume else build(settings, device="cpu")
        self.begun_with = begun_with(settings)
        channels_last(self.model, self.accelerator.device)
        feed, self.held_out = self._load_data()
        self.feed = Ahead(feed, step=settings.batch_size, pin=self.accelerator.device.type == "cuda")
        self.data = described(feed)
        device, half_life = self.accelerator.device, settings.ema_images
        self._moving = MovingAverage(self.model, device, half_life=half_life, batch_size=settings.batch_size)
        self.average = self._moving.model
        self.recipe = recipe(settings)
        self.trainer = building.make_trainer(self.spec, self.model, settings, self.accelerator, self.recipe)
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        self.seen, self.minutes = 0, 0.0
        self.window: dict[str, torch.Tensor] = {}
        self.window_counts: dict[str, int] = {}  # of what is in the window, which some updates may not have
        self._timed = (self.seen, time.monotonic())  # examples and clock at the last log event
        self.events = Events(settings, self.accelerator)
        self.last: dict[str, Any] = {}
        # Examples at the last checkpoint. Every process decides by it: the disk may show another one more, or less.
        self._kept: int | None = None
        self.files = RunFolder(self.folder)
        self._begin(resume)

    def _load_data(self) -> tuple[Stream | Shuffled, HeldOut | None]:
        settings, shapes, how = self.settings, self.model.batch_shapes, reading(self.settings, self.model)
        judged = is_judged(settings, self.spec, self.model)
        feed: Stream | Shuffled
        validation = None
        if settings.stream:
            feed, validation = stream(settings.data, shapes, classes=self.model.label_classes, **how)
            check_batch(self.model, feed)
            name_classes(self.model, validation)
        else:
            train = load(settings.data, "train", shapes, **how)
            check_batch(self.model, train)
            name_classes(self.model, train)
            feed = Shuffled(train, settings.seed)
            validation = load(settings.data, "validation", shapes, **how) if judged else None
        if validation is None or not judged:
            return feed, None
        check_captions(self.model, validation)
        return feed, HeldOut(validation, settings, self.model, self.accelerator.device)

    def view(self) -> RunView:
        """What listeners get."""
        return RunView(self.folder, self.settings, self.spec, self.model, self.average, self.seen, self.is_main)

    # Folder, checkpoints and metrics

    def _begin(self, resume: bool) -> None:
        self.settings.check_folder(resume=resume)
        self.accelerator.wait_for_everyone()
        try:
            if self.is_main:
                self.files.take()
            if resume:
                self._restore()
            if self.is_main:
                noted = {"recipe": self.recipe, "data": self.data, "begun_with": self.begun_with}
                run = {"settings": asdict(self.settings), "config": dict(self.model.config), **noted}
                self.files.begin(run, self.seen)
        except BaseException:
            self.files.release()
            raise

    def _state(self) -> dict[str, Any]:
        return {
            "seen": self.seen,
            "minutes": self.minutes,
            **take_state(self.trainer, self.accelerator),
            "average": self.average.state_dict(),
            "feed": self.feed.state_dict(),
            "window": {name: value.cpu() for name, value in self.window.items()},
            "window_counts": self.window_counts,
        }

    def _restore(self) -> None:
        state = self.checkpoints.newest()
        if state is None:  # killed before the first checkpoint: begin again
            return
        check_same(self.folder, self.data)
        try:
            load_state(self.trainer, self.accelerator, state)
            self.average.load_state_dict(state["average"])
            self.feed.load_state_dict(state["feed"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(f"the checkpoint in '{self.folder}' is of another model: {error}"[:300]) from None
        self.seen = self._kept = state["seen"]
        self.minutes = state["minutes"]
        self.window = {name: value.to(self.accelerator.device) for name, value in state["window"].items()}
        # Older checkpoints have one count of updates for all of them.
        self.window_counts = state.get("window_counts") or dict.fromkeys(self.window, state.get("window_steps", 0))

    def checkpoint(self) -> None:
        """Write a checkpoint, whole or not at all; the main process only. TrainingError if the run has diverged."""
        if self.is_main:
            for name, parameter in self.model.named_parameters():
                if not parameter.isfinite().all():
                    self._diverged(name, "not finite")
            path = self.checkpoints.write(self._state(), self.seen)
            registry.notify("zoo_run_checkpointed", run=self.view(), path=path)
        self._kept = self.seen
        self.accelerator.wait_for_everyone()

    def log(self, values: dict[str, Any]) -> None:
        """Add a line to the metrics; the main process only."""
        self.last.update(values)
        if not self.is_main:
            return
        line = {"seen": self.seen, "minutes": round(self.minutes, 4), **values}
        self.files.log(line, values)
        registry.notify("zoo_run_logged", run=self.view(), metrics=line)

    # The loop

    def go(self) -> dict[str, Any]:
        """Train to the end, to the time limit, or to an interrupt."""
        settings = self.settings
        if self.is_main:
            registry.notify("zoo_run_started", run=self.view())
        first, begun, before = self.seen, time.monotonic(), self.minutes
        self._timed = (self.seen, begun)
        reason = "finished"
        with tf32(settings.precision == "tf32"), interrupts(tell=self.is_main) as interrupted:
            while self.seen < settings.examples:
                self._step()
                self.minutes = before + (time.monotonic() - begun) / 60
                over = settings.max_minutes is not None and self.minutes - before >= settings.max_minutes
                self._after_update()
                wanted = "interrupted" if interrupted() else "max_minutes" if over else "finished"
                reason = REASONS[self.events.agree(self.seen, REASONS.index(wanted))]
                if reason != "finished":
                    break
            self._settle()
            if reason != "finished" or self._kept != self.seen:
                self.checkpoint()
            return self._finish(reason, log=reason == "finished" and self.seen > first)

    def _step(self) -> None:
        settings, rank = self.settings, self.accelerator.process_index
        share = settings.batch_size // self.accelerator.num_processes
        first = self.seen + rank * share
        batch = self.feed.take(first, share)
        torch.manual_seed(derive_seed(settings.seed, "step", self.seen, rank))
        size = share // settings.accumulate
        for part in range(settings.accumulate):
            chunk = {name: values[part * size : (part + 1) * size] for name, values in batch.items()}
            chunk = to_device(chunk, self.accelerator.device)
            with self.accelerator.accumulate(*self.trainer.modules().values()):
                for name, value in self.trainer.step(chunk, self.seen).items():
                    self.window[name] = self.window.get(name, 0) + value.detach().float()
                    self.window_counts[name] = self.window_counts.get(name, 0) + 1
        self.seen += settings.batch_size
        self._moving.update(self.seen)

    def _settle(self) -> None:
        """Give the average the buffers that belong to its weights, the same in every process."""
        if hasattr(self.trainer, "settle"):
            torch.manual_seed(derive_seed(self.settings.seed, "settle", 0))
            self.trainer.settle(self.average)

    def _after_update(self) -> None:
        due = self.events.due(self.seen)
        if due & {"eval", "sample", "checkpoint"}:
            self._settle()
        report: dict[str, Any] = {"seen": self.seen, "examples": self.settings.examples}
        report["images_per_second"] = self._rate()
        if "log" in due:
            report["metrics"] = self._log_window()
        if self.held_out is not None and "eval" in due:
            report["metrics"] = {**report.get("metrics", {}), **self._evaluate(log=True)}
        if "sample" in due and self.is_main and self.model.levels <= 256:
            self._draw_samples()
        if "checkpoint" in due:
            self.checkpoint()
        if self.progress:
            self.progress(report)

    def _rate(self) -> float:
        """Images per second since the last log event."""
        return (self.seen - self._timed[0]) / (time.monotonic() - self._timed[1])

    def _log_window(self) -> dict[str, Any]:
        means = {name: value / self.window_counts[name] for name, value in self.window.items()}
        values = {f"train/{name}": float(self.accelerator.reduce(mean, "mean")) for name, mean in means.items()}
        self.window, self.window_counts = {}, {}
        for name, value in values.items():
            if not math.isfinite(value):
                self._diverged(name, str(value))
        values = {name: round(value, 6) for name, value in values.items()}
        values["images_per_second"] = round(self._rate(), 1)
        self.log(values)
        self._timed = (self.seen, time.monotonic())
        return values

    def _diverged(self, name: str, value: str) -> NoReturn:
        at = self.checkpoints.last
        last = f"the last good checkpoint is at {at}" if at else "there is no good checkpoint"
        raise TrainingError(
            f"{name} is {value} after {self.seen} examples (update {self.seen // self.settings.batch_size}); "
            f"{last}. Try a lower --learning-rate, or --precision fp32"
        )

    def _evaluate(self, *, log: bool) -> dict[str, Any]:
        """Figures of held-out examples, once after the same update."""
        assert self.held_out is not None
        values = self.held_out.measure(self.average, self.trainer, self.seen)
        if log:
            self.log(values)
        else:
            self.last.update(values)
        return values

    def _draw_samples(self) -> None:
        if self.held_out is not None and self.average.has_encoder:
            self.files.show(self.held_out.reconstructions(self.average), self.seen, name="reconstructions", columns=8)
        try:
            drawn = self.average.sample(16, seed=self.settings.seed, **self.average.examples(16))
        except OptionError:  # a model that samples only from inputs
            return
        self.files.show(media.to_bytes(drawn, self.model.levels), self.seen, fps=self.average.fps)

    def _finish(self, reason: str, *, log: bool) -> dict[str, Any]:
        """The last figures, which a run that ends between two events logs too; the weights; the summary."""
        if log and self.settings.log_every and self.window:
            self._log_window()
        if self.held_out is not None and self.held_out.seen != self.seen:
            self._evaluate(log=log)
        receipts = self.held_out.receipts(self.average) if self.held_out is not None else []
        summary = {"reason": reason, "seen": self.seen, "minutes": round(self.minutes, 2), "folder": str(self.folder)}
        summary["metrics"] = dict(self.last)
        if self.is_main:
            hub.save(
                self.average,
                self.folder,
                data=self.settings.data,
                training=receipt(
                    self.view(), self.accelerator, self.minutes, self.recipe, self.data["licence"], self.begun_with
                ),
                metrics=receipts,
            )
            self.files.close()
            registry.notify("zoo_run_finished", run=self.view(), summary=summary)
        self.accelerator.wait_for_everyone()
        return summary
