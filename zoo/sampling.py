"""Sampling on every path: splits into batches, makes the noise, picks autocast, calls `zoo_sample`, returns uint8.

Sample i of seed s has a generator of its own, derived from (s, i) and drawn on the CPU. So it is the same picture in
any batch, process and device (up to rounding).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Protocol

import torch

from zoo.errors import OptionError, PluginError, told, unknown
from zoo.precision import check_precision
from zoo.precision import precision as computing
from zoo.progress import reporting
from zoo.request import SampleRequest, for_batches
from zoo.spec import INPUTS, ModelSpec, Option


class Sampled(Protocol):
    """What sampling needs of a `zoo.Model`."""

    spec: ModelSpec
    image_shape: tuple[int, int, int]
    levels: int
    frames: int
    class_names: tuple[str, ...]
    label_classes: int | None
    input_classes: Mapping[str, int]
    least_frames: int
    sample_batch_size: ClassVar[int]
    training: bool

    @property
    def device(self) -> torch.device: ...

    def train(self, mode: bool = True) -> Any: ...

    def check_options(self, options: Mapping[str, Any]) -> None: ...

    def input_shape(self, option: Option) -> tuple[int | None, ...]: ...

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]: ...

    def latent_of(self, request: SampleRequest) -> torch.Tensor: ...

    def draw_batch(self, request: SampleRequest) -> Any:
        """One batch, as the plugin's `zoo_sample` gives it."""

    def draw_stages(self, request: SampleRequest) -> torch.Tensor:
        """One batch while it is drawn."""


@contextmanager
def evaluating(model: Sampled) -> Iterator[None]:
    """The model in evaluation mode while the block runs."""
    was_training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was_training)


