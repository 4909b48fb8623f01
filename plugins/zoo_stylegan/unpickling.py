"""The machine that reads foreign pickles: a fixed table of names, and no operation that could reach beyond it.

It makes builtin containers, numbers, texts, tensors and `Foreign` records, and calls nothing but the functions below.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

MAGIC = 0x1950A86A20F9469CFC6C  # what the older format of torch.save begins with
PROTOCOL = 1001  # and then its version


@dataclass(frozen=True)
class Foreign:
    """An object of a class that we don't have: its name and attributes, nothing else."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)


class RefusedError(Exception):
    """Something that a file of data has no need for."""


class Budget:
    """What calls may yet make at the request of a file: bytes and items, twice as many as it has bytes itself.

    Twice, because before protocol 3 the bytes of a storage are a text first.
    """

    def __init__(self, size: int) -> None:
        self.left = 2 * size

    def spend(self, amount: int) -> None:
        self.left -= amount
        if amount < 0 or self.left < 0:
            raise RefusedError("claims to hold far more than the file has bytes; that is refused")


# The machine


@dataclass(frozen=True)
class _Global:
    """A name of the table that stands for a function; it can be called, and is good for nothing else."""

    call: Callable[..., Any]


# Operations that are safe as they are: numbers, texts, tuples, the stack, the memo, and names, which find_class checks.
_USUAL = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2),
    *(pickle.LONG, pickle.LONG1, pickle.LONG4, pickle.FLOAT, pickle.BINFLOAT),
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.BINBYTES8, pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_SET, pickle.EMPTY_DICT),
    *(pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.GET, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID),
)


