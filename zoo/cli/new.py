"""The verb that begins a plugin: new."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from zoo_tools import new as scaffold


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model: lower case, digits, dashes.")],
    out: Annotated[str | None, typer.Option("--out", metavar="FOLDER", help="The new package. [NAME]")] = None,
) -> None:
    """Make a package for a model of your own.

    It trains, samples and passes its tests as it is; then put your model into it.
    """
    folder = Path(out or name)
    scaffold.create(name, folder)
    typer.echo(f"made '{folder}'; go on with:")
    typer.echo(f"  cd {shlex.quote(str(folder))}")
    typer.echo('  python -m pip install -e ".[test]"')
    typer.echo(f"  zoo train {name} --data mnist")
