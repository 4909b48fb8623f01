"""One drawing: the values of a form become samples, a file that says what drew it, and lines that draw it again."""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo.cli.options import completed, per_sample, read_pictures
from zoo.cli.sample import Plan, compose, make_plan
from zoo.errors import ZooError, is_shortage, one_line
from zoo.origin import Origin, attach
from zoo.output import is_animation
from zoo_demo.catalogue import Entry, fields

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

LIMIT = 64  # samples of one drawing
KEPT_MODELS = 4
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
        tiles: each sample as a picture, enlarged; empty for animations.
        captions: seed and index of each sample.
        file: the grid or animation that `shell` writes, with its origin.
        python, shell: lines that give exactly this.
    """

    samples: torch.Tensor
    tiles: list[Image.Image]
    captions: list[str]
    file: Path
    python: str
    shell: str


class Shelf:
    """The models that were used last, loaded once each; one thread at a time draws with them."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self.lock = threading.Lock()
        self._models: OrderedDict[str, zoo.Model] = OrderedDict()

    def warm(self, entry: Entry | None = None) -> threading.Thread:
        """Load in the background what the next drawing needs: a model, or what all models need."""
        thread = threading.Thread(target=self._warm, args=(entry,), daemon=True, name="zoo-demo-warm")
        thread.start()
        return thread

    def _warm(self, entry: Entry | None) -> None:
        import torch  # noqa: F401

        if entry is not None:
            with self.lock, contextlib.suppress(ZooError):  # the drawing itself says what is wrong
                self.get(entry)

    def get(self, entry: Entry) -> zoo.Model:
        """A loaded model; the caller holds the lock."""
        model = self._models.pop(entry.name, None)
        model = model or zoo.load(entry.spec.name, weights=entry.tag, device=self.device)
        self._models[entry.name] = model
        while len(self._models) > KEPT_MODELS:
            self._models.popitem(last=False)
        return model


def check(entry: Entry, values: Mapping[str, Any]) -> dict[str, Any]:
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


def _integer(name: str, value: Any, least: int, most: int) -> int:
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
    progress: Callable[[float], None] = lambda share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Drawing:
    """Draw with the values of a form.

    Args:
        entry: which weights.
        values: name of an option -> value; of pictures and clips the path of an upload in `folder`'s care.
        folder: an empty one; the file is written there.
        n, seed: how many samples, of which seed.
        progress: told the share that is done.
        cancelled: asked at each step whether to stop.

    Raises:
        FormError: with a message for each wrong field.
        Cancelled: as it says.
    """
    n, seed = _integer("n", n, 1, LIMIT), _integer("seed", seed, 0, 2**31 - 1)
    options = check(entry, values)
    uploads = {f.name: Path(values[f.name]) for f in fields(entry) if f.kind in ("picture", "clip") and _has(values, f)}
    given, rows = completed(entry.spec)
    if rows in options and given not in uploads:
        raise FormError({given or GENERAL: "needs a picture to complete"})
    assignments = [f"{name}={_text(value)}" for name, value in options.items()]
    with shelf.lock:
        if cancelled():
            raise Cancelled
        try:
            model = shelf.get(entry)
            return _draw(entry, model, assignments, uploads, folder, n, seed, progress, cancelled)
        except ZooError as error:
            raise FormError({_field_of(entry, str(error)): one_line(error)}) from None
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            raise FormError({GENERAL: "the device has too little memory for that; take fewer samples"}) from None


