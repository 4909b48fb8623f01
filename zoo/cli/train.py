"""The verb train."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo import registry
from zoo.cli import console
from zoo.cli.console import AsJson, OptionalModelName
from zoo.errors import OptionError
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    from zoo.settings import Settings


def _flag(flag: str, help: str, default: str, minimum: int | None = None) -> Any:
    """An option that is None when not given, so that the run's stored setting or the default of Settings holds."""
    return typer.Option(flag, help=f"{help} [default: {default}]", show_default=False, min=minimum)


Examples = Annotated[
    int | None, _flag("--examples", "How many pictures to see in all, in whole batches.", "1000000", 1)
]
BatchSize = Annotated[int | None, _flag("--batch-size", "Pictures of one update, over all processes.", "32", 1)]
LearningRate = Annotated[float | None, _flag("--learning-rate", "The same as --set learning_rate.", "the recipe's")]
Seed = Annotated[int | None, _flag("--seed", "Of weights, order and noise.", "0", 0)]
MaxMinutes = Annotated[float | None, _flag("--max-minutes", "Stop with a checkpoint after this time.", "no limit")]
Precision = Annotated[str | None, _flag("--precision", "fp32, tf32, bf16 or fp16.", "fp32")]
Accumulate = Annotated[int | None, _flag("--accumulate", "Parts that a batch is computed in.", "1", 1)]
EmaImages = Annotated[int | None, _flag("--ema-images", "Half-life of the average of weights; 0: none.", "10000", 0)]
EvalEvery = Annotated[int | None, _flag("--eval-every", "Examples between evaluations; 0: never.", "50000", 0)]
EvalCount = Annotated[int | None, _flag("--eval-count", "Held-out pictures of an evaluation.", "1000", 1)]
SampleEvery = Annotated[int | None, _flag("--sample-every", "Examples between sample grids; 0: never.", "50000", 0)]
CheckpointEvery = Annotated[int | None, _flag("--checkpoint-every", "Examples between checkpoints.", "10000", 0)]
LogEvery = Annotated[int | None, _flag("--log-every", "Examples between lines of metrics.", "2000", 0)]
Workers = Annotated[int | None, _flag("--workers", "Threads that read pictures.", "2", 1)]
Streaming = Annotated[
    bool | None,
    typer.Option("--stream", help="Read the data as a stream, for what does not fit on the disk. [default: no]"),
]
Resizing = Annotated[
    bool | None,
    typer.Option("--resize", help="Bring pictures of other sizes to the model's: the middle, filtered. [default: no]"),
]
TrainDevice = Annotated[str | None, _flag("--device", "auto, cpu, cuda, cuda:N or mps.", "auto")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="On top of the preset; see 'zoo info MODEL'.",
    ),
]


