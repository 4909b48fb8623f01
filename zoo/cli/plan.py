"""What `zoo sample` is to draw, checked as far as that goes without the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.cli.options import clip_length, completed, parse_options, share_out, shown, table_columns
from zoo.cli.output import Destination, can_be_watched
from zoo.errors import OptionError
from zoo.media import output
from zoo.spec import ModelSpec

USUAL = (16, 8)  # samples in all, or of each of several values of an option
USUAL_CLIPS = (4, 1)
USUAL_DRAWN_FROM = (1, 1)  # of what is drawn from a picture or clip


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
        if self.animate and not (self.length or can_be_watched(spec)):
            table = table_columns(spec, self.options)
            what = f"option '{table[0]}' makes a still table" if table else f"which {spec.name} does not"
            raise OptionError(f"--animate needs a model that draws pixel by pixel or in stages, or can walk, {what}")
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
