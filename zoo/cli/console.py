"""What all verbs share, those of plugins too: common parameters, tables, JSON, progress.

rich is imported only when there is a terminal to print to.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from zoo.errors import OptionError, without_passwords

PROGRESS_SECONDS = 10.0  # between lines of progress where there is no terminal


# Parameters


def model_name(text: str) -> str:
    """A model may be typed with dashes, as its package is called: my-model is my_model. Repositories keep theirs."""
    name, colon, tag = text.partition(":")
    return text if "/" in name else name.replace("-", "_") + colon + tag


def expand(text: str) -> str:
    """A path with its `~` expanded, which a shell leaves alone in `--out=~/run`; raises OptionError."""
    if not text.startswith("~"):
        return text
    whole = os.path.expanduser(text)
    if whole != text:
        return whole
    if os.path.exists(text):
        return f"./{text}"
    user = text.partition("/")[0]
    raise OptionError(
        f"'{text}': there is no user '{user[1:]}' with a folder '{user}'; a file of that name is ./{text}"
    )


class Model(click.ParamType):  # type: ignore[type-arg]
    """The name of a model, which the shell completes."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return model_name(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from zoo import registry

        names = [spec.name for spec in registry.models()]
        return [CompletionItem(name) for name in names if name.startswith(model_name(incomplete))]


class Place(click.ParamType):  # type: ignore[type-arg]
    """A file or folder, or a name in its place."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return expand(value)


MODEL, PLACE = Model(), Place()
model_argument = click.argument("model", metavar="MODEL", type=MODEL)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
device_option = click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [auto]")
# `--output` was the name of `--out` once.
OLD_SPELLINGS = {"token_normalize_func": lambda text: {"output": "out"}.get(text, text)}


def weights_option(help: str = "The same as MODEL:TAG. [the only ones]") -> Callable[[Any], Any]:
    """`--weights`."""
    return click.option("--weights", metavar="TAG|FOLDER|OWNER/REPO@REV", type=PLACE, help=help)


def out_option(help: str, *, metavar: str = "FOLDER", **how: Any) -> Callable[[Any], Any]:
    """`-o/--out`, where a verb writes."""
    return click.option("-o", "--out", metavar=metavar, type=PLACE, help=help, **how)


def choose(flag: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is one of the choices; raises OptionError."""
    known = tuple(choices)
    if value not in known:
        raise OptionError(f"{flag} takes one of {', '.join(known)}, not '{value}'")
    return value


# Output


def complain(text: str) -> None:
    """One red line on stderr, whatever is in the message; passwords of addresses are left out."""
    line = without_passwords(" ".join(text.split()))
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    note(line, fg="red", color=False if "NO_COLOR" in os.environ else None)


def note(text: str, **style: Any) -> None:
    """A line on stderr, for people; whether anybody reads it does not matter to the work."""
    with contextlib.suppress(OSError, ValueError):
        click.secho(text, err=True, **style)


def is_main_process() -> bool:
    """Whether this is the process of a distributed launch that prints."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: drawn for a terminal, else plain aligned columns that never wrap."""
    if sys.stdout.isatty():
        return _rich_table(columns, rows)
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
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
    click.secho(f"\n{text}", bold=True)


def print_mapping(values: dict[str, Any], indent: int = 0) -> None:
    """Names and values, one a line; nested ones under their name."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if isinstance(value, dict) and value:
            click.echo(f"{' ' * indent}{name}")
            print_mapping(value, indent + 2)
        else:
            click.echo(f"{' ' * indent}{name.ljust(width)}  {show(value)}".rstrip())


def print_statuses(rows: Sequence[tuple[str, ...]], colours: dict[str, str]) -> None:
    """Rows of status, name, detail and mend, then how many of each status; `colours` has the statuses in order."""
    wide, width = max(map(len, colours)), max((len(row[1]) for row in rows), default=0)
    for status, name, detail, *mend in rows:
        styled = click.style(status.ljust(wide), fg=colours[status])
        click.echo(f"{styled}  {name.ljust(width)}  {' '.join(detail.split())}".rstrip())
        if any(mend):
            click.echo(f"{' ' * (wide + width + 4)}-> {mend[0]}")
    counts = {status: sum(row[0] == status for row in rows) for status in colours}
    click.echo(", ".join(f"{count} {status}" for status, count in counts.items() if count))


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


# Progress

Update = Callable[..., None]


@contextmanager
def progress(label: str, total: float, unit: str, *, resumes: bool = False) -> Iterator[Update]:
    """How far long work is, on stderr; yields `update(done, note="")`.

    A bar with rate and time left on a terminal; else a line every ten seconds, the first after ten; nothing in the
    other processes of a launch. With `resumes`, what was done at the first update does not count as speed.
    `update(..., told=True)` follows a line of the caller's own, so that no other is due.
    """
    if not is_main_process():
        yield lambda *done, **told: None
    elif sys.stderr.isatty():
        with _bar(label, total, unit, resumes) as update:
            yield update
    else:
        yield _lines(label, total, unit, resumes)


def _lines(label: str, total: float, unit: str, resumes: bool) -> Update:
    last, before = time.monotonic(), None if resumes else 0.0

    def update(done: float, words: str = "", told: bool = False) -> None:
        nonlocal last, before
        done, now = min(done, total), time.monotonic()
        if now - last < PROGRESS_SECONDS and not told:
            return
        rate = (done - before) / (now - last) if now > last and before is not None else 0.0
        if not told:
            seconds = (total - done) / rate if rate > 0 else 0.0
            left = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
            shown = f", about {left} left" if rate > 0 else ""
            note(f"{label}: {done:,.0f} of {total:,.0f} {unit}{shown}  {words}".rstrip())
        last, before = now, done

    return update


@contextmanager
def _bar(label: str, total: float, unit: str, resumes: bool) -> Iterator[Update]:
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

        def update(done: float, note: str = "", told: bool = False) -> None:
            nonlocal begun
            if not begun:
                bar.reset(task, completed=int(done))
                begun = True
            bar.update(task, completed=min(done, total), note=note)

        yield update