def train(
    model: OptionalModelName = None,
    data: Annotated[str | None, typer.Option("--data", help="A name, a Hub data set, or a local folder.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Default: the one named like the data.")] = None,
    overrides: Assignments = None,
    out: Annotated[str | None, typer.Option("--out", help="The run folder. [runs/MODEL-DATA]")] = None,
    init: Annotated[
        str | None, typer.Option("--from", metavar="TAG|FOLDER|OWNER/REPO@REV", help="Begin with these weights.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    examples: Examples = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    max_minutes: MaxMinutes = None,
    precision: Precision = None,
    accumulate: Accumulate = None,
    ema_images: EmaImages = None,
    eval_every: EvalEvery = None,
    eval_count: EvalCount = None,
    sample_every: SampleEvery = None,
    checkpoint_every: CheckpointEvery = None,
    log_every: LogEvery = None,
    stream: Streaming = None,
    resize: Resizing = None,
    workers: Workers = None,
    device: TrainDevice = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved run and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on your data.

    A run that was stopped goes on with: zoo train --resume --out FOLDER
    """
    given = {name: value for name, value in locals().items() if name not in _OWN and value is not None}
    settings = _settings(given, overrides, resume=resume, dry_run=dry_run)
    from zoo.cli import memory
    from zoo.train import loop

    memory.keep_freed()
    if dry_run:
        plan = loop.plan(settings)
        _speak(lambda: console.print_json(plan) if as_json else console.print_mapping(plan))
        return
    with _progress(settings.examples) as progress:
        summary = loop.train(settings, resume=resume, progress=progress)
    _speak(lambda: console.print_json(summary) if as_json else _print_summary(summary))
    if summary["reason"] == "interrupted":
        raise typer.Exit(130)


_OWN = ("overrides", "resume", "dry_run", "as_json")


def _speak(say: Callable[[], None]) -> None:
    if console.is_main_process():
        say()


def _settings(given: dict[str, Any], assignments: list[str] | None, *, resume: bool, dry_run: bool) -> Settings:
    """The settings of a new run, or the stored ones with what was given on top."""
    from zoo import building
    from zoo.settings import Settings

    chosen = building.parse(assignments or ())
    if "learning_rate" in given:
        chosen["learning_rate"] = given.pop("learning_rate")
        if not chosen["learning_rate"] > 0:
            raise OptionError(f"learning_rate must be positive, not {chosen['learning_rate']}")
    if resume:
        if "out" not in given:
            raise OptionError("zoo train --resume needs --out FOLDER")
        stored = Settings.read(given["out"])
        if chosen:
            spec = registry.model_spec(given.get("model", stored.model))
            given["overrides"], given["recipe"] = building.split(spec, chosen)
        settings = dataclasses.replace(stored, **given)
        settings.check_folder(resume=True)
        return settings
    if "model" not in given:
        raise OptionError("zoo train needs a MODEL" + ("" if "data" in given else " and --data NAME or FOLDER"))
    spec = registry.model_spec(given["model"])
    if "preset" not in given:
        given["preset"] = _preset(spec, given["data"]) if "data" in given else None
    given = {**spec.preset(given["preset"]).settings, **given}
    if "data" not in given:
        raise OptionError("zoo train needs --data NAME or FOLDER")
    given.setdefault("out", f"runs/{given['model']}-{_data_name(given['data'])}")
    if not dry_run and console.is_main_process():  # which may be at work in it before the others come here
        Settings(**given).check_folder(resume=False)
    given["overrides"], given["recipe"] = building.split(spec, chosen)
    return Settings(**given)


def _data_name(data: str) -> str:
    """What a run on this data is called: the last part of a path or Hub id."""
    name = Path(data.partition("@")[0]).resolve().name if Path(data).exists() else data.partition("@")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.rpartition("/")[2]).strip("-.") or "data"


def _preset(spec: ModelSpec, data: str) -> str | None:
    """Without --preset, the one named like the data."""
    return _data_name(data) if _data_name(data) in spec.presets else None


@contextmanager
def _progress(examples: int) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar for a terminal, a line at each log event for a file, nothing in the other processes of a launch."""
    if not console.is_main_process():
        yield None
        return
    if not sys.stderr.isatty():
        yield _log_line
        return
    with console.progress("training", examples, "images", resumes=True) as update:
        note = ""

        def report(event: dict[str, Any]) -> None:
            nonlocal note
            losses = {k: v for k, v in event.get("metrics", {}).items() if k != "images_per_second"}
            note = _in_words(losses) or note
            update(event["seen"], note)

        yield report


def _log_line(event: dict[str, Any]) -> None:
    if "metrics" in event:
        rate = event["metrics"].get("images_per_second", event["images_per_second"])
        values = {k: v for k, v in event["metrics"].items() if k != "images_per_second"}
        typer.echo(f"{event['seen']}/{event['examples']}  {rate:.1f} images/s  {_in_words(values)}", err=True)


def _in_words(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _print_summary(summary: dict[str, Any]) -> None:
    reason = {"max_minutes": "stopped by --max-minutes"}.get(summary["reason"], summary["reason"])
    typer.echo(f"{reason} after {summary['seen']} examples and {summary['minutes']} minutes; see {summary['folder']}")
    if metrics := summary.get("metrics"):
        typer.echo(_in_words({name: value for name, value in metrics.items() if name != "images_per_second"}))
    if summary["reason"] != "finished":
        typer.echo(f"go on with: zoo train --resume --out {summary['folder']}")
