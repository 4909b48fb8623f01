"""The verb sample: draw pictures from a pretrained model into files."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo import registry
from zoo.cli.console import Device, ModelName, check_device, choose, choose_weights, progress
from zoo.errors import DataError, OptionError, unknown
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from zoo.model import Model

CLIP_FORMATS = (".gif", ".webp")
FRAME_MILLISECONDS = 100


def sample(
    model: ModelName,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="TAG|FOLDER|OWNER/REPO@REV", help="Default: the only ones.")
    ] = None,
    n: Annotated[int, typer.Option("-n", "--count", min=1, help="How many samples.")] = 16,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="One grid; with {} in the name or a / at its end, one file a sample. [samples.png]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Sample i of a seed is always the same.")] = 0,
    start: Annotated[int, typer.Option("--start", min=0, help="Index of the first sample.")] = 0,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Samples drawn at once.")] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option("--precision", help="fp32, bf16 or fp16.")] = "fp32",
    columns: Annotated[int | None, typer.Option("--columns", min=1, help="Columns of the grid.")] = None,
    scale: Annotated[int, typer.Option("--scale", min=1, max=64, help="Enlarge pixels by this factor.")] = 1,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="A sampling option; see 'zoo info'.")
    ] = None,
) -> None:
    """Draw samples into a picture file."""
    spec = registry.model_spec(model)
    options, pictures = parse_options(spec, option or [])
    chosen = choose_weights(spec, weights)
    choose("--precision", precision, ("fp32", "bf16", "fp16"))
    target = Target.check(spec, output, start)
    from zoo import hub

    begun = time.monotonic()
    loaded = hub.load(model, weights=chosen, device=check_device(device))
    options |= {name: read_pictures(loaded, name, path) for name, path in pictures.items()}
    with progress("sampling", n, "samples") as update:
        samples = loaded.sample(
            n,
            seed=seed,
            start=start,
            batch_size=batch_size,
            precision=precision,
            progress=lambda share: update(share * n),
            **options,
        )
    where = target.write(samples, loaded.levels, columns, scale)
    typer.echo(f"wrote {n} sample{'s' * (n != 1)} to {where} in {time.monotonic() - begun:.1f} s")


def parse_options(spec: ModelSpec, assignments: list[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    """`name=value` texts as checked sampling options, and the paths of those that are pictures.

    Several numbers, separated by commas, are one for each sample where the option allows it.
    """
    known = {option.name: option for option in spec.sample_options}
    options: dict[str, Any] = {}
    pictures: dict[str, Path] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"--option takes name=value, not '{text}'")
        if name not in known:
            raise unknown(f"option of {spec.name}", name, known)
        option = known[name]
        if option.type == "image":
            if not Path(value).exists():
                raise OptionError(f"option '{name}': there is no file or folder '{value}'")
            pictures[name] = Path(value)
        elif option.per_sample and option.type != "str" and "," in value:
            options[name] = [option.parse(part.strip()) for part in value.split(",")]
        else:
            options[name] = spec.parse_options({name: value})[name]
    return options, pictures


def read_pictures(model: Model, name: str, path: Path) -> torch.Tensor:
    """The pictures of an image option in the model's shape and levels, (N, C, H, W)."""
    from zoo import images

    shape: Any = getattr(model, "image_shape", None)
    if shape is None:
        raise OptionError(f"option '{name}': {model.spec.name} does not say what shape its pictures have")
    pictures = images.read_images(path, shape[0])
    if tuple(pictures.shape[1:]) != tuple(shape):
        found, needed = (f"{size[-1]}x{size[-2]}" for size in (pictures.shape, shape))
        raise DataError(f"option '{name}': '{path}' is {found} pixels, but {model.spec.name} needs {needed}")
    levels: Any = getattr(model, "levels", None)
    return images.quantise(pictures, levels) if levels else pictures


@dataclass(frozen=True)
class Target:
    """Where samples go: one file of all, or by `pattern` one file each.

    Attributes:
        path: the file; with `each` a path whose name has {} for the index.
        start: index of the first sample.
    """

    path: Path
    each: bool
    is_video: bool
    start: int

    @classmethod
    def check(cls, spec: ModelSpec, output: str | None, start: int) -> Target:
        """Find out now whether it can be written; raises OptionError."""
        ending = ".gif" if spec.is_video else ".png"
        text = output or f"samples{ending}"
        if text.endswith(("/", os.sep)):
            text = f"{text}{{}}{ending}"
        target = cls(Path(text), "{}" in Path(text).name, spec.is_video, start)
        if spec.is_video and target.path.suffix.lower() not in CLIP_FORMATS:
            raise OptionError(f"can't write '{text}': a clip needs {' or '.join(CLIP_FORMATS)}")
        from zoo.images import check_output

        folder = target.path.parent
        if target.each and output and output.endswith(("/", os.sep)):
            while not folder.exists():  # it is made when there is something to put there
                folder = folder.parent
            if not folder.is_dir():
                raise OptionError(f"can't write into '{target.path.parent}': '{folder}' is no folder")
        check_output(folder / target.file(start).name)
        return target

    def file(self, index: int) -> Path:
        """The file of one sample, or the only one."""
        return self.path.with_name(self.path.name.replace("{}", f"{index:05d}"))

    def write(self, samples: torch.Tensor, levels: int, columns: int | None, scale: int) -> str:
        """Write (N, C, H, W) or (N, T, C, H, W); returns where, in words."""
        from zoo.images import to_bytes

        samples = to_bytes(samples, levels)
        if not self.each:
            self._write_one(samples, self.path, columns, scale, padding=2)
            return str(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for index, one in enumerate(samples, self.start):
            self._write_one(one.unsqueeze(0), self.file(index), 1, scale, padding=0)
        return str(self.path.parent / self.path.name.replace("{}", "*"))

    def _write_one(self, samples: torch.Tensor, path: Path, columns: int | None, scale: int, padding: int) -> None:
        from zoo.images import grid, write_image

        if self.is_video:
            frames = [grid(samples[:, t], columns, padding=padding) for t in range(samples.shape[1])]
            write_clip(frames, path, scale=scale)
        else:
            write_image(grid(samples, columns, padding=padding), path, scale=scale)


def write_clip(frames: list[torch.Tensor], path: Path, *, scale: int = 1) -> None:
    """Write frames (C, H, W), uint8, as an endless animation; whole or not at all."""
    from PIL import Image

    from zoo.images import to_pil

    pictures = [to_pil(frame) for frame in frames]
    size = (pictures[0].width * scale, pictures[0].height * scale)
    pictures = [picture.resize(size, Image.Resampling.NEAREST) for picture in pictures]
    handle, part = tempfile.mkstemp(suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        pictures[0].save(part, save_all=True, append_images=pictures[1:], duration=FRAME_MILLISECONDS, loop=0)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except OSError as error:
        raise OptionError(f"can't write '{path}': {error.strerror or error}") from None
    finally:
        Path(part).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
