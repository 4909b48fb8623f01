"""The weights folder: `config.json`, `model.safetensors`, `README.md` and samples; written whole, verified before use.

`config.json` says which model the tensors belong to, how it is constructed, where it came from, and the sha256 of
`model.safetensors`. Nothing in a folder is trusted: no code is run, no pickle is read, and no memory is allocated for
tensors before their names, shapes and types agree with the model that the config describes.
"""

from __future__ import annotations

import base64
import copy
import json
import math
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.nn.modules import module as hooks

from zoo import __version__, building, registry
from zoo.errors import OptionError, PluginError, UnknownNameError, WeightsError, ZooError
from zoo.model import Model
from zoo.plugins import DISTRIBUTION
from zoo.spec import SHA256, ModelSpec, Weights

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1
STORAGE = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
CONFIG_LIMIT = 2**20  # bytes
GOLDEN_LIMIT = 2**19  # characters; larger samples are left out
SHAPE_LIMIT = 2**28  # sub-pixels of one sample
_REQUIRED = {"format": int, "model": str, "config": dict, "plugin": dict, "zoo_version": str, "dtype": str}
_REQUIRED["weights"] = dict
_OPTIONAL = {"data": str, "training": dict, "metrics": list, "licence": str, "golden": dict}
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_INTEGERS = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
_DTYPES = _FLOATS | _INTEGERS | {"BOOL": torch.bool, "C64": torch.complex64}
Header = dict[str, tuple[tuple[int, ...], torch.dtype | str]]


class DamagedError(WeightsError):
    """The files themselves are broken or not the ones that were published; a fresh copy may mend it."""


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """`config.json`, checked; `raw` is the whole of it as JSON objects."""

    model: str
    config: dict[str, Any]
    distribution: str
    version: str
    dtype: str
    sha256: str
    size: int
    golden: dict[str, Any] | None
    raw: dict[str, Any]


