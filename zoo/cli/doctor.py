"""The verb doctor."""

from __future__ import annotations

import typer

from zoo.cli.console import AsJson, print_json

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
