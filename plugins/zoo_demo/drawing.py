"""One drawing: the values of a form become samples, a file that says what drew it, and lines that draw it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo.cli.options import completed, per_sample, read_pictures, table_columns
from zoo.cli.plan import Plan, make_plan
from zoo.cli.sample import compose
from zoo.errors import ZooError, is_shortage, one_line
from zoo.media.origin import Origin, attach
from zoo_demo.catalogue import Entry, fields
from zoo_demo.lines import about, lines, text
from zoo_demo.pictures import enlarged, fit
from zoo_demo.shelf import Shelf

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from zoo.media.output import Target
    from zoo.spec import ModelSpec

LIMIT = 64  # samples, walks or rows of one drawing
PICTURES = 2048  # of one drawing, frames counted
TILE, SHEET = 192, 640  # pixels across, at least, of a sample and of a table
GENERAL = ""  # the field of errors that belong to none


class FormError(Exception):
    """Values that can't be drawn with: name of the field -> what is wrong; `GENERAL` for the form as a whole."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        super().__init__("; ".join(messages.values()))
        self.messages = dict(messages)


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """The visitor does not want it any more."""


@dataclass(frozen=True)
class Drawing:
    """A finished drawing.

    Attributes:
        samples: (N, C, H, W) or (N, T, C, H, W), as `model.sample` gives them.
        tiles: each sample as a picture, enlarged; empty for animations and tables.
        captions: seed and index of each sample.
        sheet: a table of still pictures as one, enlarged.
        file: the grid or animation that `shell` writes, with its origin.
        about: what was drawn, in a line.
        python, shell: lines that give exactly this.
    """

    samples: torch.Tensor
    tiles: list[Image.Image]
    captions: list[str]
    sheet: Image.Image | None
    file: Path
    about: str
    python: str
    shell: str

    def shown(self) -> tuple[list[tuple[Image.Image, str]], Any]:
        """Tiles with captions, and the picture or file that there is in place of them."""
        if self.tiles:
            return list(zip(self.tiles, self.captions, strict=True)), None
        return [], self.sheet or str(self.file)


