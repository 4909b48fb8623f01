"""The verb sample: draw pictures from a pretrained model into files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import names, output
from zoo.cli.console import (
    OLD_SPELLINGS,
    PLACE,
    choose,
    device_option,
    is_main_process,
    model_argument,
    note,
    out_option,
    progress,
    weights_option,
)
from zoo.cli.options import clip_length, completed, parse_options, per_sample, read_pictures, share_out, table_columns
from zoo.cli.output import Target
from zoo.device import check_device
from zoo.errors import OptionError
from zoo.settings import PRECISIONS
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from zoo.model import Model

USUAL = (16, 8)  # samples in all, or of each of several values of an option
USUAL_CLIPS = (4, 1)


@click.command(context_settings=OLD_SPELLINGS)
@model_argument
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
    "--show-given", is_flag=True, help="Begin each row with the picture to complete as it was kept; end it whole."
)
def sample(
    model: str, weights: str | None, locked: str | None, scale: int, device: str, precision: str, **how: Any
) -> None:
    """Draw samples into a picture file."""
    spec, weights = names.find(model, weights)
    plan = make_plan(spec, **how)
    if locked is None:
        weights = names.choose_weights(spec, weights)
    choose("--precision", precision, PRECISIONS)
    check_device(device)
    target = plan.check(spec)
    if not is_main_process():  # of a launch of several: one draws and writes
        return
    from zoo.cli import memory

    memory.keep_freed()
    begun = time.monotonic()
    loaded = names.load(spec, weights, locked, device)
    pictures = {name: read_pictures(loaded, name, paths) for name, paths in plan.files.items()}
    raw = draw(loaded, plan, pictures, precision)
    frames, columns = ([], None) if target.is_array else compose(raw, plan, spec, loaded.levels, pictures)
    where = target.write(frames, raw, columns, scale)
    text = f"wrote {plan.n} sample{'s' * (plan.n != 1)} to {where} in {time.monotonic() - begun:.1f} s"
    if target.to_stdout:
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
        kept: top rows of the given pictures that samples keep; given: the option with these pictures.
        out, form, start, seed, batch_size, columns, animate, show_given: the flags.
    """

    n: int
    each: int
    length: int | None
    options: dict[str, Any]
    files: dict[str, list[Path]]
    given: str | None
    kept: int
    out: str | None
    form: str | None
    start: int
    seed: int
    batch_size: int | None
    columns: int | None
    animate: bool
    show_given: bool

    def check(self, spec: ModelSpec) -> Target:
        """Where the samples go; raises OptionError for flags that do not go together."""
        if self.animate and not (self.length or output.draws_pixels(spec)):
            table = table_columns(spec, self.options)
            what = f"option '{table[0]}' makes a still table" if table else f"which {spec.name} does not"
            raise OptionError(f"--animate needs a model that draws pixel by pixel or can walk, {what}")
        animation = output.CLIP if spec.is_video else None
        animation = output.WALK if self.length else animation
        animation = output.DRAWING if self.animate and not self.length else animation
        target = Target.check(spec, self.out, self.form, self.start, animation)
        if self.given in self.files and not self.kept:  # as the model itself would say, but before it is loaded
            raise OptionError(f"option '{self.given}' needs {completed(spec)[1]}=N, how many of its rows to keep")
        if self.show_given:
            given, rows = completed(spec)
            if given is None:
                raise OptionError(f"--show-given needs a model that completes pictures, which {spec.name} does not")
            if target.each or given not in self.files:
                raise OptionError(
                    f"--show-given needs options {given}=PICTURE and {rows}=N, and one grid of all samples"
                )
        return target


def make_plan(spec: ModelSpec, assignments: tuple[str, ...], n: int | None, columns: int | None, **flags: Any) -> Plan:
    """The flags of `zoo sample` as a plan; raises UnknownNameError, OptionError or DataError."""
    options, files = parse_options(spec, assignments)
    ending = f".{flags['form'].lstrip('.')}" if flags["form"] else Path(flags["out"] or "").suffix
    table = table_columns(spec, options)
    length = clip_length(spec, options, wanted=not table and (flags["animate"] or output.is_animation(ending)))
    if table:
        n = n or table[1] ** 2
        if n % table[1] or columns not in (None, table[1]):
            raise OptionError(f"option '{table[0]}' makes a table of {table[1]} columns, and -n whole rows of it")
        columns = table[1]
    n, each = share_out(n, options, files, USUAL_CLIPS if length else USUAL)
    given, rows = completed(spec)
    kept = options.get(rows, 0) if rows else 0
    return Plan(
        n=n, each=each, length=length, options=options, files=files, given=given, kept=kept, columns=columns, **flags
    )


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
    if plan.show_given and plan.given:
        given = media.to_bytes(pictures[plan.given], levels)
        frames = [media.beside_given(frame, given, plan.kept, plan.each) for frame in frames]
        return frames, plan.columns or plan.each + 2
    return frames, plan.columns or (plan.each if 1 < plan.each < plan.n else None)