def one_line(text: object, limit: int = 400) -> str:
    """`text` on one line, without control characters; it may come from a hostile file."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


# Reading the config


def read_config(folder: str | Path) -> WeightsConfig:
    """The config of a weights folder.

    Raises:
        WeightsError: there is none, or it is damaged, of a later format, or has unknown keys or values of a wrong type.
    """
    folder = Path(folder).expanduser()
    path = _regular_file(folder, CONFIG)
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_LIMIT + 1)
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}") from None
    if len(content) > CONFIG_LIMIT:
        raise DamagedError(f"'{path}' is larger than {CONFIG_LIMIT} bytes; that is no config of pixelzoo")
    return parse_config(content, str(path))


def parse_config(content: bytes, where: str = CONFIG) -> WeightsConfig:
    """The text of a `config.json`, checked; `where` names it in errors (WeightsError)."""
    try:
        raw = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except RecursionError:
        raise DamagedError(f"'{where}' is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise DamagedError(f"'{where}' is no proper JSON: {one_line(error)}") from None
    if problem := _problem(raw):
        raise DamagedError(f"'{where}' is no config of pixelzoo: {one_line(problem)}")
    return WeightsConfig(
        model=raw["model"],
        config=raw["config"],
        distribution=raw["plugin"]["distribution"],
        version=raw["plugin"]["version"],
        dtype=raw["dtype"],
        sha256=raw["weights"]["sha256"],
        size=raw["weights"]["size"],
        golden=raw.get("golden"),
        raw=raw,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > 19:
        raise ValueError(f"{text:.40} is too large")
    return int(text)


def _problem(raw: Any) -> str | None:
    """What is wrong with a parsed config, or None."""
    if not isinstance(raw, dict):
        return f"it holds a {type(raw).__name__}, not an object"
    if isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
        return f"it has format {raw['format']}, which is later than {FORMAT}; update pixelzoo"
    known = {**_REQUIRED, **_OPTIONAL}
    for key in raw:
        if key not in known:
            return f"unknown key {key!r:.60}"
    for key in _REQUIRED:
        if key not in raw:
            return f"key '{key}' is missing"
    for key, value in raw.items():
        if not _is(value, known[key]):
            return f"'{key}' must be of type {known[key].__name__}, not {type(value).__name__}"
    if raw["format"] != FORMAT:
        return f"format must be {FORMAT}"
    if raw["dtype"] not in STORAGE:
        return f"dtype must be one of {', '.join(STORAGE)}, not {raw['dtype']!r:.40}"
    plugin, weights, golden = raw["plugin"], raw["weights"], raw.get("golden")
    if set(plugin) != {"distribution", "version"} or not all(isinstance(value, str) for value in plugin.values()):
        return "'plugin' must hold the texts 'distribution' and 'version'"
    digest, size = weights.get("sha256"), weights.get("size")
    if len(weights) != 2 or not (_is(digest, str) and SHA256.fullmatch(digest)) or not (_is(size, int) and size > 0):
        return "'weights' must hold a 'sha256' and a 'size'"
    for receipt in raw.get("metrics", ()):
        needed = {"name": str, "value": (int, float), "data": str, "split": str, "count": int}
        if not isinstance(receipt, dict) or not all(_is(receipt.get(k), t) for k, t in needed.items()):
            return f"every metric must have {', '.join(needed)}"
    return None if golden is None else _golden_problem(golden)


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _golden_problem(golden: dict[str, Any]) -> str | None:
    needed = {"seed": int, "options": dict, "shape": list, "pixels": str}
    if set(golden) != set(needed) or not all(_is(golden[key], kind) for key, kind in needed.items()):
        return f"'golden' must hold {', '.join(needed)}"
    shape = golden["shape"]
    if len(shape) > 5 or not all(_is(n, int) and n > 0 for n in shape) or math.prod(shape) > SHAPE_LIMIT:
        return "the shape of 'golden' makes no sense"
    return None


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
    spec = _spec(config, folder)
    _compare(folder, spec, config, _header(path))
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
    path = _regular_file(folder, TENSORS)
    claims = [("the config", config.size, config.sha256)]
    if pin is not None:
        claims.insert(0, ("the pin", pin.size, pin.sha256))
    try:
        size = path.stat().st_size
        for who, expected, _ in claims:
            if size != expected:
                hint = "; it is a Git LFS pointer: run 'git lfs pull'" if _is_pointer(path, size) else ""
                raise DamagedError(f"'{path}' has {size} bytes, but {who} says {expected}{hint}")
        found = digest(path)
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}") from None
    for who, _, expected_digest in claims:
        if found != expected_digest:
            raise DamagedError(f"'{path}' has sha256 {found[:12]}..., but {who} says {expected_digest[:12]}...")
    return config, path


def digest(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _is_pointer(path: Path, size: int) -> bool:
    return size < 1024 and path.read_bytes().startswith(b"version https://git-lfs")


def _regular_file(folder: Path, name: str) -> Path:
    """The path of a file of the folder; no link leads out of it, except in the Hub's cache, which is made of them."""
    path = folder / name
    try:
        there, names = path.is_file(), [file.name for file in folder.iterdir()]
    except OSError as error:
        raise WeightsError(f"can't read the weights folder '{folder}': {error.strerror or error}") from None
    if not there:
        pickles = sorted(name for name in names if Path(name).suffix in PICKLES)
        if name == TENSORS and pickles:
            raise WeightsError(
                f"there is no {TENSORS} in '{folder}', only {one_line(', '.join(pickles[:3]))}; pickles are refused, "
                "they can run any code; ask for safetensors"
            )
        raise DamagedError(f"there is no {name} in '{folder}'; a weights folder has {CONFIG} and {TENSORS}")
    if path.is_symlink() and folder.parent.name != "snapshots":
        target = path.resolve()
        if not target.is_relative_to(folder.resolve()):
            raise WeightsError(f"'{path}' is a link out of its folder, which is refused; put the file itself there")
    return path


def _spec(config: WeightsConfig, folder: Path) -> ModelSpec:
    """The registered model that a config names."""
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


