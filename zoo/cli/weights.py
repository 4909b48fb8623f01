"""The verbs about weights: download, check."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.console import (
    MODEL,
    PLACE,
    as_json_option,
    model_argument,
    print_json,
    print_statuses,
    print_table,
    weights_option,
)
from zoo.cli.names import check_finished, choose_weights, find, is_folder
from zoo.errors import OptionError
from zoo.spec import ModelSpec


@click.command()
@click.argument("model", metavar="[MODEL[:TAG] | OWNER/REPO[@REV]]", type=MODEL, required=False)
@weights_option()
@click.option("--locked", metavar="FILE", type=PLACE, help="Exactly what 'zoo lock' wrote down.")
@as_json_option
def download(model: str | None, weights: str | None, locked: str | None, as_json: bool) -> None:
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
    from zoo import hub

    if weights is None and "/" in model.partition(":")[0]:
        chosen, folder = model, hub.download(model)
    else:
        spec, weights = find(model, weights)
        chosen = choose_weights(spec, weights)
        check_finished(spec, chosen)
        folder = hub.download(spec.name, chosen)
    if as_json:
        from zoo.hub.config import read_config

        print_json({"model": read_config(folder).model, "weights": chosen, "folder": str(folder)})
    else:
        click.echo(str(folder))


def _download_locked(path: str, as_json: bool) -> None:
    """Fetch what a lock file names; print the folders."""
    from zoo.hub import lock as locks

    rows = [(item.name, str(locks.download(item))) for item in locks.read(path)]
    if as_json:
        print_json([{"name": name, "folder": folder} for name, folder in rows])
    else:
        print_table(("name", "folder"), rows)


@click.command()
@model_argument
@weights_option("Redraw their golden sample.")
@as_json_option
def check(model: str, weights: str | None, as_json: bool) -> None:
    """Check that a model keeps the contract of the zoo.

    With --weights: that these load, and still draw the same sample.
    """
    spec, weights = find(model, weights)
    if weights is None:
        results = _conformance(spec.name)
    else:
        chosen = choose_weights(spec, weights)
        check_finished(spec, chosen)
        results = _golden(spec, chosen)
    if as_json:
        print_json(results)
    else:
        print_statuses([(r["status"], r["name"], r["detail"]) for r in results], _COLOURS)
    if any(result["status"] == "fail" for result in results):
        raise click.exceptions.Exit(1)


def _conformance(model: str) -> list[dict[str, str]]:
    from zoo import testing

    return [{"name": r.name, "status": r.status, "detail": r.detail} for r in testing.check(model)]


def _golden(spec: ModelSpec, weights: str) -> list[dict[str, str]]:
    from zoo import hub
    from zoo.hub.config import read_config
    from zoo.hub.golden import check_golden

    folder = Path(weights) if is_folder(spec, weights) else hub.download(spec, weights)
    golden = read_config(folder).golden
    loaded = hub.load(spec.name, weights=weights, device="cpu")
    results = [{"name": "loads", "status": "pass", "detail": str(folder)}]
    if not golden:
        return [*results, {"name": "golden sample", "status": "n/a", "detail": "these weights come without one"}]
    same, detail = check_golden(loaded, golden)
    return [*results, {"name": "golden sample", "status": "pass" if same else "fail", "detail": detail}]


_COLOURS = {"pass": "green", "fail": "red", "n/a": "yellow"}
