"""The verb cache: what was downloaded, and how to get rid of it."""

from __future__ import annotations

import sys

import click

from zoo.cli.console import as_json_option, print_json, print_table, size
from zoo.errors import OptionError


@click.command()
@click.option(
    "--delete",
    "names",
    metavar="OWNER/REPO[@COMMIT]",
    multiple=True,
    help="Delete these; may be repeated, and 'all' is all.",
)
@click.option("--yes", is_flag=True, help="Delete without asking.")
@as_json_option
def cache(names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Downloaded weights: their sizes, and deleting them.

    Weights that came with the source, and what other programs downloaded, are left out.
    """
    from zoo.hub import kept

    if yes and not names:
        raise OptionError("--yes is for --delete, which says what")
    if names:
        _delete(names, yes, as_json)
        return
    items = kept.kept()
    if as_json:
        keys = ("repo", "commit", "refs", "model", "size", "folder")
        print_json([{key: getattr(item, key) for key in keys} for item in items])
    elif not items:
        click.echo("no weights were downloaded")
    else:
        rows = ((i.name, ", ".join(i.refs) or "-", i.model, size(i.size), str(i.folder)) for i in items)
        print_table(("weights", "refs", "model", "size", "folder"), rows)


def _delete(names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    from zoo.hub import kept

    chosen = kept.matching(kept.kept(), names)
    freed = kept.freed(chosen)
    what = f"{len(chosen)} set{'s' * (len(chosen) != 1)} of weights, {size(freed)}"
    if chosen and not yes:
        if not sys.stdin.isatty():
            raise OptionError(f"this deletes {what}: {', '.join(item.name for item in chosen)}; say --yes")
        click.confirm(f"delete {', '.join(item.name for item in chosen)} ({size(freed)})?", abort=True, err=True)
    kept.delete(chosen)
    if as_json:
        print_json({"deleted": [item.name for item in chosen], "freed": freed})
    else:
        click.echo(f"deleted {what}")
