"""The weights folder: `config.json`, `model.safetensors`, `README.md` and samples; written whole, verified before use.

Nothing in a folder is trusted: no code is run, no pickle is read, and no memory is allocated for
tensors before their names, shapes and types agree with the model that the config describes.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.nn.modules import module as hooks

from zoo import __version__, building, registry
from zoo.errors import OptionError, PluginError, UnknownNameError, WeightsError, ZooError
from zoo.golden import draw_golden
from zoo.model import Model
from zoo.plugins import DISTRIBUTION
from zoo.spec import ModelSpec, Weights
from zoo.weights_config import (
    CARD,
    CONFIG,
    CONFIG_LIMIT,
    FORMAT,
    SHAPE_LIMIT,
    STORAGE,
    TENSORS,
    DamagedError,
    WeightsConfig,
    digest,
    is_a,
    is_pointer,
    one_line,
    parse_config,
    read_config,
    regular_file,
)

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
        WeightsError: anything missing, damaged, or not made for this model.
        OptionError: no such device.
    """
    target = pick_device(device)
    folder = Path(folder).expanduser()
    config, path = verify(folder, pin)
    if expect is not None and config.model != expect.name:
        raise WeightsError(one_line(f"'{folder}': these are weights of '{config.model}', not of '{expect.name}'"))
    spec = spec_of(config, folder)
    compare(folder, spec, config, _header(path))
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model = building.build_from_config(spec, config.config)
        model.load_state_dict(load_file(path), strict=True)
        return model.to(target).eval()
    except (RuntimeError, MemoryError, SafetensorError, OSError) as error:
        raise WeightsError(f"can't load '{path}': {one_line(error)}") from error


def pick_device(device: str) -> torch.device:
    """The device that a name stands for; raises OptionError."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        picked = torch.device(name)
    except RuntimeError:
        raise OptionError(f"device takes auto, cpu or cuda, not {device!r}") from None
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise OptionError("there is no CUDA device that torch can use; take device 'cpu'")
    return picked


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
        with torch.device("meta"), _bounded(found):
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


# Writing


def write_folder(
    model: Model,
    folder: str | Path,
    *,
    data: str | None = None,
    training: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    licence: str | None = None,
    base_model: str | None = None,
    dtype: str = "float32",
    golden: bool = True,
    card: Callable[[dict[str, Any]], str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model as a weights folder, or nothing: all files are complete on disk before the first takes its name,
    and `config.json`, without which nothing loads, comes last. Weights that the folder holds are replaced.

    Args:
        data: what the model was trained on.
        training: receipt of the run (examples, minutes, device, seed, ...).
        metrics: receipts with at least name, value, data, split and count.
        licence: of the weights.
        base_model: "owner/repo" of the weights that these were made from, if any.
        dtype: storage of floating tensors, "float32", "float16" or "bfloat16".
        golden: store a sample by which a later check knows the model again.
        card: makes the text of README.md from the config.
        files: more files, by name.

    Raises:
        WeightsError: a full disk, a folder that can't be written or has files of these names that are not of weights,
            or what a config can't hold.
    """
    if dtype not in STORAGE:
        raise OptionError(f"dtype takes one of {', '.join(STORAGE)}, not {dtype!r}")
    folder = Path(folder).expanduser()
    _check_target(folder, (TENSORS, CONFIG, *((CARD,) if card is not None else ()), *(files or {})))
    tensors = _tensors(model, getattr(torch, dtype))
    config = _new_config(model, dtype, data=data, training=training, licence=licence, base_model=base_model)
    if metrics:
        config["metrics"] = [dict(receipt) for receipt in metrics]
    if golden and (sample := draw_golden(model, tensors if dtype != "float32" else None)):
        config["golden"] = sample
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    parts: dict[str, Path] = {}

    def part(name: str) -> Path:
        return parts.setdefault(name, folder / f".{name}.{os.getpid()}.part")

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_tensors(tensors, part(TENSORS))
        config["weights"] = {"sha256": digest(part(TENSORS)), "size": part(TENSORS).stat().st_size}
        text = _dump(config)
        for name, content in (files or {}).items():
            _write(part(name), content)
        if card is not None:
            _write(part(CARD), card(config).encode())
        _write(part(CONFIG), text)
        for name in sorted(parts, key=lambda name: (name == CONFIG, name != CARD)):
            os.replace(parts[name], folder / name)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"can't write '{folder}': {one_line(getattr(error, 'strerror', None) or error)}") from None
    finally:
        with suppress(OSError):
            for path in parts.values():
                path.unlink(missing_ok=True)
            for path in made:  # empty unless all went well
                path.rmdir()
    return folder


def _check_target(folder: Path, names: Iterable[str]) -> None:
    """Raise WeightsError if files of these names would be overwritten that no zoo wrote: by its config or its card a
    folder of weights is known, even one that is damaged or was left half written."""
    for name, mark in ((CONFIG, b'"zoo_version"'), (CARD, b"library_name: pixelzoo")):
        with suppress(OSError):
            if mark in (folder / name).read_bytes():
                return
    if taken := [name for name in names if (folder / name).exists()]:
        text = f"'{folder}' is no weights folder, but has a file {taken[0]}, which would be overwritten; choose another"
        raise WeightsError(one_line(text))


def _new_config(model: Model, dtype: str, **optional: Any) -> dict[str, Any]:
    owner = registry.owner(model.spec)
    return {
        "format": FORMAT,
        "model": model.spec.name,
        "config": dict(model.config),
        "plugin": {"distribution": owner.distribution, "version": owner.version},
        "zoo_version": __version__,
        "dtype": dtype,
        **{key: value for key, value in optional.items() if value is not None},
    }


def _dump(config: dict[str, Any]) -> bytes:
    """The config as text that `parse_config` accepts."""
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the config can't be stored as JSON: {one_line(error)}") from None
    if len(text) > CONFIG_LIMIT:
        raise WeightsError(f"the config has {len(text)} bytes; at most {CONFIG_LIMIT} can be stored")
    parse_config(text)
    return text


def _tensors(model: Model, storage: torch.dtype) -> dict[str, torch.Tensor]:
    """The state of a model on the CPU, contiguous, no two tensors in one memory (safetensors refuses that)."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"the state '{name}' is a {type(value).__name__}; only tensors can be stored")
        tensor = value.detach().to("cpu", storage if value.is_floating_point() else value.dtype).contiguous()
        address = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return tensors


def _write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.touch()
    mode = path.stat().st_mode  # safetensors may replace the file by one that is private to the user
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(mode)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
