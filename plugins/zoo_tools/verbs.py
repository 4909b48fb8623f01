"""The verbs doctor, new and lock."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.console import AsJson, model_name, print_json, print_table, size

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Look for what is wrong with this installation.

    Says what to do about each finding. Exit code 1 if there is a problem; a warning is none.
    """
    from zoo_tools.doctor import examine

    findings = examine()
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        width = max(len(finding.check) for finding in findings)
        for found in findings:
            status = typer.style(found.status.ljust(7), fg=_COLOURS[found.status])
            typer.echo(f"{status}  {found.check.ljust(width)}  {found.detail}")
            if found.mend:
                typer.echo(f"{' ' * (width + 11)}-> {found.mend}")
        counts = {status: sum(found.status == status for found in findings) for status in _COLOURS}
        typer.echo(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model: lower case, digits, dashes.")],
    out: Annotated[str | None, typer.Option("--out", metavar="FOLDER", help="The new package. [NAME]")] = None,
) -> None:
    """Make a package for a model of your own.

    It trains, samples and passes its tests as it is; then put your model into it.
    """
    from zoo_tools import scaffold

    folder = Path(out or name)
    scaffold.create(name, folder)
    typer.echo(f"made '{folder}'; go on with:")
    typer.echo(f"  cd {shlex.quote(str(folder))}")
    typer.echo('  python -m pip install -e ".[test]"')
    typer.echo(f"  zoo train {name} --data mnist")


def lock(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL[:TAG] | OWNER/REPO[@REV]]...", help="Default: all weights.")
    ] = None,
    out: Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="The lock file.")] = "zoo.lock",
    as_json: AsJson = False,
) -> None:
    """Write down exactly which weights these are.

    By commit and sha256, for 'zoo download --locked'.
    """
    from zoo.hub import lock as locks

    found = locks.lock([model_name(name) or name for name in names or ()])
    locks.write(found, out)
    if as_json:
        print_json([vars(item) for item in found])
        return
    rows = ((i.name, i.repo, i.revision or "bundled", size(sum(f["size"] for f in i.files.values()))) for i in found)
    print_table(("name", "repo", "revision", "size"), rows)
    typer.echo(f"wrote {out}")
