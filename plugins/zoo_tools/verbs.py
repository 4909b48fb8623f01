"""The verbs doctor, new and lock."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from zoo.cli.console import (
    MODEL,
    as_json_option,
    out_option,
    print_json,
    print_statuses,
    print_table,
    size,
)
from zoo.errors import OptionError

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@as_json_option
def doctor(as_json: bool) -> None:
    """Look for what is wrong with this installation.

    Says what to do about each finding. Exit code 1 if there is a problem; a warning is none.
    """
    from zoo_tools.doctor import examine

    findings = examine()
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        print_statuses([(found.status, found.check, found.detail, found.mend) for found in findings], _COLOURS)
    if any(finding.status == "problem" for finding in findings):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("name", metavar="NAME")
@out_option("The new package. [NAME]")
def new(name: str, out: str | None) -> None:
    """Make a package for a model of your own.

    NAME is the model's: lower case, digits, dashes; of a path it is the last part. The package trains, samples and
    passes its tests as it is; then put your model into it.
    """
    from zoo_tools import scaffold

    folder = Path(out or name)
    name = Path(name).name or name
    scaffold.create(name, folder, parents=out is None)
    click.echo(f"made '{folder}'; go on with:")
    click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo('  python -m pip install -e ".[test]"')
    click.echo(f"  zoo train {name} --data mnist")


@click.command()
@click.argument("names", metavar="[MODEL[:TAG] | OWNER/REPO[@REV]]...", type=MODEL, nargs=-1)
@click.option("--weights", metavar="TAG", help="Of the one MODEL; the same as MODEL:TAG.")
@out_option("The lock file. [zoo.lock]", metavar="FILE", default="zoo.lock")
@as_json_option
def lock(names: tuple[str, ...], weights: str | None, out: str, as_json: bool) -> None:
    """Write down exactly which weights these are; without names, all.

    By commit and sha256, for the flag --locked of 'zoo download', 'zoo sample' and 'zoo eval'.
    """
    from zoo.hub import lock as locks

    if weights is not None:
        if len(names) != 1 or ":" in names[0] or "/" in names[0]:
            raise OptionError("--weights is the tag of one MODEL; of several give MODEL:TAG each")
        names = (f"{names[0]}:{weights}",)
    found = locks.lock(names)
    locks.write(found, out)
    if as_json:
        print_json([vars(item) for item in found])
        return
    rows = ((i.name, i.repo, i.revision or "bundled", size(sum(f["size"] for f in i.files.values()))) for i in found)
    print_table(("name", "repo", "revision", "size"), rows)
    click.echo(f"wrote {out}")
