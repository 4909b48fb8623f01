"""Pictures between the page and the models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo.errors import OptionError
from zoo_demo.catalogue import Entry

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image


def fit(path: Path, model: zoo.Model, name: str, folder: Path) -> Path:
    """An upload as a file that the command line would take as it is: a picture is brought to the model's size."""
    option = next(option for option in model.spec.sample_options if option.name == name)
    if option.type != "image":
        return path
    from PIL import Image

    from zoo.media.images import from_pil, readable, write_image

    channels, height, width = model.input_shape(option)
    with readable("the upload"), Image.open(path) as picture:
        picture.load()
        small = picture.convert("RGB") if picture.mode not in ("L", "RGB") else picture
        if small.size != (width, height):
            small = small.resize((width, height), Image.Resampling.BOX)
        write_image(from_pil(small, channels or 1), folder / f"{name}.png")
    return folder / f"{name}.png"


def examples(entry: Entry, model: zoo.Model, seed: int) -> dict[str, Any]:
    """Options of one sample, without the axis of samples, that show what a model does: the card's, then the model's."""
    from zoo.cli.options import read_pictures

    own = {name: value[0] for name, value in model.examples(1, seed).items()}
    return own | {name: read_pictures(model, name, [path])[0] for name, path in entry.inputs.items()}


def example(entry: Entry, model: zoo.Model, name: str, seed: int) -> torch.Tensor:
    """A picture (C, H, W), uint8, for an option: an example, or else what a model of pictures draws.

    Raises:
        OptionError: a model of clips that gives none: its weights may not take any.
    """
    from zoo.media.images import to_bytes

    given = examples(entry, model, seed).get(name)
    if given is None and entry.spec.is_video:
        raise OptionError(f"{entry.name} gives no example of {name}")
    return given if given is not None else to_bytes(model.sample(1, seed=seed), model.levels)[0]


def example_file(clip: torch.Tensor, folder: Path) -> str:
    """A clip (T, C, H, W), uint8, as a file without loss, named by what is in it, so that there is one of each."""
    from hashlib import sha256

    from zoo.media.video import write_clip

    path = folder / f"example-{sha256(clip.numpy().tobytes()).hexdigest()[:16]}.webp"
    if not path.is_file():
        write_clip(list(clip), path, [100] * len(clip))
    return str(path)


def kept_rows(layers: list[np.ndarray[Any, Any]], height: int) -> int | None:
    """How many of a picture's rows lie wholly above what was painted over; None if nothing was.

    Args:
        layers: of the brush, (H', W', 4), uint8, of any one size.
        height: of the picture that the model draws.
    """
    painted = [int(layer[..., 3].any(1).argmax()) * height // layer.shape[0] for layer in layers if layer[..., 3].any()]
    return min(painted, default=None)


def enlarged(image: torch.Tensor, width: int) -> Image.Image:
    """A small picture (C, H, W) enlarged without smoothing, as a browser would smooth it."""
    from PIL import Image

    from zoo.media.images import to_pil

    scale = max(1, width // image.shape[-1])
    return to_pil(image).resize((image.shape[-1] * scale, image.shape[-2] * scale), Image.Resampling.NEAREST)
