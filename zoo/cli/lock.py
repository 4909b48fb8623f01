"""The verb lock, and `zoo download --locked`."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.cli.console import AsJson, model_name, print_json, print_table, size


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


def download_locked(path: str, as_json: bool) -> None:
    """Fetch what a lock file names; print the folders."""
    from zoo.hub import lock as locks

    rows = [(item.name, str(locks.download(item))) for item in locks.read(path)]
    if as_json:
        print_json([{"name": name, "folder": folder} for name, folder in rows])
    else:
        print_table(("name", "folder"), rows)
