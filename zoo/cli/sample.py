"""The verb sample: draw pictures from a pretrained model into files."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import again, driving, names
from zoo.cli.console import (
    MODEL,
    OLD_SPELLINGS,
    PLACE,
    choose,
    device_option,
    is_main_process,
    note,
    out_option,
    print_json,
    progress,
    weights_option,
)
from zoo.cli.options import (
    per_sample,
    read_pictures,
    read_targets,
)
from zoo.cli.plan import Plan, make_plan
from zoo.device import check_device
from zoo.errors import OptionError
from zoo.media.origin import Origin
from zoo.media.output import Target
from zoo.settings import PRECISIONS
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from zoo.model import Model


@click.command(context_settings=OLD_SPELLINGS)
@click.argument("model", metavar="MODEL", type=MODEL, required=False)
@weights_option()
@click.option("--locked", metavar="FILE", type=PLACE, help="Take the weights that 'zoo lock' wrote down.")
@click.option(
    "-n",
    "--count",
    "n",
    type=click.IntRange(min=1),
    help="How many samples. [16, or 8 for each of several values of an option, or 4 walks]",
)
@out_option(
    "One grid; with {} or {:03d} in the name or a / at its end, one file a sample; - is stdout. A .gif, .apng or .mp4 "
    "shows walks between samples, if the model can; .npy and .npz hold the values of the model. [samples.png]",
    metavar="FILE",
)
@click.option("--format", "form", metavar="ENDING", help="Of what goes to - or into a folder: png, webp, npy. [png]")
@click.option("--frames", type=click.IntRange(min=1), help="Of clips: how many. [the model's own]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Sample i of a seed is always the same. [0]")
@click.option("--start", type=click.IntRange(min=0), default=0, help="Index of the first sample. [0]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples drawn at once. [the model's own]")
@device_option
@click.option("--precision", default="fp32", help="fp32, tf32, bf16 or fp16. [fp32]")
@click.option("--columns", type=click.IntRange(min=1), help="Columns of the grid. [about a square]")
@click.option("--scale", type=click.IntRange(1, 64), default=1, help="Enlarge pixels by this factor. [1]")
@click.option(
    "--option",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="A sampling option; see 'zoo info'. Several values of one, by repeating it or as 3,1,4 or 0-9, "
    "share the samples equally, a row of the grid for each.",
)
@click.option(
    "--animate",
    is_flag=True,
    help="Show the pictures being drawn, or walks between them, in a .gif, .webp, .apng or .mp4.",
)
@click.option(
    "--show-given",
    is_flag=True,
    help="Begin each row with what was given: the picture to complete as it was kept, which ends it whole, or the "
    "condition.",
)
@click.option("--target", type=PLACE, help="Also end each row with the true picture: a file, or a folder of all.")
@click.option("--like", metavar="PICTURE", type=PLACE, help="Draw again what 'zoo sample' drew, but for what is typed.")
@click.option("--sidecar", is_flag=True, help="Say in FILE.json what drew each file, as .png files say themselves.")
@click.option("--json", "as_json", is_flag=True, help="Print what drew each file as JSON.")
@click.pass_context
def sample(ctx: click.Context, /, like: str | None, sidecar: bool, as_json: bool, **_: Any) -> None:
    """Draw samples into a picture file."""
    said = again.fill_in(ctx, like) if like else None
    flags = {name: value for name, value in ctx.params.items() if name not in ("like", "sidecar", "as_json")}
    _sample(ctx, said, like or "", sidecar, as_json, **flags)


def _sample(
    ctx: click.Context,
    said: Origin | None,
    like: str,
    sidecar: bool,
    as_json: bool,
    *,
    model: str | None,
    weights: str | None,
    locked: str | None,
    scale: int,
    device: str,
    precision: str,
    **how: Any,
) -> None:
    """`sample` with the flags that a picture gave it."""
    if model is None:
        raise click.MissingParameter(ctx=ctx, param=next(p for p in ctx.command.params if p.name == "model"))
    spec, weights = names.find(model, weights)
    plan = make_plan(spec, **how)
    if locked is None:
        weights = names.choose_weights(spec, weights)
    choose("--precision", precision, PRECISIONS)
    check_device(device)
    target = plan.check(spec)
    _check_grid(ctx, spec, target)
    if target.to_stdout and (as_json or sidecar):
        raise OptionError("--json and --sidecar are for files, and -o - writes the samples to stdout")
    if not is_main_process():  # of a launch of several: one draws and writes
        return
    from zoo.cli import memory

    memory.keep_freed()
    begun = time.monotonic()
    loaded = names.load(spec, weights, locked, device)
    if said is not None:
        again.check_weights(said, loaded, like)
    origin = again.describe(ctx, spec, loaded, weights, plan)
    if said is not None and said.flags.get("alone") and plan.n == 1 and not target.each:
        target = replace(target, alone=True)
        origin = replace(origin, flags={**origin.flags, "alone": True})
    target = replace(target, origin=origin, sidecar=sidecar)
    driving_clips = driving.options(spec, plan)
    pictures = {n: read_pictures(loaded, n, paths) for n, paths in plan.files.items() if n not in driving_clips}
    rate = ""
    if driving_clips:
        where, count, seconds = driving.write(loaded, plan, pictures, target, precision, scale)
        rate = f", {count / seconds:.1f} frames/s"
    else:
        raw = draw(loaded, plan, pictures, precision)
        frames, columns = ([], None) if target.is_array else compose(raw, plan, spec, loaded.levels, pictures)
        where = target.write(frames, raw, columns, scale, loaded.fps)
    text = f"wrote {plan.n} sample{'s' * (plan.n != 1)} to {where} in {time.monotonic() - begun:.1f} s{rate}"
    if as_json:
        print_json(target.rows(plan.n))
    elif target.to_stdout:
        note(text)
    else:
        click.echo(text)


def _check_grid(ctx: click.Context, spec: ModelSpec, target: Target) -> None:
    """Raise OptionError for flags of a grid that the user typed where there is none."""
    unused: tuple[str, ...]
    if target.is_array:
        what, unused = "holds the values of the model", ("columns", "scale", "show_given")
    elif target.each:
        what, unused = "has a file for each sample", ("columns",)
    elif spec.is_video and target.animation is None:
        what, unused = "has a row of frames for each clip", ("columns",)
    else:
        return
    for name in unused:
        if again.given(ctx, name):
            raise OptionError(f"--{name.replace('_', '-')} is of a grid of samples, and '{target.path}' {what}")


def draw(model: Model, plan: Plan, pictures: dict[str, torch.Tensor], precision: str) -> torch.Tensor:
    """The samples as the model gives them, (N, C, H, W), or (N, T, C, H, W) of clips, walks and stages."""
    length = plan.length or 1
    sample = model.stages if plan.animate and model.spec.stages else model.sample
    with progress("sampling", plan.n, "samples") as update:
        raw = sample(
            plan.n * length,
            seed=plan.seed,
            start=plan.start * length,
            batch_size=plan.batch_size,
            precision=precision,
            progress=lambda share: update(share * plan.n),
            **({"frames": plan.frames} if plan.frames else {}),
            **per_sample(plan.options, pictures, plan.each * length),
        )
    return raw.view(plan.n, length, *raw.shape[1:]) if plan.length else raw


def compose(
    raw: torch.Tensor, plan: Plan, spec: ModelSpec, levels: int, pictures: dict[str, torch.Tensor]
) -> tuple[list[torch.Tensor], int | None]:
    """Frames (N, C, H, W), uint8, that show the samples, of a still picture only one; and the columns of the grid."""
    from zoo import media

    samples = media.to_bytes(raw, levels)
    if samples.ndim == 5:
        frames = list(samples.unbind(1))
    else:
        frames = media.drawing(samples, plan.kept) if plan.animate else [samples]
    if plan.show_given and plan.given and not plan.rows:
        return _beside_conditions(frames, plan, spec, pictures[plan.given])
    if plan.show_given and plan.given:
        given = media.to_bytes(pictures[plan.given], levels)
        frames = [media.beside_given(frame, given, plan.kept, plan.each) for frame in frames]
        return frames, plan.columns or plan.each + 2
    return frames, plan.columns or (plan.each if 1 < plan.each < plan.n else None)


def _beside_conditions(
    frames: list[torch.Tensor], plan: Plan, spec: ModelSpec, conditions: torch.Tensor
) -> tuple[list[torch.Tensor], int]:
    """Frames with the conditions before what was drawn from them, and what is true behind it; and the columns."""
    from zoo import media

    targets = None
    if plan.target:
        targets = read_targets(plan.target, spec, frames[0].shape[1])
        if len(targets) not in (1, len(frames[0]) // plan.each):
            wanted = len(frames[0]) // plan.each
            raise OptionError(f"--target has {len(targets)} pictures or clips, but there are {wanted} conditions")
        if spec.is_video and targets.shape[1] < len(frames):
            raise OptionError(f"--target has {targets.shape[1]} frames, but {len(frames)} are drawn")
    composed = []
    for t, frame in enumerate(frames):
        condition = conditions[:, min(t, conditions.shape[1] - 1)] if conditions.ndim == 5 else conditions
        target = targets[:, t] if targets is not None and spec.is_video else targets
        composed.append(media.beside_conditions(frame, condition, plan.each, target))
    return composed, plan.columns or plan.each + 1 + (targets is not None)
