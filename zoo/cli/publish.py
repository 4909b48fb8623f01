"""The verb publish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import registry
from zoo.cli.console import print_table, size
from zoo.errors import OptionError, WeightsError
from zoo.plugins import checkout
from zoo.spec import REPO

if TYPE_CHECKING:
    from zoo.hub.publish import Package


def publish(
    folder: Annotated[
        str | None, typer.Argument(metavar="FOLDER", help="A weights folder, such as a finished run.")
    ] = None,
    repo: Annotated[str | None, typer.Option("--repo", metavar="OWNER/NAME", help="Where to.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are bundled with the source, each to the repository of its pin.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option("--licence", metavar="ID", help="Of the weights: apache-2.0, mit, cc-by-4.0, ...; or other."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    message: Annotated[str | None, typer.Option("--message", help="Of the commit.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace other weights that the repository holds.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the whole commit, upload nothing.")] = False,
) -> None:
    """Upload a weights folder to the Hub.

    Prints the pin to paste into the plugin. What the Hub has already is not sent again. Weights need a licence, which
    --licence writes into the folder's config and card once for all.
    """
    if everything and (folder is not None or repo is not None):
        raise OptionError("--all takes folders and repositories from the pins; leave out FOLDER and --repo")
    if not everything and (folder is None or repo is None):
        raise OptionError("zoo publish needs a FOLDER and --repo owner/name, or --all")
    if everything and licence is not None:
        raise OptionError("--licence is for one FOLDER; what is bundled says its own")
    targets = list(_bundled()) if everything else [(Path(str(folder)), str(repo))]
    for source, name in targets:
        if not REPO.fullmatch(name):
            raise OptionError(f"--repo takes owner/name, not '{name}'")
        if not source.is_dir():
            raise WeightsError(f"there is no folder '{source}'")
    from zoo import hub

    packages = [hub.prepare(source, name, licence) for source, name in targets]  # all are sound before one is sent
    for package in packages:
        if dry_run:
            _show(package)
        else:
            typer.echo(hub.pin_text(hub.send(package, private=private, message=message, force=force)))


def _bundled() -> Iterator[tuple[Path, str]]:
    """Folder and repository of all weights that this checkout holds."""
    root = checkout()
    if root is None:
        raise OptionError("--all publishes what is bundled with the source, and this is no checkout of it")
    for spec in registry.models():
        for pin in spec.weights.values():
            folder = root / "model_cards" / pin.folder_name
            if folder.is_dir():
                yield folder, pin.repo


def _show(package: Package) -> None:
    """The commit: its title, its files, and the card in full."""
    from zoo.hub.config import CARD

    files = package.files.items()
    sizes = ((name, len(c) if isinstance(c, bytes) else c.stat().st_size) for name, c in files)
    typer.echo(f"'{package.folder}' is sound; this would go to {package.repo} as \"{package.title}\":")
    print_table(("file", "size"), ((name, size(count)) for name, count in sizes))
    typer.echo(f"\n{CARD}:\n\n{bytes(package.files[CARD]).decode()}")
