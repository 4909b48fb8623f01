"""The verbs that only look: list, info, datasets, plugins. Only info imports torch, to name what --set takes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zoo import building, registry
from zoo.cli.console import (
    PLACE,
    Model,
    as_json_option,
    expand,
    note,
    print_heading,
    print_json,
    print_mapping,
    print_table,
    size,
)
from zoo.cli.console import show as text
from zoo.cli.names import find
from zoo.errors import OptionError, unknown
from zoo.hub.config import read_config
from zoo.media import origin
from zoo.spec import DataSpec, ModelSpec, Option


def _word_option(name: str, help: str) -> Callable[[Any], Any]:
    """`--kind` or `--task`; the shell completes those that there are."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        there = {getattr(spec, name) for spec in registry.models()}
        return sorted(word for word in there if word.startswith(incomplete))

    return click.option(f"--{name}", metavar="WORD", shell_complete=complete, help=help)


@click.command("list")
@_word_option("kind", "Only of this kind: gan, autoregressive, ...")
@_word_option("task", "Only for this task: image-generation, video-generation, ...")
@click.option("--weights", "pretrained", is_flag=True, help="Only those that have weights.")
@as_json_option
def list_models(kind: str | None, task: str | None, pretrained: bool, as_json: bool) -> None:
    """All models, with their weights."""
    specs = registry.models()
    for what, wanted in (("kind", kind), ("task", task)):
        there = {getattr(spec, what) for spec in registry.models()}
        if wanted is not None and wanted not in there:
            raise unknown(what, wanted, there)
        specs = [spec for spec in specs if wanted in (None, getattr(spec, what))]
    specs = [spec for spec in specs if spec.weights or not pretrained]
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
            note(f"plugin '{record.name}' is broken; see 'zoo plugins'")


class Subject(Model):
    """The name of a model, or the path of a picture."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(expand(value))
        is_picture = path.suffix.lower() in (".png", ".apng", ".json", ".gif", ".webp", ".mp4", ".npy", ".npz")
        return path if is_picture or path.is_file() else super().convert(value, param, ctx)


@click.command()
@click.argument("model", metavar="MODEL", type=Subject())
@click.option("--preset", help="Show this experiment alone, in full.")
@click.option("--weights", metavar="TAG|FOLDER", type=PLACE, help="Show these weights alone, their data and figures.")
@as_json_option
def info(model: str | Path, preset: str | None, weights: str | None, as_json: bool) -> None:
    """Paper, presets, settings, options and weights of a model; of a picture, what drew it."""
    if isinstance(model, Path):
        _show_origin(model, as_json)
        return
    spec, weights = find(model, weights)
    if weights is not None and preset is not None:
        raise OptionError("--preset and --weights ask for two things; give one")
    if weights is not None:
        _show_weights(spec, weights, as_json)
        return
    if preset is not None:
        _show_preset(spec, preset, as_json)
        return
    if as_json:
        print_json(_description(spec))
        return
    _show_paper(spec)
    _show_settings(spec)
    print_heading("sampling options")
    if spec.sample_options:
        options = ((o.name, _range(o), text(o.default), o.help) for o in spec.sample_options)
        print_table(("name", "takes", "default", "help"), options)
    else:
        click.echo("none")
    print_heading("weights")
    if spec.weights:
        pins = ((tag, p.repo, p.revision or "bundled", size(p.size), p.summary) for tag, p in spec.weights.items())
        print_table(("tag", "repo", "revision", "size", "summary"), pins)
    else:
        click.echo("none")


def _show_weights(spec: ModelSpec, weights: str, as_json: bool) -> None:
    """What is known of weights without fetching them: pin, data, licence, training and measured figures."""
    from zoo.hub.resolve import at_hand

    pin, folder = spec.weights.get(weights), at_hand(spec, weights)
    known = read_config(folder).raw if folder else {}
    facts: dict[str, Any] = {"tag": weights if pin else None, **(dataclasses.asdict(pin) if pin else {})}
    facts |= {"folder": str(folder) if folder else None}
    facts |= {key: known.get(key) for key in ("data", "licence", "base_model", "classes", "training")}
    figures = known.get("metrics", [])
    if as_json:
        print_json({**_description(spec), "weights": [{**facts, "metrics": figures}]})
        return
    click.secho(f"{spec.name}:{weights}" if pin else spec.name, bold=True)
    if pin:
        facts |= {"revision": pin.revision or "bundled", "size": size(pin.size)}
    print_mapping({key: value for key, value in facts.items() if value not in (None, "", [], {})})
    if folder is None:
        note(f"more is known after 'zoo download {spec.name}:{weights}'")
        return
    print_heading("figures")
    if figures:
        rows = ((f["name"], f"{f['value']:.4g}", f["data"], str(f["split"]), str(f["count"])) for f in figures)
        print_table(("metric", "value", "data", "split", "count"), rows)
    else:
        click.echo("none were measured")


def _show_origin(path: Path, as_json: bool) -> None:
    said = dataclasses.asdict(origin.read(path))
    if as_json:
        print_json(said)
    else:
        click.secho(path.name, bold=True)
        print_mapping(said)


def _show_paper(spec: ModelSpec) -> None:
    click.secho(spec.name, bold=True)
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


def _show_settings(spec: ModelSpec) -> None:
    """Presets, what `--set` takes, and the figures of the paper."""
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
    click.secho(f"{spec.name}, preset {name}", bold=True)
    for heading, values in whole.items():
        print_heading(heading)
        print_mapping(values)


@click.command()
@as_json_option
def datasets(as_json: bool) -> None:
    """All named data sets: licence, and whether they are on this machine."""
    found = [(spec, _local_data(spec)) for spec in registry.datasets()]
    sizes = {spec.name: _bytes_in(folder) for spec, folder in found if folder is not None}
    if as_json:
        keys = ("name", "summary", "licence", "repo", "revision")
        facts = [{**{key: getattr(spec, key) for key in keys}, "folder": folder} for spec, folder in found]
        print_json([{**row, "bytes": sizes.get(row["name"])} for row in facts])
        return
    rows = (
        (
            s.name,
            s.licence,
            "made here" if s.made_by else text(s.repo),
            "yes" if folder else "-" if s.made_by else "no",
            size(sizes[s.name]) if folder else "-",
            s.summary,
        )
        for s, folder in found
    )
    print_table(("name", "licence", "from", "here", "size", "summary"), rows)


def _local_data(spec: DataSpec) -> Path | None:
    """Where a data set is on this machine: in $ZOO_DATA, or in the cache of the Hub; None if it must be fetched."""
    from huggingface_hub import constants

    shelf = os.environ.get("ZOO_DATA")
    places = [Path(shelf) / spec.name] if shelf else []
    if spec.repo is not None:
        prepared = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
        places.append(Path(prepared) / spec.repo.replace("/", "___").lower())
        places.append(Path(constants.HF_HUB_CACHE) / f"datasets--{spec.repo.replace('/', '--')}")
    return next((place for place in places if place.is_dir()), None)


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@click.command()
@as_json_option
def plugins(as_json: bool) -> None:
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