def _has(values: Mapping[str, Any], field: Any) -> bool:
    return bool(values.get(field.name))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field_of(entry: Entry, message: str) -> str:
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
    n: int,
    seed: int,
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> Drawing:
    spec = entry.spec
    files = {name: fit(path, model, name, folder) for name, path in uploads.items()}
    walks = any(
        a.partition("=")[0] == option.name for a in assignments for option in spec.sample_options if option.frames
    )
    ending = ".gif" if spec.is_video or walks else ".png"
    path = folder / f"samples{ending}"
    typed = [*assignments, *(f"{name}={file}" for name, file in files.items())]
    plan = make_plan(
        spec,
        tuple(typed),
        n,
        None,
        out=str(path),
        **dict.fromkeys(("form", "frames", "batch_size", "target")),
        start=0,
        seed=seed,
        animate=False,
        show_given=False,
    )
    target = plan.check(spec)
    pictures = {name: read_pictures(model, name, paths) for name, paths in plan.files.items()}

    def tell(share: float) -> None:
        if cancelled():
            raise Cancelled
        progress(share)

    length = plan.length or 1
    # Small batches tell their progress, and hear of a cancellation, more often.
    samples = model.sample(
        plan.n * length,
        seed=seed,
        batch_size=min(16, model.sample_batch_size),
        progress=tell,
        **per_sample(plan.options, pictures, plan.each * length),
    )
    raw = samples.view(plan.n, length, *samples.shape[1:]) if plan.length else samples
    frames, columns = compose(raw, plan, spec, model.levels, pictures)
    target.write(frames, raw, columns, 1, model.fps)
    origin = Origin(spec.name, entry.tag, model.weights_sha256, seed, 0, n, dict(plan.options))
    if not files:
        attach(origin, path)
    python, shell = lines(entry, plan, model, files, path.name)
    tiles = [] if is_animation(ending) else _tiles(frames[0])
    return Drawing(samples, tiles, [f"seed {seed} #{i}" for i in range(n)], path, python, shell)


def fit(path: Path, model: zoo.Model, name: str, folder: Path) -> Path:
    """An upload as a file that the command line would take as it is: a picture is brought to the model's size."""
    option = next(option for option in model.spec.sample_options if option.name == name)
    if option.type != "image":
        return path
    from PIL import Image

    from zoo.media import from_pil, readable, write_image

    channels, height, width = model.input_shape(option)
    with readable("the upload"), Image.open(path) as picture:
        picture.load()
        small = picture.convert("RGB") if picture.mode not in ("L", "RGB") else picture
        if small.size != (width, height):
            small = small.resize((width, height), Image.Resampling.BOX)
        write_image(from_pil(small, channels or 1), folder / f"{name}.png")
    return folder / f"{name}.png"


def kept_rows(layers: list[np.ndarray[Any, Any]], height: int) -> int | None:
    """How many of a picture's rows lie wholly above what was painted over; None if nothing was.

    Args:
        layers: of the brush, (H', W', 4), uint8, of any one size.
        height: of the picture that the model draws.
    """
    painted = [int(layer[..., 3].any(1).argmax()) * height // layer.shape[0] for layer in layers if layer[..., 3].any()]
    return min(painted, default=None)


def _tiles(images: torch.Tensor) -> list[Image.Image]:
    """Small pictures are enlarged without smoothing, as a browser would smooth them."""
    from PIL import Image

    from zoo.media import to_pil

    scale = max(1, 192 // images.shape[-1])
    size = (images.shape[-1] * scale, images.shape[-2] * scale)
    return [to_pil(image).resize(size, Image.Resampling.NEAREST) for image in images]


def lines(entry: Entry, plan: Plan, model: zoo.Model, files: Mapping[str, Path], out: str) -> tuple[str, str]:
    """Python and shell that give exactly a drawing; pictures are expected beside, under the names of `files`."""
    spec, length = entry.spec, plan.length or 1
    arguments = [str(plan.n * length), f"seed={plan.seed}"]
    arguments += [f"{name}={value!r}" for name, value in plan.options.items()]
    arguments += [f"{name}={name}" for name in files]
    python = ["import zoo"]
    if files:
        python += ["from pathlib import Path", "from zoo.cli.options import read_pictures"]
    python += ["", f'model = zoo.load("{spec.name}", weights="{entry.tag}")']
    python += [f'{name} = read_pictures(model, "{name}", [Path("{file.name}")])' for name, file in files.items()]
    python.append(f"samples = model.sample({', '.join(arguments)})")
    shell = ["zoo", "sample", entry.name, "-n", str(plan.n), "--seed", str(plan.seed)]
    typed = {**{name: _text(value) for name, value in plan.options.items()}, **{n: f.name for n, f in files.items()}}
    for name, value in typed.items():
        shell += ["--option", f"{name}={value}"]
    return "\n".join(python), shlex.join([*shell, "-o", out])