def sample(
    model: Sampled,
    n: int | None = None,
    *,
    seed: int = 0,
    start: int = 0,
    frames: int | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    progress: Callable[[float], None] | bool | None = None,
    stages: bool = False,
    **options: Any,
) -> torch.Tensor:
    """What `model.sample` does, or with `stages` what `model.stages` does; see `zoo.Model`."""
    n = _count(model, options) if n is None else n
    n, seed, start = check_integer("n", n, 0), check_integer("seed", seed, 0), check_integer("start", start, 0)
    batch_size = None if batch_size is None else check_integer("batch_size", batch_size, 1)
    check_precision(precision)
    size = batch_size or model.sample_batch_size
    checked = _check_options(model, n, options)
    frames = _frames(model, frames, checked)
    batches = []
    kept: dict[Any, Any] = {}
    with evaluating(model), reporting(progress, f"sampling {model.spec.name}") as report:
        for first, given in zip(range(0, n, size), for_batches(checked, -(-n // size)), strict=True):
            rows = range(first, min(first + size, n))
            request = SampleRequest(
                seed=seed,
                indices=range(start + rows.start, start + rows.stop),
                device=model.device,
                options={name: _slice(model, name, value, rows) for name, value in given.items()},
                progress=_share(report, rows, n),
                frames=frames,
                kept=kept,
            )
            with torch.no_grad(), computing(precision, model.device):
                if stages:
                    batches.append(model.draw_stages(request).cpu())
                else:
                    images = model.draw_batch(request)
                    if isinstance(images, Iterator):
                        images = _stacked(images, frames)
                    batches.append(_check_samples(model, images, request.n).cpu())
            request.progress(1.0)
    if not batches:
        axes = (0, *([frames or 0] if model.spec.is_video or stages else []), *model.image_shape)
        return torch.zeros(axes, dtype=torch.uint8 if model.levels <= 256 else torch.int64, device="cpu")
    return torch.cat(batches)


def stream(
    model: Sampled,
    n: int | None = None,
    *,
    seed: int = 0,
    start: int = 0,
    frames: int | None = None,
    precision: str = "fp32",
    **options: Any,
) -> Iterator[torch.Tensor]:
    """What `model.stream` does; see `zoo.Model.stream`."""
    if not model.spec.is_video:
        raise OptionError(f"{model.spec.name} draws pictures, which have no frames to stream")
    check_precision(precision)
    return _streamed(model, request_for(model, n, seed=seed, start=start, frames=frames, options=options), precision)


def request_for(
    model: Sampled,
    n: int | None,
    *,
    seed: int = 0,
    start: int = 0,
    frames: int | None = None,
    options: Mapping[str, Any],
) -> SampleRequest:
    """A request for n clips in one batch, with options as the user gives them; arguments and errors as of `stream`."""
    n = _count(model, options) if n is None else n
    n, seed, start = check_integer("n", n, 1), check_integer("seed", seed, 0), check_integer("start", start, 0)
    checked = _check_options(model, n, dict(options))
    return SampleRequest(
        seed=seed,
        indices=range(start, start + n),
        device=model.device,
        options={name: _slice(model, name, value, range(n)) for name, value in checked.items()},
        frames=None if frames is None else check_integer("frames", frames, 1),
    )


def draw_z(model: Sampled, n: int, *, seed: int = 0, start: int = 0, frames: int | None = None) -> torch.Tensor:
    """What `model.draw_z` does; see `zoo.Model.draw_z`."""
    request = request_for(model, n, seed=seed, start=start, frames=_frames(model, frames, {}), options={})
    with evaluating(model), torch.no_grad(), computing("fp32", model.device):
        return model.latent_of(request)


def _streamed(model: Sampled, request: SampleRequest, precision: str) -> Iterator[torch.Tensor]:
    """Frame by frame, each in the mode and the precision of sampling, and nothing of that in between."""
    drawn: Iterator[Any] | None = None
    for number in itertools.count():
        if request.frames is not None and number >= request.frames:
            return
        with evaluating(model), torch.no_grad(), computing(precision, model.device):
            if drawn is None:
                answer = model.draw_batch(request)
                whole = isinstance(answer, torch.Tensor)
                drawn = iter(_check_samples(model, answer, request.n).unbind(1)) if whole else answer
            frame = next(drawn, None)
        if frame is None:
            return
        yield _check_samples(model, frame.unsqueeze(1), request.n)[:, 0].cpu()


def _frames(model: Sampled, frames: int | None, options: Mapping[str, Any]) -> int | None:
    """How many frames a clip is to have: those of the clip or the latents that it is drawn from, or the model's own."""
    if frames is not None and not model.spec.is_video:
        raise OptionError(f"{model.spec.name} draws pictures, which have no frames")
    driving = [o.name for o in model.spec.sample_options if o.type == "video" and o.shape is not None]
    driving += [name for name, shapes in model.latent_shapes.items() if all(shape[0] is None for shape in shapes)]
    lengths = [options[name].shape[1] for name in driving if isinstance(options.get(name), torch.Tensor)]
    return min(lengths, default=model.frames or None) if frames is None else check_integer("frames", frames, 1)


def _stacked(drawn: Iterator[torch.Tensor], frames: int | None) -> torch.Tensor | None:
    """Frames (N, C, H, W) that a plugin yields as clips (N, T, C, H, W)."""
    parts = list(itertools.islice(drawn, frames))
    return torch.stack(parts, 1) if parts else None


def check_integer(name: str, value: Any, least: int) -> int:
    """An integer of Python, NumPy or torch as one of Python, as seeds are derived from its text; else OptionError."""
    with suppress(TypeError, ValueError):
        if not isinstance(value, bool) and operator.index(value) >= least:
            return operator.index(value)
    raise OptionError(f"{name} takes an integer of at least {least}, not {told(value)}")


def _share(progress: Callable[[float], None] | None, rows: range, n: int) -> Callable[[float], None]:
    return (lambda share: progress((rows.start + share * len(rows)) / n)) if progress else lambda share: None


def _option(model: Sampled, name: str) -> Option:
    return next(option for option in model.spec.sample_options if option.name == name)


def _count(model: Sampled, options: Mapping[str, Any]) -> int:
    """How many samples the options are for: as many as one of them has values; 1 if none has several."""
    names = {option.name for option in model.spec.sample_options if option.per_sample}
    return max([1, *(_length(value) for name, value in options.items() if name in names)])


def _length(value: Any) -> int:
    """How many values there are; a text, or a tensor without axes, is one."""
    if isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "shape", None) == ():
        return 1
    return len(value)


def _check_options(model: Sampled, n: int, options: dict[str, Any]) -> dict[str, Any]:
    """Options checked against the spec; per-sample ones must be one value, or n of them."""
    known = {option.name: option for option in model.spec.sample_options}
    checked = model.spec.parse_options(dict.fromkeys(options))  # all names are known, and have their defaults
    for name, value in options.items():
        option = known[name]
        if getattr(value, "ndim", 1) == 0 and option.type not in INPUTS:
            value = value.item()  # a number of NumPy or torch
        if value is None:
            continue
        if name in model.latent_shapes:
            value = _latents(model, name, value)
        elif option.type in INPUTS and not _is_input(option, value):
            raise OptionError(f"option '{name}' takes {option.describe()}, not {told(value)}")
        if option.per_sample and hasattr(value, "__len__") and not isinstance(value, str):
            if len(value) not in (1, n):
                wanted = f"one value, or one for each of the {n} samples"
                raise OptionError(f"option '{name}' needs {wanted}, not {len(value)}")
            if option.type not in INPUTS:
                value = [_parsed(option, item) for item in (value.tolist() if hasattr(value, "tolist") else value)]
        elif option.type not in INPUTS:
            value = option.parse(value)
        checked[name] = _of_model(model, option, value)
    model.check_options(checked)
    return checked


def _is_input(option: Option, value: Any) -> bool:
    """Whether a value is a tensor with axes, or of what has frames an iterator of them."""
    if isinstance(value, Iterator):
        return option.type != "image"
    return isinstance(value, torch.Tensor) and value.ndim > 0


def _parsed(option: Option, item: Any) -> Any:
    """One of several values of an option, which may not be None."""
    if item is None:
        raise OptionError(f"option '{option.name}' takes {option.describe()}, and one of its values is None")
    return option.parse(item)


def _of_model(model: Sampled, option: Option, value: Any) -> Any:
    """A checked value as this model takes it: names of classes as their numbers, inputs of the right shape."""
    if option.type == "label":
        many = isinstance(value, list)
        return [_class(model, option, item) for item in value] if many else _class(model, option, value)
    if isinstance(value, torch.Tensor) and (option.shape is not None or option.type == "video"):
        _check_input(option, value, model.input_shape(option))
        check_classes(model, option.name, value)
        if option.type == "video" and option.shape is not None and value.shape[1] < (least := model.least_frames):
            window = f"{model.spec.name} draws from windows of {least}" if least > 1 else "it needs one at least"
            raise OptionError(f"option '{option.name}' has {value.shape[1]} frames, but {window}")
    return value


def check_classes(model: Sampled, name: str, value: torch.Tensor) -> None:
    """Raise OptionError for a label map, an input of this name, that has a number that is no class."""
    classes = model.input_classes.get(name)
    if classes and value.numel() and (most := int(value.max())) >= classes:
        raise OptionError(f"option '{name}' has the value {most}, but its classes are 0 to {classes - 1}")


def _latents(model: Sampled, name: str, value: Any) -> torch.Tensor:
    """Latents as float32; raises OptionError for another shape than the model's, or numbers that are not finite."""
    shapes = model.latent_shapes[name]
    texts = ["(" + ", ".join(["N", *("T" if size is None else str(size) for size in shape)]) + ")" for shape in shapes]
    wanted = f"option '{name}' takes {' or '.join(texts)}, float32, as model.draw_z gives z"
    try:
        latents = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(f"{wanted}, not {type(value).__name__}") from None
    own = tuple(latents.shape[1:])
    fits = (len(s) == len(own) and all(b if a is None else a == b for a, b in zip(s, own, strict=True)) for s in shapes)
    if not latents.dtype.is_floating_point or not any(fits):
        raise OptionError(f"{wanted}, not {latents.dtype} {tuple(latents.shape)}")
    if not (latents := latents.detach().float()).isfinite().all():
        raise OptionError(f"option '{name}' has numbers that are not finite")
    return latents


def _check_input(option: Option, value: torch.Tensor, shape: tuple[int | None, ...]) -> None:
    """Raise OptionError unless an input is uint8 of this shape, for each sample if it may differ between them."""
    own = tuple(value.shape[1:] if option.per_sample else value.shape)
    fits = all(want in (None, have) for want, have in zip(shape, own, strict=False))
    if fits and len(own) == len(shape) and value.dtype == torch.uint8:
        return
    axes = ", ".join("T" if size is None else str(size) for size in shape)
    wanted = f"uint8 ({'N, ' if option.per_sample else ''}{axes})"
    raise OptionError(f"option '{option.name}' takes {wanted}, not {value.dtype} {tuple(value.shape)}")


def _class(model: Sampled, option: Option, value: Any) -> Any:
    """The number of a class; raises OptionError for one that the model does not have."""
    if not isinstance(value, str):
        if (classes := model.label_classes) and value >= classes:
            raise OptionError(f"option '{option.name}' takes an integer from 0 to {classes - 1}, not {value}")
        return value
    if value in model.class_names:
        return model.class_names.index(value)
    if model.class_names:
        raise unknown("class", value, model.class_names)
    mend = "the classes of these weights have no names; take a number"
    raise OptionError(f"option '{option.name}': {mend}, not {value!r}")


def _slice(model: Sampled, name: str, value: Any, rows: range) -> Any:
    """The rows of a per-sample option; one value stands for all."""
    if value is None or not _option(model, name).per_sample:
        return value
    if not isinstance(value, list | torch.Tensor):
        return [value] * len(rows)
    if len(value) == 1:
        return [value[0]] * len(rows) if isinstance(value, list) else value.expand(len(rows), *value.shape[1:])
    return value[rows.start : rows.stop]


def _check_samples(model: Sampled, images: Any, n: int) -> torch.Tensor:
    """A plugin's answer: integers with the axes that the spec promises."""
    rank = 1 + len(model.spec.data_shape)
    if not isinstance(images, torch.Tensor) or images.ndim != rank or len(images) != n:
        found = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        axes = ", ".join(("N", *model.spec.data_shape))
        raise PluginError(f"zoo_sample of '{model.spec.name}' must return ({axes}) with N={n}, not {found}")
    if images.dtype not in (torch.uint8, torch.int64):
        raise PluginError(f"zoo_sample of '{model.spec.name}' must return uint8 (or int64 codes), not {images.dtype}")
    return images
