"""`config.json` of a weights folder: read with suspicion. Free of torch.

It says which model the tensors belong to, how that is constructed, where they came from, and the sha256 of
`model.safetensors`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import WeightsError, one_line
from zoo.spec import RESERVED, SHA256

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1
STORAGE = ("float32", "float16", "bfloat16")
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
CONFIG_LIMIT = 2**20  # bytes
SHAPE_LIMIT = 2**28  # sub-pixels of one sample
_REQUIRED = {"format": int, "model": str, "config": dict, "plugin": dict, "zoo_version": str, "dtype": str}
_REQUIRED["weights"] = dict
_OPTIONAL = {"data": str, "training": dict, "metrics": list, "licence": str, "base_model": str, "golden": dict}
_OPTIONAL["classes"] = list


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


def read_config(folder: str | Path) -> WeightsConfig:
    """The config of a weights folder.

    Raises:
        WeightsError: there is none, or it is damaged, of a later format, or has unknown keys or values of a wrong type.
    """
    folder = Path(folder).expanduser()
    path = regular_file(folder, CONFIG)
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_LIMIT + 1)
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}") from None
    if len(content) > CONFIG_LIMIT:
        raise DamagedError(f"'{path}' is larger than {CONFIG_LIMIT} bytes; that is no config of pixelzoo")
    return parse_config(content, str(path))


def strict_json(content: bytes, where: str) -> Any:
    """JSON of which no two readers make different things; `where` names it in errors (DamagedError)."""
    try:
        return json.loads(
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


def parse_config(content: bytes, where: str = CONFIG) -> WeightsConfig:
    """The text of a `config.json`, checked; `where` names it in errors (WeightsError)."""
    raw = strict_json(content, where)
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


def is_a(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def mismatch(where: str, value: Any, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> str:
    """What keeps a value from being an object of these keys, of these types; empty if nothing does."""
    if not isinstance(value, dict):
        return f"{where} must be an object, not {value!r:.60}"
    known = {**required, **(optional or {})}
    for key in value:
        if key not in known:
            return f"unknown key {key!r:.60} in {where}"
    for key in required:
        if key not in value:
            return f"key '{key}' is missing in {where}"
    for key, item in value.items():
        kind = known[key]
        if not is_a(item, kind):
            names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
            return f"'{key}' in {where} must be of type {names.replace('NoneType', 'null')}, not {item!r:.60}"
    return ""


def wrong_format(raw: Any, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> str:
    """`mismatch` of a whole file, whose format must be ours; that of a later version may have other keys."""
    if isinstance(raw, dict) and is_a(raw.get("format"), int) and raw["format"] > FORMAT:
        return f"it has format {raw['format']}, which is later than {FORMAT}; update pixelzoo"
    problem = mismatch("it", raw, required, optional)
    return problem or ("" if raw["format"] == FORMAT else f"format must be {FORMAT}")


def _problem(raw: Any) -> str | None:
    """What is wrong with a parsed config, or None."""
    if problem := wrong_format(raw, _REQUIRED, _OPTIONAL):
        return problem
    if raw["dtype"] not in STORAGE:
        return f"dtype must be one of {', '.join(STORAGE)}, not {raw['dtype']!r:.40}"
    plugin, weights, golden = raw["plugin"], raw["weights"], raw.get("golden")
    if set(plugin) != {"distribution", "version"} or not all(isinstance(value, str) for value in plugin.values()):
        return "'plugin' must hold the texts 'distribution' and 'version'"
    digest, size = weights.get("sha256"), weights.get("size")
    if len(weights) != 2 or not (is_a(digest, str) and SHA256.fullmatch(digest)) or not (is_a(size, int) and size > 0):
        return "'weights' must hold a 'sha256' and a 'size'"
    for receipt in raw.get("metrics", ()):
        needed = {"name": str, "value": (int, float), "data": str, "split": str, "count": int}
        if not isinstance(receipt, dict) or not all(is_a(receipt.get(k), t) for k, t in needed.items()):
            return f"every metric must have {', '.join(needed)}"
    if not all(isinstance(name, str) and name for name in raw.get("classes", ())):
        return "'classes' must hold the names of classes"
    return None if golden is None else _golden_problem(golden)


def _golden_problem(golden: dict[str, Any]) -> str | None:
    needed = {"seed": int, "options": dict, "shape": list, "pixels": str}
    if set(golden) - {"examples"} != set(needed) or not all(is_a(golden[key], kind) for key, kind in needed.items()):
        return f"'golden' must hold {', '.join(needed)}"
    if clash := sorted(set(golden["options"]) & set(RESERVED)):
        return f"'golden' has an option {clash[0]!r}, which is no option of a model"
    shape = golden["shape"]
    if len(shape) > 5 or not all(is_a(n, int) and n > 0 for n in shape) or math.prod(shape) > SHAPE_LIMIT:
        return "the shape of 'golden' makes no sense"
    return None


def regular_file(folder: Path, name: str) -> Path:
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


def is_pointer(path: Path) -> bool:
    """Whether git put a pointer in place of a large file."""
    return path.stat().st_size < 1024 and path.read_bytes().startswith(b"version https://git-lfs")
