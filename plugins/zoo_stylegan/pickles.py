"""Checkpoints of other programs, read as data: nothing in them runs.

`torch.load(weights_only=True)` reads what `torch.save` wrote. StyleGAN2-ADA publishes plain pickles instead, which name
classes and functions. The unpickler here knows a fixed table of names and makes containers, numbers, tensors and
`Foreign` records. Whatever else a file asks for is refused by its name.
"""

from __future__ import annotations

import argparse
import io
import pickle
import pickletools
import re
import struct
import types
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from zoo.errors import WeightsError, one_line

OLDER = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2)  # what torch.save's older format begins with
PARTS = ("_modules", "_parameters", "_buffers")  # of a module
LIMIT, DEPTH = 100_000, 100  # of modules in one record, and of modules in modules


@dataclass(frozen=True)
class Foreign:
    """An object of a class that we don't have: its name and attributes, nothing else."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)


class RefusedError(Exception):
    """Something that a file of data has no need for."""


def read_checkpoint(path: str | Path) -> Any:
    """What a file of `torch.save`, or a plain pickle of StyleGAN2-ADA, holds, with all tensors on the CPU.

    Raises:
        WeightsError: no such file, damaged, or one that asks for anything besides data.
    """
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
        found = _load(content) if content.startswith((b"PK", OLDER)) else _Unpickler(content).load()
        _check_sizes(found, len(content))
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}") from None
    except RefusedError as error:
        raise WeightsError(one_line(f"'{path}' {error}")) from None
    except Exception as error:  # a damaged pickle may fail in any way
        reason = one_line(f"{type(error).__name__}: {error}", 200)
        raise WeightsError(one_line(f"'{path}' is no checkpoint, or a damaged one: {reason}")) from None
    return found


def modules(record: Any) -> dict[str, Foreign]:
    """A module and all modules in it, by their dotted names; its own is empty. WeightsError if it is none."""
    found: dict[str, Foreign] = {}
    waiting: list[tuple[str, Any]] = [("", record)]
    while waiting:
        name, module = waiting.pop()
        parts = [module.state.get(part, {}) if isinstance(module, Foreign) else None for part in PARTS]
        if not all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in parts):
            raise WeightsError(one_line(f"'{name or 'the record'}' is no module with {', '.join(PARTS)} by name"))
        if len(found) + len(waiting) > LIMIT or name.count(".") > DEPTH:
            raise WeightsError(f"the record has over {LIMIT} modules, or modules nested over {DEPTH} deep")
        found[name] = module
        waiting += [(f"{name}.{key}".lstrip("."), part) for key, part in reversed(parts[0].items()) if part is not None]
    return found


def flatten(record: Any) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a module and of the modules in it, named and ordered as by its `state_dict`."""
    found: dict[str, Any] = {}
    for prefix, module in modules(record).items():
        tensors = {key: value for part in PARTS[1:] for key, value in module.state.get(part, {}).items()}
        transient = module.state.get("_non_persistent_buffers_set", ())
        found |= {f"{prefix}.{key}".lstrip("."): value for key, value in tensors.items() if key not in transient}
    found = {name: value for name, value in found.items() if value is not None}
    for name, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise WeightsError(one_line(f"'{name}' of the record is no tensor"))
    return found


def _load(content: bytes) -> Any:
    """Either format of `torch.save`."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise RefusedError("is compressed, which torch.save never does; that is refused")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text advises to load the file with weights_only=False
        name = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        what = f"asks for {name[1]}" if name else "has operations that no pickle of data needs"
        raise RefusedError(f"{what}; that is refused") from None
    if content.startswith(OLDER):
        _check_filled(content, found)
    return found


def _check_filled(content: bytes, found: Any) -> None:
    """Raise RefusedError if a file of the older format does not list all storages that its tensors need: torch leaves
    the memory of the others as it was. The list is the fifth pickle of the file; its texts name storages."""
    stream = io.BytesIO(content)
    listed = [{word for _, word, _ in pickletools.genops(stream) if isinstance(word, str)} for _ in range(5)][-1]
    storages = [value.untyped_storage() for value in _tensors(found)]
    if len({storage.data_ptr() for storage in storages if storage.nbytes()}) > len(listed):
        raise RefusedError("has tensors without their values; that is refused")


def _tensors(content: Any) -> Iterator[torch.Tensor]:
    """Every tensor in containers and records, or a storage as a tensor, once."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.TypedStorage):
            value = torch.empty(0, dtype=value.dtype).set_(value)
        if isinstance(value, torch.Tensor):
            yield value
        value = value.state if isinstance(value, Foreign) else value
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()


