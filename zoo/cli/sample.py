"""The verb sample: draw pictures from a pretrained model into files."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo import output
from zoo.cli import again, names
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
    clip_length,
    completed,
    parse_options,
    per_sample,
    read_pictures,
    read_targets,
    share_out,
    shown,
    table_columns,
)
from zoo.cli.output import Destination, draws_pixels
from zoo.device import check_device
from zoo.errors import OptionError
from zoo.origin import Origin
from zoo.settings import PRECISIONS
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from zoo.model import Model

USUAL = (16, 8)  # samples in all, or of each of several values of an option
USUAL_CLIPS = (4, 1)
USUAL_DRAWN_FROM = (1, 1)  # of what is drawn from a picture or clip


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
    help="Show the pictures being drawn pixel by pixel, or walks between them, in a .gif, .webp, .apng or .mp4.",
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
    pictures = {name: read_pictures(loaded, name, paths) for name, paths in plan.files.items()}
    raw = draw(loaded, plan, pictures, precision)
    frames, columns = ([], None) if target.is_array else compose(raw, plan, spec, loaded.levels, pictures)
    origin = again.describe(ctx, spec, loaded, weights, plan)
    if said is not None and said.flags.get("alone") and plan.n == 1 and not target.each:
        target = replace(target, alone=True)
        origin = replace(origin, flags={**origin.flags, "alone": True})
    target = replace(target, origin=origin, sidecar=sidecar)
    where = target.write(frames, raw, columns, scale, loaded.fps)
    text = f"wrote {plan.n} sample{'s' * (plan.n != 1)} to {where} in {time.monotonic() - begun:.1f} s"
    if as_json:
        print_json(target.rows(plan.n))
    elif target.to_stdout:
        note(text)
    else:
        click.echo(text)


@dataclass(frozen=True)
class Plan:
    """What to draw, checked as far as that goes without the model.

    Attributes:
        n: how many samples; clips count as one.
        each: how many in succession share a value of an option that has several.
        length: frames of a walk; None if it is none.
        options: sampling options; files: those that are pictures.
        kept: top rows of the given pictures that samples keep; given: the option with these pictures, or with those
            that samples are drawn from.
        rows: the option of `kept`; None where nothing is completed.
        out, form, frames, start, seed, batch_size, columns, animate, show_given, target: the flags.
    """

    n: int
    each: int
    length: int | None
    options: dict[str, Any]
    files: dict[str, list[Path]]
    given: str | None
    kept: int
    rows: str | None
    out: str | None
    form: str | None
    frames: int | None
    start: int
    seed: int
    batch_size: int | None
    columns: int | None
    animate: bool
    show_given: bool
    target: str | None

    def check(self, spec: ModelSpec) -> Destination:
        """Where the samples go; raises OptionError for flags that do not go together."""
        if self.frames and not spec.is_video:
            raise OptionError(f"--frames is of clips, and {spec.name} draws pictures")
        if self.animate and not (self.length or draws_pixels(spec)):
            table = table_columns(spec, self.options)
            what = f"option '{table[0]}' makes a still table" if table else f"which {spec.name} does not"
            raise OptionError(f"--animate needs a model that draws pixel by pixel or can walk, {what}")
        animation = output.CLIP if spec.is_video else None
        animation = output.WALK if self.length else animation
        animation = output.DRAWING if self.animate and not self.length else animation
        target = Destination.of_flags(spec, self.out, self.form, self.start, animation)
        if self.rows and self.given in self.files and not self.kept:  # as the model would say, but before it is loaded
            raise OptionError(f"option '{self.given}' needs {self.rows}=N, how many of its rows to keep")
        if self.show_given:
            if self.given is None:
                raise OptionError(f"--show-given needs a model that draws from pictures, which {spec.name} does not")
            if target.each or self.given not in self.files:
                wanted = f"options {self.given}=PICTURE and {self.rows}=N" if self.rows else f"option {self.given}=FILE"
                raise OptionError(f"--show-given needs {wanted}, and one grid of all samples")
        if self.target and (self.rows or not self.show_given):
            raise OptionError("--target goes with --show-given, of models that do not complete pictures")
        return target


def make_plan(spec: ModelSpec, assignments: tuple[str, ...], n: int | None, columns: int | None, **flags: Any) -> Plan:
    """The flags of `zoo sample` as a plan; raises UnknownNameError, OptionError or DataError."""
    options, files = parse_options(spec, assignments)
    ending = f".{flags['form'].lstrip('.')}" if flags["form"] else Path(flags["out"] or "").suffix
    table = table_columns(spec, options)
    length = clip_length(spec, options, wanted=not table and (flags["animate"] or output.is_animation(ending)))
    if table:
        n = n or table[1] ** 2
        if (n % table[1] and n != 1) or columns not in (None, table[1]):
            raise OptionError(f"option '{table[0]}' makes a table of {table[1]} columns, and -n whole rows of it")
        columns = table[1]
    _, rows = completed(spec)
    usual = USUAL_CLIPS if length else USUAL if rows or shown(spec) not in files else USUAL_DRAWN_FROM
    n, each = share_out(n, options, files, usual)
    kept = options.get(rows, 0) if rows else 0
    own: dict[str, Any] = {"n": n, "each": each, "length": length, "columns": columns}
    return Plan(options=options, files=files, given=shown(spec), kept=kept, rows=rows, **own, **flags)


def draw(model: Model, plan: Plan, pictures: dict[str, torch.Tensor], precision: str) -> torch.Tensor:
    """The samples as the model gives them, (N, C, H, W), or (N, T, C, H, W) for clips and walks."""
    length = plan.length or 1
    with progress("sampling", plan.n, "samples") as update:
        raw = model.sample(
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
    if spec.is_video or plan.length:
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
        condition = conditions[:, t] if conditions.ndim == 5 else conditions
        target = targets[:, t] if targets is not None and spec.is_video else targets
        composed.append(media.beside_conditions(frame, condition, plan.each, target))
    return composed, plan.columns or plan.each + 1 + (targets is not None)
