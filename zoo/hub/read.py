"""The weights folder: `config.json`, `model.safetensors`, `README.md` and samples; written whole, verified before use.

Nothing in a folder is trusted: no code is run, no pickle is read, and no memory is allocated for
tensors before their names, shapes and types agree with the model that the config describes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch.nn.modules import module as hooks

from zoo import building, registry
from zoo.device import pick_device
from zoo.errors import PluginError, UnknownNameError, WeightsError, ZooError, one_line
from zoo.files import digest
from zoo.hub.config import (
    SHAPE_LIMIT,
    TENSORS,
    DamagedError,
    WeightsConfig,
    is_a,
    is_pointer,
    read_config,
    regular_file,
)
from zoo.meta import on_meta
from zoo.model import Model
from zoo.plugins import DISTRIBUTION
from zoo.spec import ModelSpec, Weights

_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_INTEGERS = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
_DTYPES = _FLOATS | _INTEGERS | {"BOOL": torch.bool, "C64": torch.complex64}
FETCH = "; it is damaged or of another version: fetch it again"
Header = dict[str, tuple[tuple[int, ...], torch.dtype | str]]


# Verifying and loading


def load_folder(
    folder: str | Path, *, expect: ModelSpec | None = None, pin: Weights | None = None, device: str = "cpu"
) -> Model:
    """The model in a weights folder, in evaluation mode.

    Args:
        folder: with `config.json` and `model.safetensors`.
        expect: the model that it must be.
        pin: sha256 and size that `model.safetensors` must have, besides those in the config.
        device: "cpu", "cuda", or "auto" for CUDA where there is a device.

    Raises:
        WeightsError: anything missing, damaged, or not made for this model; or tensors that another process replaces
            meanwhile.
        OptionError: no such device.
    """
    target = pick_device(device)
    folder = Path(folder).expanduser()
    before = _identity(folder / TENSORS)
    config, path = verify(folder, pin)
    if expect is not None and config.model != expect.name:
        raise WeightsError(one_line(f"'{folder}': these are weights of '{config.model}', not of '{expect.name}'"))
    spec = spec_of(config, folder)
    config = replace(config, config=building.without_recipe(spec, config.config))
    compare(folder, spec, config, _header(path))
    try:
        with torch.random.fork_rng(devices=[]), usual_defaults("cpu"):
            model = building.build_from_config(spec, config.config)
            model.load_state_dict(load_file(path), strict=True)
        if _identity(path) != before:  # what was loaded is not what was verified
            raise WeightsError(f"'{path}' was replaced while it was loaded; load it again")
        model.class_names = tuple(config.raw.get("classes", ()))
        model.weights_sha256 = config.sha256
        return model.to(target).eval()
    except (RuntimeError, MemoryError, SafetensorError, OSError) as error:
        raise WeightsError(f"can't load '{path}': {one_line(error)}") from error


@contextmanager
def usual_defaults(device: str) -> Iterator[None]:
    """New tensors are float32 and on this device, whatever `torch.set_default_dtype` and `set_default_device` said."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def verify(folder: Path, pin: Weights | None = None) -> tuple[WeightsConfig, Path]:
    """The config and the tensor file of a folder, whose size and sha256 are what the config and the pin say.

    Raises:
        WeightsError: they are not, or something is missing.
    """
    config = read_config(folder)
    path = regular_file(folder, TENSORS)
    claims = [("the config", config.size, config.sha256)]
    if pin is not None:
        claims.insert(0, ("the pin", pin.size, pin.sha256))
    try:
        size = path.stat().st_size
        for who, expected, _ in claims:
            if size != expected:
                hint = "; it is a Git LFS pointer: run 'git lfs pull'" if is_pointer(path) else ""
                raise DamagedError(f"'{path}' has {size} bytes, but {who} says {expected}{hint or FETCH}")
        found = digest(path)
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}") from None
    for who, _, expected_digest in claims:
        if found != expected_digest:
            raise DamagedError(f"'{path}' has sha256 {found[:12]}..., but {who} says {expected_digest[:12]}...{FETCH}")
    return config, path