def _compare(folder: Path, spec: ModelSpec, config: WeightsConfig, found: Header) -> None:
    """Names, shapes and types of a file's tensors against the model on the meta device, which takes no memory."""
    for name, value in config.config.items():
        # A fully convolutional model has the same tensors for pictures of any size.
        is_shape = name.endswith("shape") and isinstance(value, list) and all(_is(n, int) for n in value)
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
    storage = STORAGE[config.dtype]
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
    dtype: str = "float32",
    golden: bool = True,
    card: Callable[[dict[str, Any]], str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model as a weights folder, or nothing: all files are complete on disk before the first takes its name,
    and `config.json`, without which nothing loads, comes last.

    Args:
        data: what the model was trained on.
        training: receipt of the run (examples, minutes, device, seed, ...).
        metrics: receipts with at least name, value, data, split and count.
        licence: of the weights.
        dtype: storage of floating tensors, "float32", "float16" or "bfloat16".
        golden: store a sample by which a later check knows the model again.
        card: makes the text of README.md from the config.
        files: more files, by name.

    Raises:
        WeightsError: a full disk, a folder that can't be written, or what a config can't hold.
    """
    if dtype not in STORAGE:
        raise OptionError(f"dtype takes one of {', '.join(STORAGE)}, not {dtype!r}")
    folder = Path(folder).expanduser()
    tensors = _tensors(model, STORAGE[dtype])
    config = _new_config(model, dtype, data=data, training=training, licence=licence)
    if metrics:
        config["metrics"] = [dict(receipt) for receipt in metrics]
    if golden and (sample := _golden(model, tensors if dtype != "float32" else None)):
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
        for name, path in parts.items():
            os.replace(path, folder / name)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"can't write '{folder}': {one_line(getattr(error, 'strerror', None) or error)}") from None
    finally:
        with suppress(OSError):
            for path in parts.values():
                path.unlink(missing_ok=True)
            for path in made:  # empty unless all went well
                path.rmdir()
    return folder


def _new_config(model: Model, dtype: str, **optional: Any) -> dict[str, Any]:
    if not hasattr(model, "spec"):
        raise WeightsError("this model does not know its spec; make it with zoo.build or zoo.load")
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


# The golden sample


def _golden(model: Model, rounded: dict[str, torch.Tensor] | None) -> dict[str, Any] | None:
    """One sample of the model as it will be loaded; None if it needs inputs, is too large or has over 256 levels."""
    if rounded is not None:
        model = copy.deepcopy(model)
        model.load_state_dict(rounded)
    try:
        sample = model.sample(1, seed=0)
    except OptionError:
        return None
    pixels = base64.b64encode(zlib.compress(sample.contiguous().numpy().tobytes(), 9)).decode()
    if sample.dtype != torch.uint8 or len(pixels) > GOLDEN_LIMIT:
        return None
    return {"seed": 0, "options": {}, "shape": list(sample.shape), "pixels": pixels}


def check_golden(model: Model, golden: Mapping[str, Any]) -> tuple[bool, str]:
    """Draw the golden sample again and compare.

    Returns:
        Whether the mean difference is at most 2 % of the range of levels; and how many sub-pixels are equal, in words.
    """
    shape, size = tuple(golden["shape"]), math.prod(golden["shape"])
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(golden["pixels"], validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise DamagedError(f"the golden sample is damaged: {one_line(error)}") from None
    if len(content) != size:
        raise DamagedError("the golden sample is damaged: its pixels do not fill its shape")
    stored = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(shape)
    try:
        drawn = model.sample(1, seed=golden["seed"], **golden["options"])
    except ZooError as error:
        return False, f"the golden sample can't be drawn: {one_line(error)}"
    if drawn.shape != stored.shape:
        return False, f"the sample has shape {tuple(drawn.shape)}, not {shape}"
    difference = (drawn.long() - stored.long()).abs()
    equal = int((difference == 0).sum())
    limit = 0.02 * (getattr(model, "levels", 256) - 1)
    mean = float(difference.double().mean())
    return mean <= limit, f"{equal} of {size} sub-pixels are equal, mean difference {mean:.3g} levels"
