"""The verb that takes over weights of other programs: import."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.console import MODEL, PLACE, out_option


@click.command("import")
@click.argument("model", metavar="MODEL", type=MODEL)
@click.argument("file", metavar="FILE", type=PLACE)
@out_option("The new weights folder.", required=True)
def import_(model: str, file: str, out: str) -> None:
    """Make a weights folder of another program's checkpoint.

    Nothing in the file is run; its licence stays. Prints the folder.
    """
    from zoo.hub.imports import import_weights

    click.echo(str(import_weights(model, file, Path(out))))