class Machine(pickle._Unpickler):
    """Runs one pickle. In Python, whose memo is a dictionary: that of the C machine grows to any index that is named.

    Args:
        stream: behind whose pickle it stops.
        table: (module, name) to what stands for it.
        budget: of the whole file.
        fill: gives a new storage its content; none where storages can't be.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        stream: io.BytesIO,
        table: dict[tuple[str, str], Any],
        budget: Budget,
        fill: Callable[[torch.Tensor, str], None] | None = None,
    ) -> None:
        super().__init__(stream)
        self.table, self.budget, self.fill = table, budget, fill
        self.storages: dict[str, torch.Tensor] = {}
        self.missing: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.table[module, name]
        except KeyError:
            raise RefusedError(f"asks for {module}.{name}; that is refused") from None

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """A storage, as a flat tensor."""
        if self.fill is None or not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise RefusedError("asks for an object from outside the file; that is refused")
        _, dtype, key, _, count, *view = pid
        if view not in ([], [None]) or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise RefusedError("describes a storage that we can't read")
        if key not in self.storages:
            self.budget.spend(_whole(count) * dtype.itemsize)
            self.storages[key] = torch.zeros(count, dtype=dtype)
            self.missing.add(key)
            self.fill(self.storages[key], key)
        if len(self.storages[key]) != count or self.storages[key].dtype != dtype:
            raise RefusedError(f"describes storage {key} in two ways")
        return self.storages[key]

    def run_call(self) -> None:
        """REDUCE and NEWOBJ: call a function of the table."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise RefusedError("calls something that is no function")
        self.stack.append(function.call(self.budget, *arguments))

    def run_build(self) -> None:
        """BUILD: attributes of a record. Those of dictionaries (`state_dict()._metadata`) don't matter."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Foreign) and isinstance(state, dict):
            target.state.update(state)
        elif isinstance(target, _NumpyType) and isinstance(state, tuple):
            if state[1:2] not in (("<",), ("|",)):
                raise RefusedError("has numbers in another byte order")
        elif type(target) is not dict:
            raise RefusedError(f"changes a {type(target).__name__}; that is refused")

    def run_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._extend(items)

    def run_append(self) -> None:
        self._extend([self.stack.pop()])

    def run_set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._extend([key, value])

    def run_extend(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        """Items for the container on top of the stack."""
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is dict:
            target.update(zip(_keys(items[::2]), items[1::2], strict=True))
        elif type(target) is set:
            target.update(_keys(items))
        else:
            raise RefusedError(f"changes a {type(target).__name__}; that is refused")

    def refuse(self) -> None:
        raise RefusedError("is no checkpoint: it has operations that no pickle of data needs")

    dispatch: ClassVar[dict[int, Any]] = {
        **dict.fromkeys(range(256), refuse),
        **{opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _USUAL},
        **dict.fromkeys([pickle.REDUCE[0], pickle.NEWOBJ[0]], run_call),
        **dict.fromkeys([pickle.APPENDS[0], pickle.SETITEMS[0], pickle.ADDITEMS[0]], run_extend),
        pickle.BUILD[0]: run_build,
        pickle.DICT[0]: run_dict,
        pickle.APPEND[0]: run_append,
        pickle.SETITEM[0]: run_set_item,
    }


def _keys(keys: Sequence[Any]) -> Sequence[Any]:
    """Keys of a dictionary or set; no tuples, since the hash of a deeply nested one overflows the stack."""
    if not all(key is None or isinstance(key, str | bytes | int | float) for key in keys):
        raise RefusedError("has keys that are neither texts nor numbers")
    return keys


# The older format of torch.save, which storages on their own have too


def read_legacy(stream: io.BytesIO, table: dict[tuple[str, str], Any], budget: Budget) -> Any:
    """The older format, after its magic number: four pickles, then every storage with its length."""
    if Machine(stream, {}, budget).load() != PROTOCOL:
        raise RefusedError("has an unknown version of the format")
    if Machine(stream, {}, budget).load().get("little_endian") is not (sys.byteorder == "little"):
        raise RefusedError("was written on a machine with another byte order")
    machine = Machine(stream, table, budget, lambda storage, key: None)
    found = machine.load()
    for key in Machine(stream, {}, budget).load():
        if not isinstance(key, str) or key not in machine.storages:
            raise RefusedError("holds a storage that nothing refers to")
        storage, count = machine.storages[key], int.from_bytes(stream.read(8), sys.byteorder)
        raw = stream.read(storage.nbytes)
        if count != len(storage) or len(raw) != storage.nbytes:
            raise RefusedError(f"holds less of storage {key} than it says")
        copy(storage, raw)
        machine.missing.discard(key)
    if machine.missing:
        raise RefusedError("lacks some of its storages")
    return found


def copy(storage: torch.Tensor, raw: bytes) -> None:
    if raw:
        storage.view(torch.uint8).copy_(torch.frombuffer(bytearray(raw), dtype=torch.uint8))


# What files may call; the first argument of each function is the budget.


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise RefusedError("has a size that is no whole number")
    return value


def _dictionary(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    pairs = list(pairs.items()) if type(pairs) is dict else pairs
    budget.spend(len(pairs))
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    return dict(zip(_keys(keys), values, strict=True))


def _set(budget: Budget, items: Any = ()) -> set[Any]:
    budget.spend(len(items))
    return set(_keys(items))


def _encode(budget: Budget, text: Any, encoding: Any) -> bytes:
    """Bytes, before protocol 3."""
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedError("has bytes in an unknown encoding")
    budget.spend(len(text))
    return text.encode("latin1")


def _size(budget: Budget, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    budget.spend(len(sizes))
    return tuple(_whole(size) for size in sizes)


def _namespace(budget: Budget) -> Foreign:
    return Foreign("argparse.Namespace")


def _persistent(budget: Budget, meta: Any) -> Foreign:
    """A StyleGAN2-ADA object. The source text of its class comes with it, and stays a text."""
    if isinstance(meta, dict) and isinstance(meta.get("class_name"), str) and isinstance(meta.get("state"), dict):
        return Foreign(meta["class_name"], meta["state"])
    raise RefusedError("has a persistent object without class_name or state")


def _storage(budget: Budget, content: Any) -> torch.Tensor:
    """A storage that was pickled on its own: within the pickle, a file of the older format."""
    if not isinstance(content, bytes):
        raise RefusedError("has a storage that is no bytes")
    budget.spend(len(content))
    stream = io.BytesIO(content)
    if Machine(stream, {}, budget).load() != MAGIC:
        raise RefusedError("has a storage in an unknown format")
    storage = read_legacy(stream, _STORAGES, Budget(len(content)))
    if not isinstance(storage, torch.Tensor):
        raise RefusedError("has something else in place of a storage")
    return storage


def _tensor(
    budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, meta: Any = None
) -> torch.Tensor:
    """A view of a storage that stays within it and is not larger."""
    if not isinstance(storage, torch.Tensor) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise RefusedError("has a tensor without storage, size or stride")
    size, stride, count = tuple(map(_whole, size)), tuple(map(_whole, stride)), 1
    for n in size:
        count *= n
    last = _whole(offset) + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (count > len(storage) or last >= len(storage)):
        raise RefusedError("has a tensor that is larger than its storage")
    return torch.as_strided(storage, size, stride, offset) if count else storage.new_zeros(size)


def _parameter(budget: Budget, data: Any, *rest: Any) -> torch.Tensor:
    if not isinstance(data, torch.Tensor):
        raise RefusedError("has a parameter that is no tensor")
    return data


@dataclass(frozen=True)
class _NumpyType:
    code: str


def _numpy_type(budget: Budget, code: Any, *rest: Any) -> _NumpyType:
    if not isinstance(code, str) or code not in _NUMBERS:
        raise RefusedError("has numpy values that are no numbers")
    return _NumpyType(code)


def _number(budget: Budget, dtype: Any, content: Any) -> Any:
    """A numpy scalar, as which StyleGAN2-ADA keeps gains of layers, as a number of Python."""
    if not isinstance(dtype, _NumpyType) or not isinstance(content, bytes):
        raise RefusedError("has numpy values that are no numbers")
    return struct.unpack(f"<{_NUMBERS[dtype.code]}", content)[0]


def _device(budget: Budget, *name: Any) -> str:
    return ":".join(str(part) for part in name if isinstance(part, str | int))


# Codes of numpy and of struct.
_NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "b1": "?"}
_NUMBERS |= {"i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H", "u1": "B"}
_STORAGES: dict[tuple[str, str], Any] = {
    ("torch", f"{name}Storage"): dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
TABLE: dict[tuple[str, str], Any] = {
    **_STORAGES,
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in _STORAGES.values()},
    ("torch", "Size"): _Global(_size),
    ("torch", "device"): _Global(_device),
    ("torch._utils", "_rebuild_tensor_v2"): _Global(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Global(_parameter),
    ("torch.storage", "_load_from_bytes"): _Global(_storage),
    ("collections", "OrderedDict"): _Global(_dictionary),
    ("dnnlib.util", "EasyDict"): _Global(_dictionary),
    ("builtins", "set"): _Global(_set),
    ("__builtin__", "set"): _Global(_set),
    ("numpy", "dtype"): _Global(_numpy_type),
    ("numpy.core.multiarray", "scalar"): _Global(_number),
    ("numpy._core.multiarray", "scalar"): _Global(_number),
    ("_codecs", "encode"): _Global(_encode),
    ("argparse", "Namespace"): _Global(_namespace),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Global(_persistent),
}
