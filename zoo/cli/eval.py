"""The verb eval: measure a model on a data set, by its likelihood or by its samples."""

from __future__ import annotations

import os
from typing import Any

import click

from zoo.cli import console, names
from zoo.cli.console import PLACE, as_json_option, device_option, model_argument, weights_option
from zoo.cli.options import parse_columns, parse_options, per_sample, share_out
from zoo.device import check_device
from zoo.errors import OptionError
from zoo.spec import ModelSpec

SHORT = {"features_sha256": 12}  # characters of a value in the table


@click.command()
@model_argument
@click.option("--data", metavar="NAME|FOLDER|OWNER/NAME", type=PLACE, required=True, help="As in 'zoo train'.")
@weights_option()
@click.option("--locked", metavar="FILE", type=PLACE, help="Take the weights that 'zoo lock' wrote down.")
@click.option(
    "--split",
    help="Which pictures of the data. [test, or validation if there is none; train for metrics of samples]",
)
@click.option(
    "--metric",
    help="Names, separated by commas: nats, bits_per_dim, or of samples fid, kid, precision_recall, ppl, and "
    "fd, kd, pl with other features; of clips fvd, kvd, acd. [nats,bits_per_dim]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only that many pictures, chosen by --seed.")
@click.option("--resize", is_flag=True, help="Bring pictures of other sizes to the model's, as in 'zoo train'.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, help="Pictures a pass. [128]")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Samples to draw. [50000]")
@click.option("--seed", type=click.IntRange(min=0), help="Of the samples, and of the pictures of a --limit. [0]")
@click.option("--option", metavar="NAME=VALUE", multiple=True, help="Of the samples, as in 'zoo sample'.")
@click.option("--precision", help="Of the samples: fp32, tf32, bf16 or fp16. [fp32]")
@click.option(
    "--features",
    metavar="NAME|FILE",
    type=PLACE,
    help="The network that compares pictures: inception, vgg16, or a TorchScript file, whose code is run. "
    "[inception for fid and kid, vgg16 for the others]",
)
@click.option("--control", help="real, shuffled or reconstructed: what to measure in place of samples.")
@click.option("--column", metavar="KEY=NAME", multiple=True, help="As in 'zoo train'.")
@click.option("--pairs", help="As in 'zoo train'.")
@click.option("--frame-stride", "stride", type=click.IntRange(min=1), help="As in 'zoo train'. [1]")
@click.option("--record", is_flag=True, help="Add the figures to the folder's config and card.")
@device_option
@as_json_option
def evaluate(
    model: str,
    weights: str | None,
    locked: str | None,
    metric: str | None,
    record: bool,
    device: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure a model on a data set.

    Several processes share the samples: torchrun --nproc-per-node 8 -m zoo.cli eval ...
    """
    spec, weights = names.find(model, weights)
    if locked is None:
        weights = names.choose_weights(spec, weights)
    if record and (locked is not None or not names.is_folder(spec, weights)):
        raise OptionError(f"--record writes into a weights folder, and '{locked or weights}' is none")
    if record:
        names.check_finished(spec, str(weights))
    arguments = _arguments(spec, metric, **how)
    from zoo import hub, metrics
    from zoo.cli import memory

    memory.keep_freed()
    loaded = names.load(spec, weights, locked, _own_device(check_device(device)))
    with console.progress("evaluating", 100, "%") as update:
        receipts = metrics.evaluate(loaded, progress=lambda share: update(100 * share), **arguments)
    if not console.is_main_process():
        return
    if record:
        hub.record(str(weights), receipts)
    if as_json:
        console.print_json(receipts)
        return
    columns = list(dict.fromkeys(name for receipt in receipts for name in receipt))
    rows = ([console.show(receipt.get(name))[: SHORT.get(name)] for name in columns] for receipt in receipts)
    console.print_table(columns, rows)


def _arguments(
    spec: ModelSpec,
    metric: str | None,
    data: str,
    split: str | None,
    limit: int | None,
    batch_size: int,
    resize: bool,
    **drawing: Any,
) -> dict[str, Any]:
    """What `zoo.metrics.evaluate` takes; `drawing` has the flags of metrics of samples."""
    from zoo import metrics
    from zoo.metrics.samples import OF_SAMPLES

    wanted = [name.strip() for name in metric.split(",") if name.strip()] if metric is not None else None
    given = {name: value for name, value in drawing.items() if value not in (None, ())}
    columns = parse_columns(given.pop("column", ()))
    if wanted is not None and set(metrics.parse(wanted)) & set(OF_SAMPLES):
        given = _drawing(spec, given)
    elif unused := given.keys() - ({"seed"} if limit else set()):
        raise OptionError(f"--{min(unused)} is for metrics of samples: {', '.join(OF_SAMPLES)}")
    given |= {**({"resize": True} if resize else {}), **({"columns": columns} if columns else {})}
    return {"data": data, "split": split, "metrics": wanted, "limit": limit, "batch_size": batch_size, **given}


def _drawing(spec: ModelSpec, given: dict[str, Any]) -> dict[str, Any]:
    """The flags of metrics of samples, as `zoo.metrics.evaluate` takes them."""
    options, files = parse_options(spec, given.pop("option", ()))
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
