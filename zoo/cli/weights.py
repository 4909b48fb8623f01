"""The verbs about weights: download, publish, check."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo import registry
from zoo.cli.console import AsJson, ModelName, choose_weights, model_name, print_json, print_table, size
from zoo.cli.lock import download_locked
from zoo.errors import OptionError, WeightsError


def download(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL | OWNER/REPO[@REV]]", help="Or any repository with one.", callback=model_name),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="TAG|OWNER/REPO@REV", help="Default: the only ones.")
    ] = None,
    locked: Annotated[
        str | None, typer.Option("--locked", metavar="FILE", help="Exactly what 'zoo lock' wrote down.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch weights for work without a network.

    Prints their folder.
    """
    if locked is not None:
        if model is not None or weights is not None:
            raise OptionError("--locked takes everything from the lock file; leave out MODEL and --weights")
        download_locked(locked, as_json)
        return
    if model is None:
        raise OptionError("zoo download needs a MODEL, owner/repo[@revision], or --locked FILE")
    is_repo = weights is None and "/" in model
    chosen = model if is_repo else choose_weights(registry.model_spec(model), weights)
    from zoo import hub

    folder = hub.download(model) if is_repo else hub.download(model, chosen)
    if as_json:
        from zoo.weights_config import read_config

        print_json({"model": read_config(folder).model, "weights": chosen, "folder": str(folder)})
    else:
        typer.echo(str(folder))


def publish(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A weights folder, such as a finished run.")],
    repo: Annotated[str, typer.Option("--repo", metavar="OWNER/NAME", help="Where to.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    message: Annotated[str | None, typer.Option("--message", help="Of the commit.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the folder, list the files, upload nothing.")
    ] = False,
) -> None:
    """Upload a weights folder to the Hub.

    Prints the pin to paste into the plugin.
    """
    if not _REPO.fullmatch(repo):
        raise OptionError(f"--repo takes owner/name, not '{repo}'")
    source = Path(folder)
    if not source.is_dir():
        raise WeightsError(f"there is no folder '{folder}'")
    from zoo import hub

    if dry_run:
        _dry_run(source, repo)
        return
    pin = hub.push(source, repo, private=private, message=message)
    typer.echo(hub.pin_text(pin))


_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def _dry_run(folder: Path, repo: str) -> None:
    """Everything that `zoo.push` does before it sends anything, then the files that it would send."""
    from zoo import card
    from zoo.weights import load_folder
    from zoo.weights_config import CARD, CONFIG, TENSORS

    load_folder(folder)
    readme = folder / CARD
    if not readme.is_file():
        raise WeightsError(f"there is no card '{readme}'; zoo.save writes one")
    if problems := card.validate(readme.read_text(encoding="utf-8", errors="replace")):
        raise WeightsError(f"'{readme}' can't be published: {'; '.join(problems)}")
    samples = sorted(path.name for path in folder.glob("samples.*") if path.is_file())
    files = [folder / name for name in (CONFIG, TENSORS, *samples, CARD)]
    typer.echo(f"'{folder}' is sound; this would go to {repo}:")
    print_table(("file", "size"), ((path.name, size(path.stat().st_size)) for path in files))


def check(
    model: ModelName,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="TAG|FOLDER|OWNER/REPO@REV", help="Redraw their golden sample.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a model keeps the contract of the zoo.

    With --weights: that these load, and still draw the same sample.
    """
    spec = registry.model_spec(model)
    results = _golden(model, choose_weights(spec, weights)) if weights is not None else _conformance(model)
    if as_json:
        print_json(results)
    else:
        _report(results)
    if any(result["status"] == "fail" for result in results):
        raise typer.Exit(1)


def _conformance(model: str) -> list[dict[str, str]]:
    from zoo import testing

    return [{"name": r.name, "status": r.status, "detail": r.detail} for r in testing.check(model)]


def _golden(model: str, weights: str) -> list[dict[str, str]]:
    from zoo import hub
    from zoo.golden import check_golden
    from zoo.weights_config import read_config

    folder = Path(weights) if Path(weights).is_dir() else hub.download(model, weights)
    golden = read_config(folder).golden
    loaded = hub.load(model, weights=weights, device="cpu")
    results = [{"name": "loads", "status": "pass", "detail": str(folder)}]
    if not golden:
        return [*results, {"name": "golden sample", "status": "n/a", "detail": "these weights come without one"}]
    same, detail = check_golden(loaded, golden)
    return [*results, {"name": "golden sample", "status": "pass" if same else "fail", "detail": detail}]


_COLOURS = {"pass": "green", "fail": "red", "n/a": "yellow"}


def _report(results: list[dict[str, Any]]) -> None:
    width = max((len(result["name"]) for result in results), default=0)
    for result in results:
        status = typer.style(result["status"].ljust(4), fg=_COLOURS[result["status"]])
        typer.echo(f"{status}  {result['name'].ljust(width)}  {' '.join(result['detail'].split())}".rstrip())
    counts = {status: sum(result["status"] == status for result in results) for status in _COLOURS}
    typer.echo(", ".join(f"{count} {status}" for status, count in counts.items() if count))