def checked(entry: Entry, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a form gives, without files and what was left out; raises FormError with all messages."""
    options, messages = {}, {}
    for field in fields(entry):
        value = values.get(field.name)
        if field.kind in ("picture", "clip") or value is None or value == "":
            continue
        try:
            value = field.option.parse(value.strip() if isinstance(value, str) else value)
        except ZooError as error:
            messages[field.name] = str(error)
            continue
        if value != field.option.default:
            options[field.name] = value
    if messages:
        raise FormError(messages)
    return options


def integer(name: str, value: Any, least: int, most: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = least - 1
    if number != value or not least <= number <= most:
        raise FormError({name: f"takes an integer from {least} to {most}, not {value!r}"})
    return number


def draw(
    entry: Entry,
    values: Mapping[str, Any],
    folder: Path,
    shelf: Shelf,
    *,
    n: int = 16,
    seed: int = 0,
    frames: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Drawing:
    """Draw with the values of a form.

    Args:
        entry: which weights.
        values: name of an option -> value; of pictures and clips the path of an upload in `folder`'s care.
        folder: an empty one; the file is written there.
        n: how many samples, walks, or rows of a table.
        seed: of all of them.
        frames: of clips; None for as many as the model's own.
        progress: told the share that is done.
        cancelled: asked at each step whether to stop.

    Raises:
        FormError: with a message for each wrong field.
        Cancelled: as it says.
    """
    n, seed = integer("n", n, 1, LIMIT), integer("seed", seed, 0, 2**31 - 1)
    frames = None if frames in (None, "") else integer("frames", frames, 1, PICTURES)
    options = checked(entry, values)
    uploads = {f.name: Path(values[f.name]) for f in fields(entry) if f.kind in ("picture", "clip") and _has(values, f)}
    given, rows = completed(entry.spec)
    if rows in options and given not in uploads:
        raise FormError({given or GENERAL: "needs a picture to complete"})
    table = table_columns(entry.spec, options)
    size = (n * table[1] if table else n, seed, frames)
    assignments = [f"{name}={text(value)}" for name, value in options.items()]
    with shelf.lock:
        if cancelled():
            raise Cancelled
        try:
            model = shelf.get(entry)
            return _draw(entry, model, assignments, uploads, folder, size, progress, cancelled)
        except ZooError as error:
            raise FormError({field_of(entry, str(error)): one_line(error)}) from None
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            raise FormError({GENERAL: "the device has too little memory for that; take fewer samples"}) from None


def _has(values: Mapping[str, Any], field: Any) -> bool:
    return bool(values.get(field.name))


def field_of(entry: Entry, message: str) -> str:
    """The field that an error of the zoo is about."""
    found = re.search(r"option '(\w+)'", message)
    names = [field.name for field in fields(entry)]
    about = found[1] if found else message.partition(" ")[0]
    return about if about in names else GENERAL


def _draw(
    entry: Entry,
    model: zoo.Model,
    assignments: list[str],
    uploads: Mapping[str, Path],
    folder: Path,
    size: tuple[int, int, int | None],
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> Drawing:
    spec = entry.spec
    files = {name: fit(path, model, name, folder) for name, path in uploads.items()}
    plan, target = _planned(spec, [*assignments, *(f"{name}={file}" for name, file in files.items())], folder, size)
    length = plan.length or 1
    pictures = {name: read_pictures(model, name, paths) for name, paths in plan.files.items()}
    given = max((clip.shape[1] for clip in pictures.values() if clip.ndim == 5), default=model.frames or 1)
    count = plan.n * length * ((plan.frames or given) if spec.is_video else 1)
    if count > PICTURES:
        raise FormError({GENERAL: f"these are {count:,} pictures, and one drawing may have {PICTURES:,}"})

    def tell(share: float) -> None:
        if cancelled():
            raise Cancelled
        progress(share)

    # Small batches tell their progress, and hear of a cancellation, more often.
    samples = model.sample(
        plan.n * length,
        seed=plan.seed,
        batch_size=min(16, model.sample_batch_size),
        progress=tell,
        **({"frames": plan.frames} if plan.frames else {}),
        **per_sample(plan.options, pictures, plan.each * length),
    )
    raw = samples.view(plan.n, length, *samples.shape[1:]) if plan.length else samples
    frames, columns = compose(raw, plan, spec, model.levels, pictures)
    target.write(frames, raw, columns, 1, model.fps)
    if not files:
        options = dict(plan.options)
        attach(Origin(spec.name, entry.tag, model.weights_sha256, plan.seed, 0, plan.n, options), target.path)
    return Drawing(
        samples, *_still(frames, columns, plan, spec), target.path, about(entry, plan, files),
        *lines(entry, plan, files, target.path.name),
    )  # fmt: skip


def _planned(
    spec: ModelSpec, assignments: list[str], folder: Path, size: tuple[int, int, int | None]
) -> tuple[Plan, Target]:
    """What `zoo sample` would plan, and where it would write."""
    given = {assignment.partition("=")[0] for assignment in assignments}
    walks = any(option.name in given for option in spec.sample_options if option.frames)
    path = folder / ("samples.gif" if spec.is_video or walks else "samples.png")
    n, seed, frames = size
    rest = dict.fromkeys(("form", "batch_size", "target"))
    how = {"out": str(path), "frames": frames, "start": 0, "seed": seed, "animate": False, "show_given": False}
    plan = make_plan(spec, tuple(assignments), n, None, **how, **rest)
    return plan, plan.check(spec)


def _still(
    frames: list[torch.Tensor], columns: int | None, plan: Plan, spec: ModelSpec
) -> tuple[list[Image.Image], list[str], Image.Image | None]:
    """Tiles, their captions, and the sheet of a drawing that does not move."""
    captions = [f"seed {plan.seed} #{i}" for i in range(plan.n)]
    if spec.is_video or plan.length:
        return [], captions, None
    if table_columns(spec, plan.options):
        from zoo.media.images import grid

        return [], captions, enlarged(grid(frames[0], columns), SHEET)
    return [enlarged(image, TILE) for image in frames[0]], captions, None
