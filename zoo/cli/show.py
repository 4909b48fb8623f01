"""The verbs that only look: list, info, plugins. They import no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from zoo import building, registry
from zoo.cli.console import AsJson, ModelName, print_heading, print_json, print_mapping, print_table, size
from zoo.cli.console import show as text
from zoo.spec import ModelSpec, Option


def list_models(as_json: AsJson = False) -> None:
    """All models, with their weights."""
    specs = registry.models()
    if as_json:
        rows = [
            {"name": spec.name, "kind": spec.kind, "task": spec.task, "weights": sorted(spec.weights)} for spec in specs
        ]
        print_json([{**row, "summary": spec.summary} for row, spec in zip(rows, specs, strict=True)])
        return
    columns = ("name", "kind", "weights", "summary")
    print_table(columns, ((s.name, s.kind, ", ".join(sorted(s.weights)) or "-", s.summary) for s in specs))
    for record in registry.plugins().records:
        if record.state == "broken":
            typer.secho(f"plugin '{record.name}' is broken; see 'zoo plugins'", err=True)


def info(
    model: ModelName,
    preset: Annotated[str | None, typer.Option("--preset", help="Show this experiment alone, in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """Paper, presets, settings, options and weights of a model."""
    spec = registry.model_spec(model)
    if preset is not None:
        _show_preset(spec, preset, as_json)
        return
    if as_json:
        print_json(_description(spec))
        return
    typer.secho(spec.name, bold=True)
    record = registry.owner(spec)
    print_mapping(
        {
            "summary": spec.summary,
            "paper": spec.paper,
            "kind": spec.kind,
            "task": spec.task,
            "data": f"({', '.join(spec.data_shape)})",
            "plugin": f"{record.name}, {record.distribution} {record.version}",
        }
    )
    print_heading("presets")
    rows = (
        (name, _arguments(preset.model), _arguments(preset.recipe), _arguments(preset.settings))
        for name, preset in spec.presets.items()
    )
    print_table(("name", "network", "recipe", "run"), rows)
    for kind, heading in (("model", "network settings (--set)"), ("recipe", "recipe settings (--set)")):
        print_heading(heading)
        rows = ((r["name"], r["type"], r["default"], r["meaning"]) for r in building.schema(spec, kind).describe())
        print_table(("name", "type", "default", "meaning"), rows)
    if spec.figures:
        print_heading("figures")
        figures = ((f.preset, f.metric, f.data, str(f.paper), f.ours or "-") for f in spec.figures)
        print_table(("preset", "metric", "data", "paper", "ours"), figures)
    print_heading("sampling options")
    if spec.sample_options:
        options = ((o.name, _range(o), text(o.default), o.help) for o in spec.sample_options)
        print_table(("name", "takes", "default", "help"), options)
    else:
        typer.echo("none")
    print_heading("weights")
    if spec.weights:
        pins = ((tag, p.repo, p.revision or "bundled", size(p.size), p.summary) for tag, p in spec.weights.items())
        print_table(("tag", "repo", "revision", "size", "summary"), pins)
    else:
        typer.echo("none")


def _show_preset(spec: ModelSpec, name: str, as_json: bool) -> None:
    """Network, recipe and run of one preset, completed with the defaults."""
    preset = spec.preset(name)
    whole = {
        "network": building.schema(spec).check(preset.model),
        "recipe": building.schema(spec, "recipe").check(preset.recipe),
        "run": dict(preset.settings),
    }
    if as_json:
        print_json(whole)
        return
    typer.secho(f"{spec.name}, preset {name}", bold=True)
    for heading, values in whole.items():
        print_heading(heading)
        print_mapping(values)


def plugins(as_json: AsJson = False) -> None:
    """All plugins, and what is wrong with broken ones."""
    records = registry.plugins().records
    if as_json:
        print_json(
            [
                {
                    "name": record.name,
                    "distribution": record.distribution,
                    "version": record.version,
                    "state": record.state,
                    "models": [spec.name for spec in record.models],
                    "datasets": [spec.name for spec in record.datasets],
                    "hooks": record.hooks,
                    "error": record.error,
                    "import_seconds": round(record.seconds, 3),
                }
                for record in records
            ]
        )
        return
    columns = ("name", "distribution", "version", "state", "models", "hooks", "trouble")
    names = [", ".join(spec.name for spec in record.models) for record in records]
    print_table(
        columns,
        (
            (r.name, r.distribution, r.version, r.state, models or "-", ", ".join(r.hooks) or "-", r.trouble or "-")
            for r, models in zip(records, names, strict=True)
        ),
    )


def _arguments(arguments: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "-"


def _range(option: Option) -> str:
    """What an option takes, as it is typed on a command line."""
    takes = "a picture file, or a folder of them" if option.type == "image" else option.describe()
    return f"{takes}, or one for each sample" if option.per_sample and option.type not in ("image", "tensor") else takes


def _description(spec: ModelSpec) -> dict[str, Any]:
    record = registry.owner(spec)
    return {
        "name": spec.name,
        "summary": spec.summary,
        "paper": spec.paper,
        "kind": spec.kind,
        "task": spec.task,
        "data_shape": list(spec.data_shape),
        "presets": {name: dataclasses.asdict(preset) for name, preset in spec.presets.items()},
        "options": [
            {
                "name": option.name,
                "type": option.type,
                "default": option.default,
                "minimum": option.minimum,
                "maximum": option.maximum,
                "choices": list(option.choices),
                "per_sample": option.per_sample,
                "help": option.help,
            }
            for option in spec.sample_options
        ],
        "weights": [
            {
                "tag": tag,
                "repo": pin.repo,
                "revision": pin.revision,
                "sha256": pin.sha256,
                "size": pin.size,
                "summary": pin.summary,
            }
            for tag, pin in spec.weights.items()
        ],
        "figures": [dataclasses.asdict(figure) for figure in spec.figures],
        "plugin": {"name": record.name, "distribution": record.distribution, "version": record.version},
    }