def _check_sizes(content: Any, size: int) -> None:
    """Raise RefusedError for a tensor that is larger than its storage, or a storage larger than the file."""
    for tensor in _tensors(content):
        if not tensor.nbytes <= tensor.untyped_storage().nbytes() <= size:
            raise RefusedError("has a tensor that claims to be larger than what the file holds; that is refused")


class _Unpickler(pickle._Unpickler):
    """Plain pickles. In Python, since the unpickler in C takes memory up to any place of the memo that a file names."""

    stack: list[Any]

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.left = 2 * len(content)  # bytes and items that calls may yet take

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in TABLE:
            raise RefusedError(f"asks for {module}.{name}; that is refused")
        return TABLE[module, name]

    def refuse(self) -> None:
        raise RefusedError("is no checkpoint: it has operations that no pickle of data needs")

    def call(self) -> None:
        """REDUCE and NEWOBJ. Functions come from the table alone."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, types.FunctionType) or not isinstance(arguments, tuple):
            raise RefusedError("calls something that is no function")
        self.left -= sum(len(value) for value in arguments if isinstance(value, bytes | list | tuple | dict))
        if self.left < 0:
            raise RefusedError("claims to hold far more than the file has bytes; that is refused")
        self.stack.append(function(*arguments))

    def build(self) -> None:
        """BUILD, which only numpy's types need, to say the order of their bytes."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Foreign) or target.class_name != "numpy.dtype":
            raise RefusedError(f"changes a {type(target).__name__}; that is refused")
        if state[1] not in ("<", "|"):
            raise RefusedError("has numbers in another byte order")

    def add(self, items: list[Any]) -> None:
        """Items for the container on top of the stack."""
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is dict:
            target.update(_dictionary(list(zip(items[::2], items[1::2], strict=True))))
        elif type(target) is set:
            target.update(_set(items))
        else:
            raise RefusedError(f"changes a {type(target).__name__}; that is refused")

    # Numbers, texts, tuples, the stack and the memo are safe as they are. Names go through find_class.
    USUAL: ClassVar[str] = (
        "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINBYTES SHORT_BINBYTES "
        "BINBYTES8 BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST EMPTY_SET "
        "EMPTY_DICT BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL"
    )
    dispatch: ClassVar[dict[int, Any]] = {
        **dict.fromkeys(range(256), refuse),
        **{code: pickle._Unpickler.dispatch[code] for name in USUAL.split() for code in getattr(pickle, name)},
        **dict.fromkeys(pickle.REDUCE + pickle.NEWOBJ, call),
        **dict.fromkeys(pickle.APPENDS + pickle.SETITEMS + pickle.ADDITEMS, lambda self: self.add(self.pop_mark())),
        pickle.APPEND[0]: lambda self: self.add([self.stack.pop()]),
        pickle.SETITEM[0]: lambda self: self.add([self.stack.pop(-2), self.stack.pop()]),
        pickle.BUILD[0]: build,
    }


def _set(items: Any = ()) -> set[Any]:
    if not all(key is None or isinstance(key, str | bytes | int | float) for key in items):
        raise RefusedError("has keys that are neither texts nor numbers")  # the hash of deep tuples overflows the stack
    return set(items)


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    pairs = list(pairs.items()) if type(pairs) is dict else pairs
    _set([key for key, _ in pairs])
    return dict(pairs)


def _persistent(meta: Any) -> Foreign:
    """A StyleGAN2-ADA object. The source text of its class comes with it, and stays a text."""
    if isinstance(meta, dict) and isinstance(meta.get("class_name"), str) and isinstance(meta.get("state"), dict):
        return Foreign(meta["class_name"], meta["state"])
    raise RefusedError("has a persistent object without class_name or state")


def _storage(content: Any) -> torch.Tensor:
    """A storage, which is a file of `torch.save` within the pickle, as a flat tensor."""
    storage = _load(content)
    if not isinstance(storage, torch.TypedStorage):
        raise RefusedError("has something else in place of a storage")
    return torch.empty(0, dtype=storage.dtype).set_(storage)


_NUMBERS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}  # codes of numpy and of struct


def _numpy_type(code: Any, *rest: Any) -> Foreign:
    if code not in _NUMBERS:
        raise RefusedError("has numpy values that are no numbers")
    return Foreign("numpy.dtype", {"code": code})


def _number(dtype: Any, content: Any) -> Any:
    """A numpy scalar, as which StyleGAN2-ADA keeps gains of layers, as a number of Python."""
    return struct.unpack(f"<{_NUMBERS[dtype.state['code']]}", content)[0]


TABLE: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): lambda storage, at, size, stride, *_: storage.as_strided(size, stride, at),
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): _dictionary,
    ("dnnlib.util", "EasyDict"): _dictionary,
    ("builtins", "set"): _set,
    ("numpy", "dtype"): _numpy_type,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
}
