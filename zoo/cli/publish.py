"""The verb publish."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo import registry
from zoo.cli.console import PLACE, as_json_option, print_json, print_table, size
from zoo.errors import OptionError, WeightsError
from zoo.plugins import checkout
from zoo.spec import REPO

if TYPE_CHECKING:
    from zoo.hub.publish import Package


@click.command()
@click.argument("folder", metavar="FOLDER", type=PLACE, required=False)
@click.option("--repo", metavar="OWNER/NAME", help="Where to.")
@click.option(
    "--all", "everything", is_flag=True, help="All that are bundled with the source, each to the repository of its pin."
)
@click.option("--licence", metavar="ID", help="Of the weights: apache-2.0, mit, cc-by-4.0, ...; or other.")
@click.option("--private", is_flag=True, help="Make the repository private.")
@click.option("--message", help="Of the commit.")
@click.option("--force", is_flag=True, help="Replace other weights that the repository holds.")
@click.option("--dry-run", is_flag=True, help="Show the whole commit, upload nothing.")
@as_json_option
def publish(
    folder: str | None,
    repo: str | None,
    everything: bool,
    licence: str | None,
    private: bool,
    message: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
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
    if dry_run and as_json:
        print_json([{"repo": package.repo, "title": package.title, "files": _sizes(package)} for package in packages])
        return
    pins = []
    try:
        for package in packages:
            if dry_run:
                _show(package)
                continue
            pins.append(hub.send(package, private=private, message=message, force=force))
            if not as_json:
                click.echo(hub.pin_text(pins[-1]))
    finally:
        if as_json:  # what was sent before an error is at the Hub
            print_json([dataclasses.asdict(pin) for pin in pins])


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


def _sizes(package: Package) -> dict[str, int]:
    """Bytes of each file of a commit."""
    return {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in package.files.items()}


def _show(package: Package) -> None:
    """The commit: its title, its files, and the card in full."""
    from zoo.hub.config import CARD

    click.echo(f"'{package.folder}' is sound; this would go to {package.repo} as \"{package.title}\":")
    print_table(("file", "size"), ((name, size(count)) for name, count in _sizes(package).items()))
    click.echo(f"\n{CARD}:\n\n{bytes(package.files[CARD]).decode()}")
