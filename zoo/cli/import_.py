"""The verb that takes over weights of other programs: import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.console import ModelName


def import_(
    model: ModelName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint of another program.", show_default=False)],
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="FOLDER", help="The new weights folder.", show_default=False)
    ],
) -> None:
    """Make a weights folder of another program's checkpoint.

    Nothing in the file is run; its licence stays. Prints the folder.
    """
    from zoo.hub.imports import import_weights

    typer.echo(str(import_weights(model, file, Path(out))))
