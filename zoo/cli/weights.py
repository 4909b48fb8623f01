"""The verbs about weights: download, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo import registry
from zoo.cli.console import AsJson, ModelName, choose_weights, model_name, print_json, print_table
from zoo.errors import OptionError


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
        _download_locked(locked, as_json)
        return
    if model is None:
        raise OptionError("zoo download needs a MODEL, owner/repo[@revision], or --locked FILE")
    is_repo = weights is None and "/" in model
    chosen = model if is_repo else choose_weights(registry.model_spec(model), weights)
    from zoo import hub

    folder = hub.download(model) if is_repo else hub.download(model, chosen)
    if as_json:
        from zoo.hub.config import read_config

        print_json({"model": read_config(folder).model, "weights": chosen, "folder": str(folder)})
    else:
        typer.echo(str(folder))


def _download_locked(path: str, as_json: bool) -> None:
    """Fetch what a lock file names; print the folders."""
    from zoo.hub import lock as locks

    rows = [(item.name, str(locks.download(item))) for item in locks.read(path)]
    if as_json:
        print_json([{"name": name, "folder": folder} for name, folder in rows])
    else:
        print_table(("name", "folder"), rows)


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
    from zoo.hub.config import read_config
    from zoo.hub.golden import check_golden

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