def _identity(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced or written; None of a file that is not there."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def spec_of(config: WeightsConfig, folder: Path) -> ModelSpec:
    """The registered model that a config names; without its plugin, a WeightsError that names the distribution."""
    try:
        return registry.model_spec(config.model)
    except UnknownNameError as error:
        source = f"{config.distribution} {config.version}"
        mend = "update pixelzoo" if config.distribution == DISTRIBUTION else "install that if you trust it"
        raise WeightsError(one_line(f"'{folder}': {error}; it was saved with {source}: {mend}")) from None


def _header(path: Path) -> Header:
    """Name -> (shape, dtype) of all tensors of a file, without reading them."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return {n: (tuple(s.get_shape()), _DTYPES.get(s.get_dtype(), s.get_dtype())) for n, s in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(f"'{path}' is no safetensors file: {one_line(error)}") from None


def compare(folder: Path, spec: ModelSpec, config: WeightsConfig, found: Header) -> None:
    """Names, shapes and types of a file's tensors against the model on the meta device, which takes no memory.

    Raises:
        WeightsError: they are not those of the model that the config describes, or it describes none.
    """
    for name, value in config.config.items():
        # A fully convolutional model has the same tensors for pictures of any size.
        is_shape = name.endswith("shape") and isinstance(value, list) and all(is_a(n, int) for n in value)
        if is_shape and math.prod(value) > SHAPE_LIMIT:
            raise WeightsError(f"'{folder}': '{name}' of {one_line(value, 60)} is too large")
    try:
        with usual_defaults("cpu"), on_meta(), _bounded(found):
            wanted = building.build_from_config(spec, config.config).state_dict()
    except PluginError:
        raise
    except Exception as error:  # a constructor may fail in any way on arguments it was not written for
        kind = "" if isinstance(error, ZooError | _TooLargeError) else f"{type(error).__name__}: "
        text = f"'{folder}': the config does not fit {spec.name}: {kind}{error}"
        raise WeightsError(one_line(text)) from error
    storage = getattr(torch, config.dtype)
    types = {name: storage if tensor.is_floating_point() else tensor.dtype for name, tensor in wanted.items()}
    wrong = [
        f"{name} is {_describe(*found[name])}, not {_describe(tuple(tensor.shape), types[name])}"
        for name, tensor in wanted.items()
        if name in found and found[name] != (tuple(tensor.shape), types[name])
    ]
    problems = [
        _some("missing", [name for name in wanted if name not in found]),
        _some("unexpected", [name for name in found if name not in wanted]),
        _some("mismatched", wrong),
    ]
    if any(problems):
        text = "; ".join(problem for problem in problems if problem)
        raise WeightsError(one_line(f"'{folder}': the tensors are not those of this {spec.name}: {text}"))


def _describe(shape: tuple[int, ...], dtype: torch.dtype | str) -> str:
    return f"{shape} {str(dtype).removeprefix('torch.')}"


def _some(what: str, items: list[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return f"{what} {', '.join(one_line(item, 90) for item in items[:3])}{more}" if items else ""


class _TooLargeError(Exception):
    pass


@contextmanager
def _bounded(header: Header) -> Iterator[None]:
    """Stop a constructor as soon as it registers far more than the file holds.

    The margin is for what is registered twice (tied or reparametrised weights) and for buffers that are not stored.
    """
    elements = 4 * sum(math.prod(shape) for shape, _ in header.values()) + 2**22
    registrations = 10 * len(header) + 1000
    thread = threading.get_ident()

    def spend(module: Any, name: str, value: Any) -> None:
        nonlocal elements, registrations
        if threading.get_ident() != thread:
            return
        elements -= value.numel() if isinstance(value, torch.Tensor) else 0
        registrations -= 1
        if elements < 0 or registrations < 0:
            raise _TooLargeError("it describes a far larger model than the file holds")

    handles = [
        hooks.register_module_parameter_registration_hook(spend),
        hooks.register_module_buffer_registration_hook(spend),
        hooks.register_module_module_registration_hook(spend),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
