"""What all verbs share: tables, JSON, progress, choices. rich is imported only when there is a terminal to print to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import OptionError, unknown
from zoo.spec import ModelSpec


def model_name(text: str | None) -> str | None:
    """A model may be typed with dashes, as its package is called: my-model is my_model. Repositories keep theirs."""
    if not text or "/" in text:
        return text
    name, colon, tag = text.partition(":")
    return name.replace("-", "_") + colon + tag


_MODEL = typer.Argument(
    metavar="MODEL", help="A model, as 'zoo list' names it.", show_default=False, callback=model_name
)
ModelName = Annotated[str, _MODEL]
OptionalModelName = Annotated[str | None, _MODEL]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]


def complain(text: str, debug: bool = False) -> None:
    """One red line on stderr, whatever is in the message."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    try:
        typer.secho(line, fg="red", err=True, color=False if "NO_COLOR" in os.environ else None)
    except OSError:  # stderr is closed too
        if debug:
            raise


def is_main_process() -> bool:
    """Whether this is the process of a distributed launch that prints."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: drawn for a terminal, else plain aligned columns that never wrap."""
    if sys.stdout.isatty():
        return _rich_table(columns, rows)
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    return None


def _rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold", style="bold" if i == 0 else None)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_heading(text: str) -> None:
    typer.secho(f"\n{text}", bold=True)


def print_mapping(values: dict[str, Any], indent: int = 0) -> None:
    """Names and values, one a line; nested ones under their name."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if isinstance(value, dict) and value:
            typer.echo(f"{' ' * indent}{name}")
            print_mapping(value, indent + 2)
        else:
            typer.echo(f"{' ' * indent}{name.ljust(width)}  {show(value)}".rstrip())


def show(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value in ({}, [], ()):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value)
    return str(value)


def size(count: int) -> str:
    """Bytes in the largest fitting unit: "1.3 MB"."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def choose(flag: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is one of the choices; raises OptionError."""
    known = tuple(choices)
    if value not in known:
        raise OptionError(f"{flag} takes one of {', '.join(known)}, not '{value}'")
    return value


def choose_weights(spec: ModelSpec, weights: str | None) -> str:
    """The weights to load: those asked for, or the only ones there are.

    Raises:
        OptionError: none given, and the model has none or several.
        UnknownNameError: neither a tag of the model, nor a folder, nor owner/repo[@revision].
    """
    if weights is None:
        if len(spec.weights) == 1:
            return next(iter(spec.weights))
        if not spec.weights:
            raise OptionError(
                f"{spec.name} has no pretrained weights; give your own with --weights FOLDER or owner/repo@revision"
            )
        raise OptionError(f"{spec.name} has several weights; choose with --weights {', '.join(sorted(spec.weights))}")
    if weights in spec.weights or "/" in weights or os.sep in weights or Path(weights).exists():
        return weights
    raise unknown(f"weights of {spec.name}", weights, spec.weights, "(or give a folder, or owner/repo@revision)")


Update = Callable[..., None]


@contextmanager
def progress(label: str, total: float, unit: str, *, resumes: bool = False) -> Iterator[Update]:
    """A bar with rate and time left on stderr; yields `update(done, note="")`. Silent when stderr is no terminal.

    With `resumes`, what was done at the first update does not count as speed.
    """
    if not (sys.stderr.isatty() and is_main_process()):
        yield lambda done, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {unit}/s" if speed else f"- {unit}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeLeft())
    note_column = TextColumn("{task.fields[note]}", markup=False)
    with Progress(*columns, note_column, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, note="")
        begun = not resumes

        def update(done: float, note: str = "") -> None:
            nonlocal begun
            if not begun:
                bar.reset(task, completed=int(done))
                begun = True
            bar.update(task, completed=done, note=note)

        yield update
