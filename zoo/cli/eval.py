"""The verb eval: measure a model on a data set, by its likelihood or by its samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo import registry
from zoo.cli import console
from zoo.cli.console import AsJson, Device, ModelName
from zoo.cli.options import parse_options, per_sample, share_out
from zoo.device import check_device
from zoo.errors import OptionError
from zoo.spec import ModelSpec

SHORT = {"features_sha256": 12}  # characters of a value in the table


def evaluate(
    model: ModelName,
    data: Annotated[str, typer.Option("--data", help="As in 'zoo train'.", show_default=False)],
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="TAG|FOLDER|OWNER/REPO@REV", help="Default: the only ones.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Which pictures of the data. [test, or validation if there is none; train for metrics of samples]",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="Names, separated by commas: nats, bits_per_dim, or of samples fid, kid, precision_recall, ppl, and "
            "fd, kd, pl with other features. [nats,bits_per_dim]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only that many pictures, chosen by --seed.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures a pass.")] = 128,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="Samples to draw. [50000]")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the samples, and of the pictures of a --limit. [0]")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Of the samples, as in 'zoo sample'.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="NAME|FILE",
            help="The network that compares pictures: inception, vgg16, or a TorchScript file, whose code is run. "
            "[inception for fid and kid, vgg16 for the others]",
        ),
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Add the figures to the folder's config and card.")] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a model on a data set.

    Several processes share the samples: torchrun --nproc-per-node 8 -m zoo.cli eval ...
    """
    spec = registry.model_spec(model)
    chosen = console.choose_weights(spec, weights)
    if record and not Path(chosen).is_dir():
        raise OptionError(f"--record writes into a weights folder, and '{chosen}' is none")
    names = [name.strip() for name in metric.split(",") if name.strip()] if metric is not None else None
    from zoo import hub, metrics
    from zoo.cli import memory
    from zoo.metrics.samples import OF_SAMPLES

    arguments: dict[str, Any] = {"data": data, "split": split, "metrics": names}
    arguments |= {"limit": limit, "batch_size": batch_size}
    drawn = {"count": count, "seed": seed, "option": option, "features": features}
    given = {name: value for name, value in drawn.items() if value is not None}
    if names is not None and set(metrics.parse(names)) & set(OF_SAMPLES):
        arguments |= _drawing(spec, given)
    elif unused := given.keys() - ({"seed"} if limit else set()):
        raise OptionError(f"--{min(unused)} is for metrics of samples: {', '.join(OF_SAMPLES)}")
    else:
        arguments |= given
    memory.keep_freed()
    loaded = hub.load(model, weights=chosen, device=_own_device(check_device(device)))
    with console.progress("evaluating", 100, "%") as update:
        receipts = metrics.evaluate(loaded, progress=lambda share: update(100 * share), **arguments)
    if not console.is_main_process():
        return
    if record:
        hub.record(chosen, receipts)
    if as_json:
        console.print_json(receipts)
        return
    columns = list(dict.fromkeys(name for receipt in receipts for name in receipt))
    rows = ([console.show(receipt.get(name))[: SHORT.get(name)] for name in columns] for receipt in receipts)
    console.print_table(columns, rows)


def _drawing(spec: ModelSpec, given: dict[str, Any]) -> dict[str, Any]:
    """The flags of metrics of samples, as `zoo.metrics.evaluate` takes them."""
    options, files = parse_options(spec, given.pop("option", []))
    if files:
        raise OptionError(f"zoo eval takes no pictures, but option '{next(iter(files))}' is one")
    if any(isinstance(value, list) for value in options.values()):
        from zoo.metrics.samples import COUNT

        _, each = share_out(given.get("count", COUNT), options, {})
        options = per_sample(options, {}, each)
    return {**given, **({"options": options} if options else {})}


def _own_device(device: str) -> str:
    """In a launch of several processes on this machine each has a CUDA device of its own."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is None or device not in ("auto", "cuda") or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) < 2:
        return device
    import torch

    return f"cuda:{int(rank) % torch.cuda.device_count()}" if torch.cuda.is_available() else device
