"""The verb sample: draw pictures from a pretrained model into files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo import registry
from zoo.cli.console import Device, ModelName, choose, choose_weights, progress
from zoo.cli.options import parse_options, per_sample, read_pictures, share_out
from zoo.device import check_device
from zoo.errors import OptionError
from zoo.settings import PRECISIONS
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

CLIP_FORMATS = (".gif", ".webp", ".apng", ".mp4")
WALK_MILLISECONDS = 40  # of a frame
CLIP_MILLISECONDS = 100
DRAWING_MILLISECONDS = 40
FINISHED_MILLISECONDS = 2000  # of the last frame of a drawing


def sample(
    model: ModelName,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="TAG|FOLDER|OWNER/REPO@REV", help="Default: the only ones.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--count",
            min=1,
            help="How many samples. [16, or 8 for each of several values of an option, or 4 walks]",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="One grid; with {} in the name or a / at its end, one file a sample. A .gif, .webp, .apng or .mp4 "
            "shows walks between samples, if the model can. [samples.png]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Sample i of a seed is always the same.")] = 0,
    start: Annotated[int, typer.Option("--start", min=0, help="Index of the first sample.")] = 0,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Samples drawn at once.")] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option("--precision", help="fp32, tf32, bf16 or fp16.")] = "fp32",
    columns: Annotated[int | None, typer.Option("--columns", min=1, help="Columns of the grid.")] = None,
    scale: Annotated[int, typer.Option("--scale", min=1, max=64, help="Enlarge pixels by this factor.")] = 1,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="A sampling option; see 'zoo info'. Several values of one, by repeating it or as 3,1,4 or 0-9, "
            "share the samples equally, a row of the grid for each.",
        ),
    ] = None,
    animate: Annotated[
        bool,
        typer.Option(
            "--animate", help="Show the pictures being drawn pixel by pixel, in a .gif, .webp, .apng or .mp4."
        ),
    ] = False,
    show_given: Annotated[
        bool,
        typer.Option("--show-given", help="Begin each row with the picture to complete as it was kept; end it whole."),
    ] = False,
) -> None:
    """Draw samples into a picture file."""
    spec = registry.model_spec(model)
    options, files = parse_options(spec, option or [])
    length = walk_length(spec, options, output)
    n, each = share_out(n, options, files, (4, 1) if length else (16, 8))
    chosen = choose_weights(spec, weights)
    choose("--precision", precision, PRECISIONS)
    target = Target.check(spec, output, start, animate, walk=length is not None)
    kept_rows = options.get("given_rows", 0)
    if show_given and not any(known.name == "given" for known in spec.sample_options):
        raise OptionError(f"--show-given needs a model that completes pictures, which {spec.name} does not")
    if "given" in files and not kept_rows:  # as the model itself would say, but before it is loaded
        raise OptionError("option 'given' needs given_rows=N, how many of its rows to keep")
    if show_given and (target.each or "given" not in files):
        raise OptionError("--show-given needs options given=PICTURE and given_rows=N, and one grid of all samples")
    from zoo import hub, media
    from zoo.cli import memory

    memory.keep_freed()
    begun = time.monotonic()
    loaded = hub.load(model, weights=chosen, device=check_device(device))
    pictures = {name: read_pictures(loaded, name, paths) for name, paths in files.items()}
    with progress("sampling", n, "samples") as update:
        samples = loaded.sample(
            n * (length or 1),
            seed=seed,
            start=start * (length or 1),
            batch_size=batch_size,
            precision=precision,
            progress=lambda share: update(share * n),
            **per_sample(options, pictures, each * (length or 1)),
        )
    samples = media.to_bytes(samples, loaded.levels)
    if spec.is_video:
        frames = list(samples.unbind(1))
    elif length:
        frames = list(samples.view(n, length, *samples.shape[1:]).unbind(1))
    elif animate:
        frames = media.drawing(samples, kept_rows)
    else:
        frames = [samples]
    if show_given:
        given = media.to_bytes(pictures["given"], loaded.levels)
        frames = [media.beside_given(frame, given, kept_rows, each) for frame in frames]
        columns = columns or each + 2
    where = target.write(frames, columns or (each if 1 < each < n else None), scale)
    typer.echo(f"wrote {n} sample{'s' * (n != 1)} to {where} in {time.monotonic() - begun:.1f} s")


def walk_length(spec: ModelSpec, options: dict[str, Any], output: str | None) -> int | None:
    """How many frames a walk has, if it is walks that are to be drawn; an animation of a model that can walk is one."""
    known = {option.name: option for option in spec.sample_options}
    if "walk" not in known:
        return None
    if Path(output or "").suffix.lower() in CLIP_FORMATS:
        options.setdefault("walk", "w")
    if "walk" not in options:
        return None
    return int(options.get("keys", known["keys"].default) * options.get("steps", known["steps"].default))


@dataclass(frozen=True)
class Target:
    """Where samples go: one file of all, or by `pattern` one file each.

    Attributes:
        path: the file; with `each` a path whose name has {} for the index.
        milliseconds: how long an animation shows a frame, and its last; None for a still picture.
        start: index of the first sample.
    """

    path: Path
    each: bool
    milliseconds: tuple[int, int] | None
    start: int

    @classmethod
    def check(cls, spec: ModelSpec, output: str | None, start: int, animate: bool, walk: bool = False) -> Target:
        """Find out now whether it can be written; raises OptionError."""
        if animate and (spec.kind != "autoregressive" or spec.is_video):
            raise OptionError(f"--animate needs a model that draws pixel by pixel, which {spec.name} does not")
        times = (CLIP_MILLISECONDS, CLIP_MILLISECONDS) if spec.is_video else None
        times = (WALK_MILLISECONDS, WALK_MILLISECONDS) if walk else times
        times = (DRAWING_MILLISECONDS, FINISHED_MILLISECONDS) if animate else times
        ending = ".gif" if times else ".png"
        if output == "":
            raise OptionError("-o needs the name of a file, or of a folder with / at its end")
        text = output or f"samples{ending}"
        if text.endswith(("/", os.sep)):
            text = f"{text}{{}}{ending}"
        target = cls(Path(text), "{}" in Path(text).name, times, start)
        if times and target.path.suffix.lower() not in CLIP_FORMATS:
            raise OptionError(f"can't write '{text}': an animation needs {', '.join(CLIP_FORMATS)}")
        from zoo.media import check_output

        folder = target.path.parent
        if target.each and output and output.endswith(("/", os.sep)):
            while not folder.exists():  # it is made when there is something to put there
                folder = folder.parent
            if not folder.is_dir():
                raise OptionError(f"can't write into '{target.path.parent}': '{folder}' is no folder")
        check_output(folder / target.file(start).name, text if folder != target.path.parent else None)
        return target

    def file(self, index: int) -> Path:
        """The file of one sample, or the only one."""
        return self.path.with_name(self.path.name.replace("{}", f"{index:05d}")) if self.each else self.path

    def write(self, frames: list[torch.Tensor], columns: int | None, scale: int) -> str:
        """Write frames (N, C, H, W), uint8, a still picture being the only one; returns where, in words."""
        from zoo.media import grid

        if not self.each:
            self._write_one([grid(frame, columns) for frame in frames], self.path, scale)
            return str(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for i in range(len(frames[0])):
            try:
                self._write_one([frame[i] for frame in frames], self.file(self.start + i), scale)
            except OptionError as error:
                raise OptionError(f"{error}; {i} of {len(frames[0])} files are written") from None
        return str(self.path.parent / self.path.name.replace("{}", "*"))

    def _write_one(self, frames: list[torch.Tensor], path: Path, scale: int) -> None:
        from zoo.media import write_clip, write_image

        if self.milliseconds is None:
            write_image(frames[0], path, scale=scale)
        else:
            usual, last = self.milliseconds
            write_clip(frames, path, [usual] * (len(frames) - 1) + [last], scale=scale)
