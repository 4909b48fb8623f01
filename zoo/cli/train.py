"""The verb train."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from zoo import registry
from zoo.cli import console
from zoo.cli.console import MODEL, PLACE, as_json_option, out_option
from zoo.cli.options import parse_columns
from zoo.errors import OptionError
from zoo.settings import AUTO, Settings
from zoo.spec import ModelSpec

# Field of Settings -> what `--help` says, its default there if that is not the field's own, and the least integer.
FLAGS: dict[str, tuple[str, str | None, int | None]] = {
    "examples": ("How many pictures to see in all, in whole batches.", None, 1),
    "batch_size": ("Pictures of one update, over all processes.", None, 1),
    "seed": ("Of weights, order and noise.", None, 0),
    "max_minutes": ("Stop with a checkpoint after this time.", "no limit", None),
    "precision": ("fp32, tf32, bf16, fp16, or auto for the fastest here.", None, None),
    "accumulate": ("Parts that a batch is computed in.", None, 1),
    "ema_images": ("Half-life of the average of weights; 0: none.", None, 0),
    "eval_every": ("Examples, or minutes as 10min, between evaluations; 0: never.", None, None),
    "eval_count": ("Held-out pictures of an evaluation.", None, 1),
    "sample_every": ("Examples or minutes between sample grids; 0: never.", None, None),
    "checkpoint_every": ("Examples or minutes between checkpoints.", None, None),
    "log_every": ("Examples between lines of metrics.", None, 0),
    "stream": ("Read the data as a stream, for what does not fit on the disk.", "no", None),
    "resize": ("Bring pictures of other sizes to the model's: the middle, filtered.", "no", None),
    "frame_stride": ("Frames of a clip from one frame of a training window to the next.", None, 1),
    "pairs": ("left-right or right-left: each picture holds a condition and what belongs to it.", "no", None),
    "workers": ("Threads that read pictures.", None, 1),
    "device": ("auto, cpu, cuda, cuda:N or mps.", None, None),
}


class Every(click.ParamType[int | str]):
    """Examples as a number, or minutes such as "10min"."""

    name = "examples|minutes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return int(value) if str(value).isdecimal() else str(value)


EVERY = Every()


def _kind(field: dataclasses.Field[Any], least: int | None) -> Any:
    if least is not None:
        return click.IntRange(min=least)
    return str if "str" in str(field.type) else float


def _flags(command: Any) -> Any:
    """A flag for each setting, None when not given, so that the run's stored one or the default of Settings holds."""
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    for name, (help, default, least) in reversed(FLAGS.items()):
        field = fields[name]
        kind: Any = EVERY if name.endswith("_every") and least is None else _kind(field, least)
        how: dict[str, Any] = {"is_flag": True} if field.default is False else {"type": kind}
        text = f"{help} [default: {field.default if default is None else default}]"
        command = click.option(f"--{name.replace('_', '-')}", name, default=None, help=text, **how)(command)
    return command


@click.command()
@click.argument("model", metavar="[MODEL]", type=MODEL, required=False)
@click.option("--data", metavar="NAME|FOLDER|OWNER/NAME", type=PLACE, help="A name, a Hub data set, or a local folder.")
@click.option("--preset", help="Default: the one named like the data.")
@click.option(
    "--set", "assignments", metavar="NAME=VALUE", multiple=True, help="On top of the preset; see 'zoo info MODEL'."
)
@click.option(
    "--column", "columns", metavar="KEY=NAME", multiple=True, help="The column of the data for a key of the batch."
)
@out_option("The run folder. [runs/MODEL-DATA]")
@click.option("--from", "init", metavar="TAG|FOLDER|OWNER/REPO@REV", type=PLACE, help="Begin with these weights.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint.")
@click.option("--learning-rate", type=float, help="The same as --set learning_rate. [default: the recipe's]")
@_flags
@click.option("--dry-run", is_flag=True, help="Print the resolved run and stop.")
@as_json_option
def train(assignments: tuple[str, ...], resume: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Train a model on your data.

    A run that was stopped goes on with: zoo train --resume --out FOLDER
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if columns := parse_columns(given.pop("columns")):
        given["columns"] = columns
    settings = _settings(given, assignments, resume=resume, dry_run=dry_run)
    from zoo.cli import memory
    from zoo.train import loop, planning

    memory.keep_freed()
    if dry_run:
        shown = planning.plan(settings)
        _speak(lambda: console.print_json(shown) if as_json else console.print_mapping(shown))
        return
    if settings.precision == AUTO:
        from zoo.precision import fast_precision

        settings = dataclasses.replace(settings, precision=fast_precision(AUTO, settings.device))
        _speak(lambda: console.note(f"precision auto: {settings.precision} is the fastest on this device"))
    with _progress(settings.examples) as progress:
        summary = loop.train(settings, resume=resume, progress=progress)
    _speak(lambda: console.print_json(summary) if as_json else _print_summary(summary))
    if summary["reason"] == "interrupted":
        raise click.exceptions.Exit(130)


def _speak(say: Callable[[], None]) -> None:
    if console.is_main_process():
        say()


def _settings(given: dict[str, Any], assignments: Sequence[str] | None, *, resume: bool, dry_run: bool) -> Settings:
    """The settings of a new run, or the stored ones with what was given on top."""
    from zoo import building

    chosen = building.parse(assignments or ())
    if "learning_rate" in given:
        if "learning_rate" in chosen:
            raise OptionError("--learning-rate and --set learning_rate are two answers; give one")
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
        if given.get("precision") == AUTO:  # the run has resolved it when it began
            del given["precision"]
        settings = dataclasses.replace(stored, **{"max_minutes": None, **given})
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
    """A bar for a terminal; for a file a line at each log event, and between these one every ten seconds."""
    if not console.is_main_process():
        yield None
        return
    with console.progress("training", examples, "images", resumes=True) as update:
        note = ""

        def report(event: dict[str, Any]) -> None:
            nonlocal note
            values = dict(event.get("metrics", {}))
            rate = values.pop("images_per_second", event["images_per_second"])
            note = _in_words(values) or note
            if "metrics" in event and not sys.stderr.isatty():
                seen = min(event["seen"], event["examples"])  # the last batch may go beyond
                console.note(f"{seen}/{event['examples']}  {rate:.1f} images/s  {_in_words(values)}")
                update(event["seen"], note, told=True)
            else:
                update(event["seen"], note)

        yield report


def _in_words(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _print_summary(summary: dict[str, Any]) -> None:
    reason = {"max_minutes": "stopped by --max-minutes"}.get(summary["reason"], summary["reason"])
    click.echo(f"{reason} after {summary['seen']} examples and {summary['minutes']} minutes; see {summary['folder']}")
    if metrics := summary.get("metrics"):
        click.echo(_in_words({name: value for name, value in metrics.items() if name != "images_per_second"}))
    if summary["reason"] != "finished":
        click.echo(f"go on with: zoo train --resume --out {summary['folder']}")
